//! Keeps the access tokens of one workload fresh, so that the workload needs to know nothing of OAuth.
//!
//! ```text
//! credentials (files) ─► ask: the token endpoint ─► life: when to renew, when it ends ─┬─► files: a token file, an Envoy SDS file
//!                                                     ▲                                └─► socket: GET /token
//!                                                     └──── socket: POST /token/refresh
//! ```
//!
//! Flows in: the files of a client's Secret, or a service account token, read again for each request. Flows out: access tokens,
//! each replaced in one step and withdrawn before it ends. One task a token (`keeper`); what is decided about time is decided
//! in `life`, which is pure.

mod answer;
mod ask;
mod counters;
mod credentials;
mod files;
mod keeper;
mod life;
mod passage;
mod socket;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::wanted::Wanted;

use self::ask::Asker;
use self::counters::Counters;
use self::files::Outputs;
use self::keeper::{Keeper, Shared};
use self::passage::Passage;
use self::socket::Socket;
use crate::runtime::clock::Clock;
use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::Readiness;
use crate::runtime::supervisor::Supervisor;

pub use self::ask::{SchemeError, may_be_asked};
pub use self::credentials::Sources;
pub use self::files::FileError;
pub use self::socket::SocketError;

/// What one agent keeps, from where and for whom.
#[derive(Clone, Debug)]
pub struct Settings {
    pub sources: Sources,
    /// Whether an issuer on another machine may be asked without TLS.
    pub plaintext: bool,
    /// The tokens to keep, each by a name of its own.
    pub wanted: Vec<Wanted>,
    /// Where token files lie.
    pub token_dir: Option<PathBuf>,
    /// Where Envoy's SDS files lie.
    pub envoy_dir: Option<PathBuf>,
    /// Where tokens are served.
    pub socket: Option<PathBuf>,
    pub access: Access,
    /// The longest back-off between two requests, however often they failed.
    pub longest_wait: Duration,
}

/// Who may read files and use the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    #[default]
    Owner,
    Group,
    /// Whoever sees the folder: where a mount decides that.
    Everyone,
}

impl Access {
    fn of_files(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Group => 0o640,
            Self::Everyone => 0o644,
        }
    }

    /// Who connects has to write.
    fn of_socket(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Group => 0o660,
            Self::Everyone => 0o666,
        }
    }
}

/// What the process lends to its parts.
#[derive(Debug)]
pub struct Host<'a> {
    pub supervisor: &'a mut Supervisor,
    pub readiness: &'a Readiness,
    pub metrics: &'a Metrics,
    pub clock: &'a Clock,
}

/// Why an agent cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("clear what an earlier agent left")]
    Files(#[from] FileError),
    #[error("open the socket")]
    Socket(#[from] SocketError),
}

/// Starts a task for each token and one for the socket. Files of an earlier agent are withdrawn before this returns: whoever
/// waits for an Envoy SDS file finds it, without a credential.
pub fn start(settings: &Settings, host: &mut Host<'_>) -> Result<(), StartError> {
    let passage = Arc::new(Passage::begin(host.clock.clone()));
    let counters = Arc::new(Counters::register(host.metrics, host.readiness.condition("access-tokens")));
    let mut kept = Vec::new();
    for wanted in &settings.wanted {
        let outputs = Outputs::of(settings, wanted.name());
        outputs.withdraw()?;
        let shared = Arc::new(Shared::new(wanted.name(), Arc::clone(&passage), settings.longest_wait));
        let asker = Asker::new(settings.sources.clone(), settings.plaintext, host.clock.clone());
        let keeper = Keeper::new(wanted.clone(), asker, outputs, Arc::clone(&shared), Arc::clone(&counters));
        host.supervisor.spawn("token", keeper.run(host.supervisor.shutdown()));
        kept.push(shared);
    }
    if let Some(path) = &settings.socket {
        let socket = Socket::bind(path, settings.access)?;
        host.supervisor.spawn("socket", socket.serve(socket::router(kept, counters), host.supervisor.shutdown()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
