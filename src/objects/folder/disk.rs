//! The data folder: where a folder store keeps what Countersign writes.
//!
//! Flows in: stored objects, one file each under `objects/`, and the values of user Secrets, one file a key under
//! `secrets/<namespace>/<name>/`. Flows out: the same at the next start. Directories are 0700 and files 0600, a file is
//! replaced by renaming, and no symbolic link is followed.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_core::names::{Namespace, ObjectName};
use serde_json::{Map, Value};

use super::super::{Error, Key};
use super::files;
use super::state::{Kind, Stored};

/// The directory of cluster-scoped objects; no namespace can be called so.
const CLUSTER: &str = "_cluster";
/// A file read back that is larger than any the store writes is not one of them.
const LARGEST: u64 = 4 << 20;
/// What a data key is, for people.
pub(super) const DATA_KEY: &str = "a data key is 1 to 253 of A-Z a-z 0-9 . _ -, begins with no dot, and is not what an editor leaves behind (x.swp, 4913)";

/// A data folder this process alone uses.
pub(super) struct Disk {
    root: PathBuf,
    /// Namespaces whose Secrets are Countersign's own: kept as objects, not as files.
    internal: Vec<String>,
    /// What lies among a Secret's values and is none of them, as far as it was warned of.
    strangers: Mutex<BTreeSet<PathBuf>>,
    /// Held as long as the store lives; the kernel lets go of it when the process ends.
    _lock: File,
}

/// Says when a directory's content may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trace(Vec<(PathBuf, i64, i64, u64, u64)>);

impl Trace {
    /// Whether a file that held something holds nothing now.
    pub(super) fn is_emptied_since(&self, before: &Self) -> bool {
        let held = |path: &PathBuf| before.0.iter().any(|(known, _, _, size, _)| known == path && *size > 0);
        self.0.iter().any(|(path, _, _, size, _)| *size == 0 && held(path))
    }
}

impl Disk {
    pub(super) fn open(root: &Path, internal: Vec<String>) -> Result<Self, Error> {
        make_dir(root)?;
        let path = root.join("lock");
        let options = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            options
        };
        refuse_link(&path)?;
        let lock = options().open(&path).map_err(|source| io_error("open", &path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(Error::Locked { path: root.to_owned() }),
            Err(fs::TryLockError::Error(source)) => return Err(io_error("lock", &path, source)),
        }
        Ok(Self { root: root.to_owned(), internal, strangers: Mutex::default(), _lock: lock })
    }

    /// Everything stored: the table's name, the object's key, the object.
    pub(super) fn load(&self) -> Result<Vec<(String, Key, Stored)>, Error> {
        let mut all = Vec::new();
        for table in names_in(&self.root.join("objects"))? {
            for namespace in names_in(&self.root.join("objects").join(&table))? {
                let dir = self.root.join("objects").join(&table).join(&namespace);
                for file in names_in(&dir)? {
                    let Some(name) = file.strip_suffix(".json") else { continue };
                    let key = if namespace == CLUSTER { Key::cluster(name) } else { Key::namespaced(&namespace, name) };
                    let mut stored = read_object(&dir.join(&file), &table, &key)?;
                    if self.as_files(&table, &key) && !self.fill(&key, &mut stored.object)? {
                        continue;
                    }
                    all.push((table.clone(), key, stored));
                }
            }
        }
        Ok(all)
    }

    /// Stores the object; when this returns it is on disk.
    pub(super) fn write(&self, kind: &Kind, key: &Key, stored: &Stored) -> Result<(), Error> {
        let path = self.object_path(kind, key)?;
        let text = if self.as_files(&kind.table, key) {
            self.write_values(key, &stored.object)?;
            let mut bare = stored.clone();
            strip(&mut bare.object);
            bare.applied.values_mut().for_each(strip);
            serde_json::to_vec_pretty(&bare)
        } else {
            serde_json::to_vec_pretty(stored)
        };
        let text = text.map_err(|error| io_error("write", &path, error.into()))?;
        replace_file(&path, &text)
    }

