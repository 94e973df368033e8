//! The files that say who the client is and whom it asks, read again for each request: a rotation is simply there.
//!
//! Flows in: the folder of a mounted Secret or ConfigMap, single files and values that take precedence. Flows out: what one
//! request needs. Nothing of it is kept longer than the request.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// No credential, endpoint or bundle of authorities is larger.
const LARGEST_FILE: u64 = 256 * 1024;

/// Where everything is found. What is given by itself comes before the folder's.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// With files named as the keys of a client's Secret: `client_id`, `client_secret`, `token_endpoint`, `ca.crt`.
    pub folder: Option<PathBuf>,
    pub client_id: Option<String>,
    pub secret_file: Option<PathBuf>,
    /// A client assertion (RFC 7523 section 2.2), such as a projected service account token; instead of a secret.
    pub assertion_file: Option<PathBuf>,
    /// Its metadata name the token endpoint (RFC 8414).
    pub issuer_url: Option<String>,
    pub token_endpoint: Option<String>,
    /// Authorities for https, PEM.
    pub ca_file: Option<PathBuf>,
}

/// Why the files are of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    #[error("read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is larger than 256 KiB")]
    Large { path: PathBuf },
    #[error("{path} is empty, or holds more than one line of text")]
    Text { path: PathBuf },
    #[error("no {what} is given: name it by {flag}, or --credentials with a folder that has it")]
    Missing { what: &'static str, flag: &'static str },
}

/// What one request needs.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) proof: Proof,
    pub(crate) endpoint: Endpoint,
    /// PEM; none where none is named.
    pub(crate) authorities: Option<Vec<u8>>,
}

/// How the client proves who it is. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    Secret { client_id: String, secret: Zeroizing<String> },
    Assertion { client_id: Option<String>, assertion: Zeroizing<String> },
}

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Token(String),
    /// Whoever this issuer's metadata name.
    Issuer(String),
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, client_id) = match self {
            Self::Secret { client_id, .. } => ("Secret", Some(client_id)),
            Self::Assertion { client_id, .. } => ("Assertion", client_id.as_ref()),
        };
        f.debug_struct(kind).field("client_id", &client_id).finish_non_exhaustive()
    }
}

impl Sources {
    /// Reads everything.
    pub(crate) fn read(&self) -> Result<Known, CredentialsError> {
        Ok(Known { proof: self.proof()?, endpoint: self.endpoint()?, authorities: self.authorities()? })
    }

    /// Reads who the client is and what proves it.
    pub(crate) fn proof(&self) -> Result<Proof, CredentialsError> {
        let client_id = match &self.client_id {
            Some(id) => Some(id.clone()),
            None => self.in_folder("client_id")?,
        };
        if let Some(path) = &self.assertion_file {
            return Ok(Proof::Assertion { client_id, assertion: line(path, needed(path)?)?.into() });
        }
        let secret = match &self.secret_file {
            Some(path) => Some(line(path, needed(path)?)?),
            None => self.in_folder("client_secret")?,
        };
        let missing = |what, flag| CredentialsError::Missing { what, flag };
        Ok(Proof::Secret {
            client_id: client_id.ok_or(missing("client id", "--client-id"))?,
            secret: secret.ok_or(missing("client secret", "--client-secret-file (or --assertion-file)"))?.into(),
        })
    }

    fn endpoint(&self) -> Result<Endpoint, CredentialsError> {
        if let Some(url) = &self.token_endpoint {
            return Ok(Endpoint::Token(url.clone()));
        }
        if let Some(url) = &self.issuer_url {
            return Ok(Endpoint::Issuer(url.clone()));
        }
        let missing = CredentialsError::Missing { what: "issuer", flag: "--issuer-url or --token-endpoint" };
        self.in_folder("token_endpoint")?.map(Endpoint::Token).ok_or(missing)
    }

    fn authorities(&self) -> Result<Option<Vec<u8>>, CredentialsError> {
        match (&self.ca_file, &self.folder) {
            (Some(path), _) => needed(path).map(Some),
            (None, Some(folder)) => Ok(bytes(&folder.join("ca.crt"))?.filter(|text| !text.is_empty())),
            (None, None) => Ok(None),
        }
    }

