//! The file of authorities that clients must trust, read again when it changes.
//!
//! Flows in: a PEM file, polled. Flows out: its text, to everything that is written for clients; a text that holds no
//! authority is told once and the one before it stays.

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::fetch::authorities;
use super::usage::Usage;
use crate::controller::connections::Connections;
use crate::runtime::supervisor::Shutdown;
use crate::runtime::tls::RELOAD_PERIOD;

/// The file, and the last text of it that was good.
pub(crate) struct CaFile {
    path: PathBuf,
    text: String,
    /// What could not be read, so that it is told once.
    refused: Option<String>,
}

impl CaFile {
    /// Reads it for the first time: every client would be given it.
    pub(crate) fn read(path: PathBuf) -> Result<Self> {
        let text = read(&path)?;
        authorities(text.as_bytes()).map_err(|error| Usage::of(&format!("--ca-file {}", path.display()), &error))?;
        Ok(Self { path, text, refused: None })
    }

    /// The text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Hands on every later text, until shutdown.
    pub(crate) async fn follow(mut self, connections: Connections, shutdown: Shutdown) -> Result<(), Infallible> {
        while !shutdown.is_requested() {
            tokio::select! {
                () = shutdown.requested() => break,
                () = tokio::time::sleep(RELOAD_PERIOD) => self.look(&connections),
            }
        }
        Ok(())
    }

    fn look(&mut self, connections: &Connections) {
        let read = read(&self.path).and_then(|text| authorities(text.as_bytes()).map(|_| text));
        match read {
            Ok(text) => {
                self.refused = None;
                if text != self.text {
                    tracing::info!(file = %self.path.display(), "authorities of clients replaced");
                    connections.trust(&text);
                    self.text = text;
                }
            }
            Err(error) => {
                let problem = format!("{error:#}");
                if self.refused.as_ref() != Some(&problem) {
                    let file = self.path.display();
                    tracing::warn!(%file, problem, "the file of authorities is unusable, what it held before stays");
                    self.refused = Some(problem);
                }
            }
        }
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::oauth_client::Connection;

    #[test]
    fn a_later_text_is_handed_on_and_one_without_an_authority_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crt");
        let (one, two) = (
            include_str!("../../tests/certificates/one.crt.pem"),
            include_str!("../../tests/certificates/two.crt.pem"),
        );
        assert!(CaFile::read(path.clone()).is_err());
        std::fs::write(&path, "none").unwrap();
        assert!(CaFile::read(path.clone()).err().is_some_and(|error| error.is::<Usage>()));
        std::fs::write(&path, one).unwrap();
        let mut file = CaFile::read(path.clone()).unwrap();
        let url = String::new;
        let connection = Connection { issuer: url(), token_endpoint: url(), jwks_uri: url(), ca: None };
        let connections = Connections::awaiting_trust(connection);
        for (text, told) in [(two, two), ("none", two), ("", two), (one, one)] {
            std::fs::write(&path, text).unwrap();
            file.look(&connections);
            assert_eq!(connections.ca().as_deref(), Some(told));
        }
    }
}
