//! `countersign migrate`: manifests for those who come from another authorization server.
//!
//! Flows in: the other server's manifests. Flows out: ours, and everything of theirs that has no place in ours.

mod hydra;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Turn another authorization server's manifests into Countersign's
///
/// Nothing is read from or written to a cluster. The manifests go to standard output, and what could
/// not be taken over, with file, line, field, why and what to do, to standard error:
///
///   countersign migrate hydra clients.yaml secrets.yaml > countersign.yaml
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct Migrate {
    #[command(subcommand)]
    from: From,
}

#[derive(Subcommand, Debug)]
enum From {
    Hydra(Box<hydra::Hydra>),
}

impl Migrate {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self.from {
            From::Hydra(hydra) => hydra.run(),
        }
    }
}