    pub(super) fn remove(&self, kind: &Kind, key: &Key) -> Result<(), Error> {
        if self.as_files(&kind.table, key) {
            let dir = self.values_dir(key)?;
            refuse_link(&dir)?;
            // With what editors left there: old values lie in it too.
            match fs::remove_dir_all(&dir) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("remove", &dir, source));
                }
                _ => {}
            }
        }
        remove_file(&self.object_path(kind, key)?)
    }

    /// Whether the Secret's values are files for people.
    pub(super) fn as_files(&self, table: &str, key: &Key) -> bool {
        let namespace = key.namespace.as_deref().unwrap_or("");
        table == "secrets" && !self.internal.iter().any(|internal| internal == namespace)
    }

    /// Puts the values of a user Secret's files into the object; `false` where the directory is gone.
    pub(super) fn fill(&self, key: &Key, object: &mut Value) -> Result<bool, Error> {
        let dir = self.values_dir(key)?;
        if fs::symlink_metadata(&dir).is_err() {
            return Ok(false);
        }
        let mut data = Map::new();
        let (names, strangers) = values_in(&dir)?;
        self.warn_of(&dir, strangers);
        for name in names {
            let bytes = read_file(&dir.join(&name))?;
            data.insert(name, STANDARD.encode(bytes).into());
        }
        if let Some(fields) = object.as_object_mut() {
            fields.insert("data".to_owned(), Value::Object(data));
        }
        Ok(true)
    }

    /// Changes whenever a file of the user Secret does.
    pub(super) fn trace(&self, key: &Key) -> Trace {
        let dir = self.values_dir(key).ok();
        let names = dir.as_deref().and_then(|dir| names_in(dir).ok()).unwrap_or_default();
        trace(dir.iter().flat_map(|dir| names.iter().map(|name| dir.join(name)).chain([dir.clone()])))
    }

    /// Says once for each what is passed over.
    fn warn_of(&self, dir: &Path, strangers: Vec<String>) {
        let mut warned = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        let now: Vec<_> = strangers.into_iter().map(|name| dir.join(name)).collect();
        warned.retain(|path| path.parent() != Some(dir) || now.contains(path));
        for path in now {
            if !warned.contains(&path) {
                tracing::warn!(path = %path.display(), "not a value of the Secret and passed over");
                warned.insert(path);
            }
        }
    }

    fn write_values(&self, key: &Key, object: &Value) -> Result<(), Error> {
        let dir = self.values_dir(key)?;
        let empty = Map::new();
        let data = object.get("data").and_then(Value::as_object).unwrap_or(&empty);
        for name in values_in(&dir)?.0.iter().filter(|name| !data.contains_key(*name)) {
            remove_file(&dir.join(name))?;
        }
        self.make_dirs(&dir)?;
        for (name, value) in data {
            let path = dir.join(name);
            if !is_data_key(name) {
                return Err(Error::UnsafePath { path, reason: DATA_KEY });
            }
            let bytes = value.as_str().and_then(|value| STANDARD.decode(value).ok());
            let bytes =
                bytes.ok_or_else(|| Error::UnsafePath { path: path.clone(), reason: "its value is not base64" })?;
            if read_file(&path).is_ok_and(|there| there == bytes) {
                continue;
            }
            replace_file(&path, &bytes)?;
        }
        Ok(())
    }

    fn values_dir(&self, key: &Key) -> Result<PathBuf, Error> {
        let (namespace, name) = segments(key)?;
        Ok(self.root.join("secrets").join(namespace).join(name))
    }

    fn object_path(&self, kind: &Kind, key: &Key) -> Result<PathBuf, Error> {
        let (namespace, name) = segments(key)?;
        let dir = self.root.join("objects").join(&kind.table).join(namespace);
        self.make_dirs(&dir)?;
        Ok(dir.join(format!("{name}.json")))
    }

    /// Makes every directory below the root, each checked.
    fn make_dirs(&self, dir: &Path) -> Result<(), Error> {
        let below = dir.strip_prefix(&self.root).unwrap_or(dir);
        let mut path = self.root.clone();
        for part in below {
            path.push(part);
            make_dir(&path)?;
        }
        Ok(())
    }
}

