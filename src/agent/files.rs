//! The files a token is kept in, replaced in one step: a reader sees a whole token or none, never a part of one.
//!
//! Flows in: a token, or that there is none any more. Flows out: `NAME` with the token alone, removed while there is none; and
//! `NAME.json`, a resource of Envoy's secret discovery (SDS) with the header's value. That one is there from the beginning, with
//! an empty value while there is no token: without the file Envoy does not start, with its credential injector told to refuse
//! it then answers 401, and Envoy keeps the last secret of a file that is taken away.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::json;
use zeroize::Zeroizing;

use super::Settings;
use super::answer::AccessToken;

/// A file that cannot be written or taken away.
#[derive(Debug, thiserror::Error)]
#[error("replace {path}")]
pub struct FileError {
    path: PathBuf,
    source: io::Error,
}

/// The files of one token.
#[derive(Clone, Debug)]
pub(crate) struct Outputs {
    name: String,
    token: Option<PathBuf>,
    envoy: Option<PathBuf>,
    mode: u32,
}

impl Outputs {
    pub(crate) fn of(settings: &Settings, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            token: settings.token_dir.as_ref().map(|folder| folder.join(name)),
            envoy: settings.envoy_dir.as_ref().map(|folder| folder.join(format!("{name}.json"))),
            mode: settings.access.of_files(),
        }
    }

    /// Puts a token in place of the one before.
    pub(crate) fn publish(&self, token: &AccessToken) -> Result<(), FileError> {
        let value = &token.value;
        let token = self.token.as_ref().map_or(Ok(()), |path| replace(path, value.as_bytes(), self.mode));
        let injected = Zeroizing::new(format!("Bearer {}", value.as_str()));
        let envoy =
            self.envoy.as_ref().map_or(Ok(()), |path| replace(path, self.secret(&injected).as_bytes(), self.mode));
        token.and(envoy)
    }

    /// Leaves no token behind.
    pub(crate) fn withdraw(&self) -> Result<(), FileError> {
        // Envoy first: it is the one that goes on by itself with what it has.
        let envoy = self.envoy.as_ref().map_or(Ok(()), |path| replace(path, self.secret("").as_bytes(), self.mode));
        let token = self.token.as_ref().map_or(Ok(()), |path| {
            remove(&beside(path)).and_then(|()| remove(path)).map_err(|source| FileError { path: path.clone(), source })
        });
        envoy.and(token)
    }

    /// An answer of secret discovery with one generic secret, as Envoy reads it from a file.
    fn secret(&self, value: &str) -> Zeroizing<String> {
        let response = json!({"resources": [{
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "name": self.name,
            "generic_secret": {"secret": {"inline_string": value}},
        }]});
        Zeroizing::new(response.to_string())
    }
}

/// Writes beside the file, then renames over it. The name beside it is always the same, so that a crash leaves nothing that the
/// next agent does not take away; a link that lies there is not followed.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let beside = beside(path);
    let written = remove(&beside).and_then(|()| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        // Otherwise a crash of the machine could leave the new name with nothing in it.
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    written.map_err(|source| {
        // What cannot be taken away now is by the next attempt, which fails loudly where it cannot.
        drop(remove(&beside));
        FileError { path: path.to_owned(), source }
    })
}

/// A hidden name in the same folder.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.next"))
}

pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn token(value: &str) -> AccessToken {
        AccessToken { value: Arc::new(value.to_owned().into()), scope: None }
    }

    fn outputs(folder: &Path, mode: u32) -> Outputs {
        let (token, envoy) = (Some(folder.join("orders")), Some(folder.join("orders.json")));
        Outputs { name: "orders".to_owned(), token, envoy, mode }
    }

    fn injected(folder: &Path) -> String {
        let text = fs::read_to_string(folder.join("orders.json")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["resources"][0]["name"], "orders");
        value["resources"][0]["generic_secret"]["secret"]["inline_string"].as_str().unwrap().to_owned()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_hold_the_token_and_nothing_once_it_is_withdrawn() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = outputs(folder.path(), 0o640);
        for value in ["one", "two"] {
            outputs.publish(&token(value)).unwrap();
            assert_eq!(fs::read_to_string(folder.path().join("orders")).unwrap(), value);
            assert_eq!(injected(folder.path()), format!("Bearer {value}"));
            assert_eq!(names(folder.path()), ["orders", "orders.json"]);
        }
        for name in names(folder.path()) {
            let mode = fs::metadata(folder.path().join(&name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o640, "{name}");
        }
        for _ in 0..2 {
            outputs.withdraw().unwrap();
            assert_eq!((injected(folder.path()).as_str(), names(folder.path())), ("", vec!["orders.json".to_owned()]));
        }
    }

    #[test]
    fn what_a_crash_left_is_replaced_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        let outputs = outputs(folder.path(), 0o600);
        fs::write(folder.path().join(".orders.json.next"), "half").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join(".orders.next")).unwrap();
        outputs.publish(&token("one")).unwrap();
        assert_eq!(names(folder.path()), ["orders", "orders.json", "victim"]);
        fs::write(folder.path().join(".orders.next"), "half").unwrap();
        outputs.withdraw().unwrap();
        assert_eq!(names(folder.path()), ["orders.json", "victim"]);
        assert_eq!(fs::read_to_string(victim).unwrap(), "untouched");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = outputs(&folder.path().join("none"), 0o600);
        let error = outputs.publish(&token("one")).unwrap_err();
        assert!(error.to_string().ends_with("none/orders"), "{error}");
    }
}