    fn in_folder(&self, key: &str) -> Result<Option<String>, CredentialsError> {
        let Some(path) = self.folder.as_ref().map(|folder| folder.join(key)) else { return Ok(None) };
        bytes(&path)?.map(|text| line(&path, text)).transpose()
    }
}

fn needed(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    let absent = || CredentialsError::Read { path: path.to_owned(), source: io::ErrorKind::NotFound.into() };
    bytes(path)?.ok_or_else(absent)
}

/// What a file holds, if it is there.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>, CredentialsError> {
    let failed = |source| CredentialsError::Read { path: path.to_owned(), source };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut held = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut held).map_err(failed)?;
    match u64::try_from(held.len()) {
        Ok(length) if length <= LARGEST_FILE => Ok(Some(held)),
        _ => Err(CredentialsError::Large { path: path.to_owned() }),
    }
}

/// One line of text. The line end at the end of a file is the editor's, not the value's.
fn line(path: &Path, held: Vec<u8>) -> Result<String, CredentialsError> {
    let wrong = || CredentialsError::Text { path: path.to_owned() };
    let text = String::from_utf8(held).map_err(|_| wrong())?;
    let value = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if value.is_empty() || value.contains(char::is_control) { Err(wrong()) } else { Ok(value.to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_mounted_secret_is_enough_and_is_read_again() {
        let folder = folder(&[
            ("client_id", "shop.checkout\n"),
            ("client_secret", "first\r\n"),
            ("token_endpoint", "https://auth/oauth2/token"),
            ("ca.crt", "PEM"),
        ]);
        let sources = Sources { folder: Some(folder.path().to_owned()), ..Sources::default() };
        let known = sources.read().unwrap();
        let proof =
            |secret: &str| Proof::Secret { client_id: "shop.checkout".to_owned(), secret: secret.to_owned().into() };
        assert_eq!(known.proof, proof("first"));
        assert_eq!(known.endpoint, Endpoint::Token("https://auth/oauth2/token".to_owned()));
        assert_eq!(known.authorities.as_deref(), Some(&b"PEM"[..]));
        fs::write(folder.path().join("client_secret"), "second").unwrap();
        assert_eq!(sources.proof().unwrap(), proof("second"));
        assert!(!format!("{known:?}").contains("first"));
    }

    #[test]
    fn what_is_given_by_itself_comes_first() {
        let folder = folder(&[
            ("client_id", "shop.checkout"),
            ("client_secret", "secret"),
            ("token_endpoint", "https://auth/oauth2/token"),
            ("assertion", "a.b.c"),
            ("ca.pem", "other"),
        ]);
        let sources = Sources {
            folder: Some(folder.path().to_owned()),
            assertion_file: Some(folder.path().join("assertion")),
            issuer_url: Some("https://other".to_owned()),
            ca_file: Some(folder.path().join("ca.pem")),
            ..Sources::default()
        };
        let known = sources.read().unwrap();
        let assertion = "a.b.c".to_owned().into();
        assert_eq!(known.proof, Proof::Assertion { client_id: Some("shop.checkout".to_owned()), assertion });
        assert_eq!(known.endpoint, Endpoint::Issuer("https://other".to_owned()));
        assert_eq!(known.authorities.as_deref(), Some(&b"other"[..]));
    }

    #[test]
    fn what_is_missing_or_broken_is_named() {
        for (files, says) in [
            (&[][..], "no client id is given"),
            (&[("client_id", "a")][..], "no client secret is given"),
            (&[("client_id", "a"), ("client_secret", "")][..], "client_secret is empty"),
            (&[("client_id", "a"), ("client_secret", "a\nb\n")][..], "more than one line"),
            (&[("client_id", "a"), ("client_secret", "b")][..], "no issuer is given"),
        ] {
            let folder = folder(files);
            let sources = Sources { folder: Some(folder.path().to_owned()), ..Sources::default() };
            let error = sources.read().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let folder = folder(&[("big", &"x".repeat(300_000))]);
        let sources = Sources { assertion_file: Some(folder.path().join("big")), ..Sources::default() };
        assert!(matches!(sources.proof(), Err(CredentialsError::Large { .. })));
        let sources = Sources { assertion_file: Some(folder.path().join("none")), ..Sources::default() };
        assert!(matches!(sources.proof(), Err(CredentialsError::Read { .. })));
    }
}