/// A key's parts as names of files; names of the API server's form can neither climb nor hide.
fn segments(key: &Key) -> Result<(&str, &str), Error> {
    let unsafe_name = |_| Error::UnsafePath { path: key.to_string().into(), reason: "it is not a name of Kubernetes" };
    ObjectName::new(&key.name).map_err(unsafe_name)?;
    match key.namespace.as_deref() {
        Some(namespace) => Namespace::new(namespace).map(|_| (namespace, &*key.name)).map_err(unsafe_name),
        None => Ok((CLUSTER, &key.name)),
    }
}

pub(super) fn is_data_key(name: &str) -> bool {
    let form = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    form && !name.starts_with('.') && (1..=253).contains(&name.len()) && !is_trace_of_editor(name)
}

/// Of the names that could be data keys: vim's swap files, and the file by which it tries whether it may write.
fn is_trace_of_editor(name: &str) -> bool {
    name == "4913" || [".swp", ".swo", ".swx"].iter().any(|end| name.ends_with(end))
}

/// The names of a Secret's values, and of what else lies among them.
fn values_in(dir: &Path) -> Result<(Vec<String>, Vec<String>), Error> {
    let is_dir = |name: &String| fs::symlink_metadata(dir.join(name)).is_ok_and(|meta| meta.is_dir());
    Ok(names_in(dir)?.into_iter().partition(|name| is_data_key(name) && !is_dir(name)))
}

/// Values lie in files of their own; nothing of them stays in the record.
fn strip(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("data");
        fields.remove("stringData");
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { action, path: path.to_owned(), source }
}

fn refuse_link(path: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_symlink() => {
            Err(Error::UnsafePath { path: path.to_owned(), reason: "it is a symbolic link" })
        }
        Ok(_) => Ok(()),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(io_error("look at", path, source)),
    }
}

/// Makes the directory, or makes sure that the one there is one and nobody else's to read.
fn make_dir(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => return Err(io_error("create", path, source)),
        Err(_) => {}
    }
    refuse_link(path)?;
    let meta = fs::symlink_metadata(path).map_err(|source| io_error("look at", path, source))?;
    if !meta.is_dir() {
        return Err(Error::UnsafePath { path: path.to_owned(), reason: "it is not a directory" });
    }
    if meta.mode() & 0o077 != 0 {
        return Err(Error::UnsafePath { path: path.to_owned(), reason: "others may enter it; chmod 700" });
    }
    Ok(())
}

/// The names in a directory, sorted, without hidden ones; none where there is no directory.
fn names_in(dir: &Path) -> Result<Vec<String>, Error> {
    refuse_link(dir)?;
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(io_error("list", dir, source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| io_error("list", dir, source))?;
        names.extend(entry.file_name().into_string().ok().filter(|name| !name.starts_with('.')));
    }
    names.sort();
    Ok(names)
}

fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    refuse_link(path)?;
    files::read(path, LARGEST).map_err(|source| io_error("read", path, source))
}

fn read_object(path: &Path, table: &str, key: &Key) -> Result<Stored, Error> {
    let bytes = read_file(path)?;
    serde_json::from_slice(&bytes).map_err(|error| Error::Malformed {
        kind: table.to_owned(),
        key: key.clone(),
        message: format!("{} line {}: {:?} error", path.display(), error.line(), error.classify()),
    })
}

/// Writes beside the file, then renames over it: a reader sees the old content or the new.
fn replace_file(path: &Path, content: &[u8]) -> Result<(), Error> {
    refuse_link(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.new"));
    remove_file(&beside)?;
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| io_error("write", path, source))
}

/// Removes the file or link itself, never what a link names.
fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path, source)),
        _ => Ok(()),
    }
}

/// What tells whether any of these files changed.
pub(super) fn trace(paths: impl Iterator<Item = PathBuf>) -> Trace {
    let mut all: Vec<_> = paths
        .filter_map(|path| {
            let meta = fs::metadata(&path).ok()?;
            // The change time: a file made readable, or written with its old date kept, counts as changed too.
            Some((path, meta.ctime(), meta.ctime_nsec(), meta.size(), meta.ino()))
        })
        .collect();
    all.sort();
    Trace(all)
}
