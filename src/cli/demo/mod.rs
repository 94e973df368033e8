//! `countersign demo`: the whole life of a client before your eyes, on this machine, over a folder.
//!
//! Flows in: the manifests of examples/quickstart, embedded. Flows out: each step with what happened and how to do it by
//! hand; an error where a step does not end as it must. Nothing is staged: issuer, verifier and controller are those of
//! `countersign standalone`, only the constants of the protocols are seconds instead of minutes.

mod calls;
mod scenario;
mod screen;

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use countersign_core::timings::Timings;

use self::scenario::Scenario;

/// Show the whole life of a client: apply, token, allowed and denied call, rotation, revocation
///
/// Everything runs in this process, on loopback, over a temporary folder that is gone afterwards. With
/// `countersign demo --stay` it goes on, to try things by hand.
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Keep issuer and verifier running at the end, until Ctrl-C, to try things by hand
    #[arg(long, env = "COUNTERSIGN_STAY")]
    stay: bool,
}

impl Demo {
    pub(crate) async fn run(self) -> Result<()> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        Scenario::start(folder.path(), self.stay).await?.run().await
    }
}

/// Minutes become fractions of a second, so that a rotation can be watched.
fn timings() -> Timings {
    Timings {
        clock_skew: Duration::from_millis(50),
        jwks_max_age: Duration::from_millis(500),
        propagation: Duration::from_millis(400),
        heartbeat_period: Duration::from_millis(500),
        ..Timings::default()
    }
}
