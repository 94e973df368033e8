//! Wrong usage that clap cannot see by itself, told apart from a run that failed: it ends with 2.

use anyhow::{Error, Result};

/// The command line asks for what cannot be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(String);

impl Usage {
    /// With a message that says what to write instead.
    pub(crate) fn error(message: impl Into<String>) -> Error {
        Self(message.into()).into()
    }

    /// What went wrong, as the fault of this flag.
    pub(crate) fn of(flag: &str, error: &Error) -> Error {
        Self::error(format!("{flag}: {error:#}"))
    }
}

/// Wrong usage unless it holds.
pub(crate) fn require(holds: bool, message: impl Into<String>) -> Result<()> {
    if holds { Ok(()) } else { Err(Usage::error(message)) }
}
