//! Owns every long-lived task of the process, and its end.
//!
//! ```text
//! signal ─► readiness off, end announced ─► wait for endpoint removal ─► drain requested ─► tasks end ─► exit 0
//!                 second signal, or the drain takes too long ─► tasks aborted ─► exit 1
//! a task that ends by itself or panics ─► exit 1 with the error's chain
//! ```

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::runtime::readiness::Readiness;

/// Any error of a task.
pub type TaskError = Box<dyn Error + Send + Sync>;

/// Tells tasks that the process is ending, first that it will, then that it does; clones are the same signal.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    announced: CancellationToken,
    requested: CancellationToken,
}

/// How long the two phases of an orderly end may take.
#[derive(Clone, Copy, Debug)]
pub struct Grace {
    /// From readiness off to the first connection closed: time for load balancers to notice.
    pub endpoint_removal: Duration,
    /// From then on, until tasks are aborted.
    pub drain: Duration,
}

/// Why the process ended other than in order.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    #[error("listen for signals")]
    Signals(#[source] std::io::Error),
    #[error("task {name} failed")]
    Failed { name: &'static str, source: TaskError },
    #[error("task {name} ended although nothing asked it to")]
    Ended { name: &'static str },
    #[error("a task panicked")]
    Panicked(#[source] tokio::task::JoinError),
    #[error("a second signal aborted the shutdown")]
    Aborted,
    #[error("these tasks did not end within the drain time: {}", .still.join(", "))]
    DrainTimeout { still: Vec<&'static str> },
}

/// The tasks.
#[derive(Debug, Default)]
pub struct Supervisor {
    tasks: JoinSet<(&'static str, Result<(), TaskError>)>,
    /// The names of those that have not ended.
    running: Vec<&'static str>,
    shutdown: Shutdown,
}

// === impl Shutdown ===

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until tasks should finish what they have in hand and end.
    pub async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// Whether tasks should end.
    pub fn is_requested(&self) -> bool {
        self.requested.is_cancelled()
    }

    /// Asks every task to end.
    pub fn request(&self) {
        self.announced.cancel();
        self.requested.cancel();
    }

    /// Whether tasks will be asked to end soon: who keeps connections to us should look for another replica.
    pub fn is_announced(&self) -> bool {
        self.announced.is_cancelled()
    }

    /// Says that the end is near.
    pub fn announce(&self) {
        self.announced.cancel();
    }
}

// === impl Grace ===

impl Default for Grace {
    fn default() -> Self {
        Self { endpoint_removal: Duration::from_secs(3), drain: Duration::from_secs(20) }
    }
}

// === impl Supervisor ===

impl Supervisor {
    pub fn new() -> Self {
        Self::default()
    }

    /// The signal to hand to tasks.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Starts a task that runs until shutdown is requested.
    pub fn spawn<E: Into<TaskError>>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.running.push(name);
        self.tasks.spawn(async move { (name, task.await.map_err(Into::into)) });
    }

    /// Runs until a signal or a task's failure; returns once every task ended.
    pub async fn run(mut self, readiness: &Readiness, grace: Grace) -> Result<(), SupervisorError> {
        let mut signals = Signals::listen()?;
        tokio::select! {
            biased;
            // Someone inside asked for the end (`demo` when it is through): the same order without the first wait.
            // Asked first, since the one who asked may end at the same moment.
            () = self.shutdown.requested() => {}
            () = signals.next() => {}
            ended = self.tasks.join_next(), if !self.tasks.is_empty() => return Err(fatal(ended)),
        }
        tracing::info!("shutting down");
        readiness.withdraw();
        self.shutdown.announce();
        let in_order = async {
            if !self.shutdown.is_requested() {
                tokio::time::sleep(grace.endpoint_removal).await;
                self.shutdown.request();
            }
            let drained = tokio::time::timeout(grace.drain, drain(&mut self.tasks, &mut self.running)).await;
            drained.unwrap_or_else(|_| Err(SupervisorError::DrainTimeout { still: std::mem::take(&mut self.running) }))
        };
        let outcome = tokio::select! {
            outcome = in_order => outcome,
            () = signals.next() => Err(SupervisorError::Aborted),
        };
        self.tasks.shutdown().await;
        outcome
    }
}

async fn drain(
    tasks: &mut JoinSet<(&'static str, Result<(), TaskError>)>,
    running: &mut Vec<&'static str>,
) -> Result<(), SupervisorError> {
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        if let Ok((name, _)) = &ended
            && let Some(at) = running.iter().position(|running| running == name)
        {
            running.swap_remove(at);
        }
        match ended {
            Ok((_, Ok(()))) => {}
            // The first failure is told; the others still get their time to end.
            _ if outcome.is_err() => {}
            ended => outcome = Err(fatal(Some(ended))),
        }
    }
    outcome
}

type Ended = Result<(&'static str, Result<(), TaskError>), tokio::task::JoinError>;

fn fatal(ended: Option<Ended>) -> SupervisorError {
    match ended {
        Some(Ok((name, Err(source)))) => SupervisorError::Failed { name, source },
        Some(Ok((name, Ok(())))) => SupervisorError::Ended { name },
        Some(Err(source)) => SupervisorError::Panicked(source),
        None => SupervisorError::Ended { name: "every task" },
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, SupervisorError> {
        let listen = |kind| signal(kind).map_err(SupervisorError::Signals);
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const GRACE: Grace = Grace { endpoint_removal: Duration::ZERO, drain: Duration::from_millis(50) };

    async fn forever() -> Result<(), io::Error> {
        std::future::pending().await
    }

    #[tokio::test]
    async fn a_task_that_ends_by_itself_is_fatal() {
        let mut supervisor = Supervisor::new();
        supervisor.spawn("waits", forever());
        supervisor.spawn("ends", async { Ok::<_, io::Error>(()) });
        let error = supervisor.run(&Readiness::new(), GRACE).await.unwrap_err();
        assert!(matches!(error, SupervisorError::Ended { name: "ends" }), "{error:?}");
    }

    #[tokio::test]
    async fn a_panic_and_an_error_are_fatal() {
        let mut supervisor = Supervisor::new();
        supervisor.spawn::<io::Error>("panics", async { panic!("as told") });
        let error = supervisor.run(&Readiness::new(), GRACE).await.unwrap_err();
        assert!(matches!(error, SupervisorError::Panicked(_)), "{error:?}");

        let mut supervisor = Supervisor::new();
        supervisor.spawn("fails", async { Err(io::Error::other("as told")) });
        let error = supervisor.run(&Readiness::new(), GRACE).await.unwrap_err();
        assert_eq!(error.to_string(), "task fails failed");
        assert_eq!(error.source().unwrap().to_string(), "as told");
    }

    #[tokio::test]
    async fn an_orderly_end_withdraws_readiness_and_waits_for_tasks() {
        let mut supervisor = Supervisor::new();
        let shutdown = supervisor.shutdown();
        let readiness = Readiness::new();
        let seen = readiness.clone();
        supervisor.spawn("worker", async move {
            shutdown.requested().await;
            assert!(!seen.is_ready());
            Ok::<_, io::Error>(())
        });
        supervisor.shutdown().request();
        supervisor.run(&readiness, GRACE).await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_will_not_end_is_aborted() {
        let mut supervisor = Supervisor::new();
        supervisor.spawn("stuck", forever());
        supervisor.shutdown().request();
        let error = supervisor.run(&Readiness::new(), GRACE).await.unwrap_err();
        assert!(matches!(error, SupervisorError::DrainTimeout { still } if still == ["stuck"]), "the task is named");
    }
}
