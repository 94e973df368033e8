//! Standard output of commands that print and end.
//!
//! Flows in: text. Flows out: the text, all of it, or an error; that the reader has seen enough is one of its own kind.

use std::io::{ErrorKind, Write as _, stdout};

use anyhow::{Context as _, Result};

/// What a shell shows of a program that SIGPIPE ended: here its signal is not raised, since servers must outlive it.
pub(super) const CLOSED: u8 = 128 + 13;

/// The reader closed the pipe, as `head` does: no failure, and nothing to say.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(super) struct Closed;

/// Prints a text and ends its line.
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    let written = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Closed.into()),
        written => written.context("cannot write to standard output"),
    }
}
