//! Files that people put into folders: which of them are manifests, and their content up to a bound.
//!
//! Flows in: a folder. Flows out: its YAML files, in order, each folder looked into once however many links lead to it; and
//! bytes of a file whose size is looked at before anything is read.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Folders deeper than this are somebody's mistake.
const DEEPEST: usize = 16;

/// What a folder holds.
#[derive(Default)]
pub(super) struct Found {
    pub(super) files: Vec<PathBuf>,
    /// What could not be looked at.
    pub(super) troubles: Vec<(PathBuf, io::Error)>,
    /// Device and inode of each folder seen: links may lead back to one.
    seen: HashSet<(u64, u64)>,
}

impl Found {
    /// The YAML files below a folder; a path that is a file is itself one.
    pub(super) fn below(paths: &[PathBuf]) -> Self {
        let mut found = Self::default();
        for path in paths {
            found.collect(path, 0);
        }
        found
    }

    fn collect(&mut self, path: &Path, depth: usize) {
        if let Err(error) = self.look(path, depth) {
            self.troubles.push((path.to_owned(), error));
        }
    }

    fn look(&mut self, path: &Path, depth: usize) -> io::Result<()> {
        let meta = fs::metadata(path)?;
        if !meta.is_dir() {
            self.files.push(path.to_owned());
            return Ok(());
        }
        if !self.seen.insert((meta.dev(), meta.ino())) {
            return Ok(());
        }
        if depth > DEEPEST {
            return Err(io::Error::new(ErrorKind::InvalidInput, "folders are nested too deeply"));
        }
        let mut paths = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let yaml = path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml" || ext == "json");
            if !name.starts_with('.') && (yaml || path.is_dir()) {
                self.collect(&path, depth + 1);
            }
        }
        Ok(())
    }
}

/// The whole file, if it is a regular one of at most so many bytes.
pub(super) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::new(ErrorKind::FileTooLarge, format!("it is larger than {most} bytes"));
    // Asked by name first: opening a pipe would wait for its other end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let file = File::open(path)?;
    if file.metadata()?.len() > most {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > most { Err(too_large()) } else { Ok(bytes) }
}

/// Whether trying again may help although nothing was edited.
pub(super) fn may_pass(error: &io::Error) -> bool {
    !matches!(error.kind(), ErrorKind::FileTooLarge | ErrorKind::InvalidInput | ErrorKind::InvalidData)
}
