//! Keeps one token: asks when it is time, writes what came, withdraws what ended.
//!
//! Flows in: what `life` decides, answers, and wishes for a newer token from the socket. Flows out: files, and the token for the
//! socket. There is one request at a time, and while it is under way an ending token is withdrawn all the same.

use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_core::wanted::Wanted;
use tokio::sync::{Notify, watch};

use super::answer::{AccessToken, Failure, Granted, Outcome};
use super::ask::Asks;
use super::counters::{Counters, Renewal};
use super::files::{FileError, Outputs};
use super::life::{Life, Moment, Refresh};
use super::passage::Passage;
use crate::runtime::random;
use crate::runtime::supervisor::Shutdown;
use crate::runtime::telemetry::chain;

/// How long a keeper rests at most: a machine that slept is noticed this soon, and so are credentials that changed after a
/// request failed.
const LOOK: Duration = Duration::from_secs(5);
/// How soon files are tried again that could not be written.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
/// How long somebody who wishes for a newer token waits for it.
const PATIENCE: Duration = Duration::from_secs(25);

/// What keeper and socket share about one token.
#[derive(Debug)]
pub(crate) struct Shared {
    name: String,
    passage: Arc<Passage>,
    life: Mutex<Life<AccessToken>>,
    nudge: Notify,
    /// Requests that ended, either way.
    ended: watch::Sender<u64>,
}

/// What somebody gets who wished for a newer token.
#[derive(Debug)]
pub(crate) enum Refreshed {
    Token {
        token: AccessToken,
        rest: Duration,
        renewal: Renewal,
    },
    /// The next request comes after this time.
    Later(Duration),
}

/// The task of one token.
#[derive(Debug)]
pub(crate) struct Keeper<A> {
    wanted: Wanted,
    asks: Arc<A>,
    outputs: Outputs,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    disk: Disk,
    missing: bool,
}

/// What the files hold: the token with this number, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Token(u64),
    Nothing,
    /// They could not be written.
    Unknown,
}

type Asking = Option<Pin<Box<dyn Future<Output = Result<Granted, Failure>> + Send>>>;

// === impl Shared ===

impl Shared {
    pub(crate) fn new(name: &str, passage: Arc<Passage>, longest_wait: Duration) -> Self {
        let life = Mutex::new(Life::new(longest_wait));
        Self { name: name.to_owned(), passage, life, nudge: Notify::new(), ended: watch::Sender::new(0) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The token and what is left of it, unless there is none.
    pub(crate) fn token(&self) -> Option<(AccessToken, Duration)> {
        let now = self.passage.now();
        self.life().token(now).map(|(token, rest)| (token.clone(), rest))
    }

    /// How long until the next request.
    pub(crate) fn rest(&self) -> Duration {
        let now = self.passage.now();
        self.life().rest(now)
    }

    /// A newer token for somebody whom this one did not serve: all who wish at a time share one request.
    pub(crate) async fn refresh(&self) -> Refreshed {
        let mut ended = self.ended.subscribe();
        let now = self.passage.now();
        let wish = self.life().refresh(now);
        let renewal = match wish {
            Refresh::Later(wait) => return Refreshed::Later(wait),
            Refresh::Current => Renewal::Current,
            Refresh::Asking => {
                self.nudge.notify_one();
                let heard = tokio::time::timeout(PATIENCE, ended.changed()).await.is_ok_and(|heard| heard.is_ok());
                if !heard || self.life().failures() > 0 {
                    return Refreshed::Later(self.rest());
                }
                Renewal::Renewed
            }
        };
        match self.token() {
            Some((token, rest)) => Refreshed::Token { token, rest, renewal },
            None => Refreshed::Later(self.rest()),
        }
    }

    fn life(&self) -> MutexGuard<'_, Life<AccessToken>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Keeper ===

impl<A: Asks> Keeper<A> {
    /// The files hold nothing yet: `outputs` were withdrawn.
    pub(crate) fn new(wanted: Wanted, asks: A, outputs: Outputs, shared: Arc<Shared>, counters: Arc<Counters>) -> Self {
        counters.missing(1);
        Self { wanted, asks: Arc::new(asks), outputs, shared, counters, disk: Disk::Nothing, missing: true }
    }

    /// Runs until shutdown is requested; no token is left behind.
    pub(crate) async fn run(mut self, shutdown: Shutdown) -> Result<(), FileError> {
        let mut asking: Asking = None;
        loop {
            let now = self.shared.passage.now();
            self.settle(now);
            if self.shared.life().begin(now) {
                asking = Some(self.ask());
            }
            tokio::select! {
                () = shutdown.requested() => return self.outputs.withdraw(),
                outcome = ended(&mut asking) => {
                    asking = None;
                    self.answered(outcome);
                }
                () = self.shared.nudge.notified() => {}
                () = tokio::time::sleep(self.pause(now)) => self.look_for_news(),
            }
        }
    }

    fn ask(&self) -> Pin<Box<dyn Future<Output = Result<Granted, Failure>> + Send>> {
        let (asks, wanted) = (Arc::clone(&self.asks), self.wanted.clone());
        Box::pin(async move { asks.ask(&wanted).await })
    }

    fn pause(&self, now: Moment) -> Duration {
        let longest = if self.disk == Disk::Unknown { WRITE_AGAIN } else { LOOK };
        self.shared.life().rest(now).min(longest)
    }

    fn answered(&self, outcome: Result<Granted, Failure>) {
        let (name, now) = (self.wanted.name(), self.shared.passage.now());
        let mut life = self.shared.life();
        match outcome {
            Ok(Granted { token, life: lives }) => {
                let failures = life.failures();
                life.obtained(token, lives, random::fraction());
                self.counters.requested(Outcome::Obtained);
                if self.missing || failures > 0 {
                    tracing::info!(name, lives_seconds = lives.as_secs(), failures, "token obtained");
                } else {
                    tracing::debug!(name, lives_seconds = lives.as_secs(), "token renewed");
                }
            }
            Err(failure) => {
                life.failed(now, failure.retry_after(), random::fraction());
                self.counters.requested(failure.outcome());
                let again_seconds = life.rest(now).as_secs();
                tracing::warn!(name, error = chain(&failure), failures = life.failures(), again_seconds, "no token");
            }
        }
        drop(life);
        self.shared.ended.send_modify(|ended| *ended += 1);
    }

    /// Withdraws what ended and has the files say what there is.
    fn settle(&mut self, now: Moment) {
        let (ended, held) = {
            let mut life = self.shared.life();
            let ended = life.withdraw(now);
            (ended, life.serial(now).zip(life.token(now).map(|(token, _)| token.clone())))
        };
        if ended {
            tracing::warn!(name = self.wanted.name(), "token withdrawn: its time is over and there is no newer one");
        }
        let (wish, done) = match held {
            Some((serial, _)) if self.disk == Disk::Token(serial) => (self.disk, Ok(())),
            Some((serial, token)) => (Disk::Token(serial), self.outputs.publish(&token)),
            None if self.disk == Disk::Nothing => (self.disk, Ok(())),
            None => (Disk::Nothing, self.outputs.withdraw()),
        };
        self.note(wish, done);
    }

    fn note(&mut self, wish: Disk, done: Result<(), FileError>) {
        match done {
            Ok(()) => self.disk = wish,
            Err(error) => {
                self.counters.write_failures.inc();
                tracing::error!(
                    name = self.wanted.name(),
                    error = chain(&error),
                    "a file could not be replaced; tried again"
                );
                self.disk = Disk::Unknown;
            }
        }
        let missing = !matches!(self.disk, Disk::Token(_));
        if missing != self.missing {
            self.counters.missing(if missing { 1 } else { -1 });
            self.missing = missing;
        }
    }

    /// After a failure, whether its reason went away.
    fn look_for_news(&self) {
        if self.shared.life().failures() > 0 && self.asks.has_news() {
            let now = self.shared.passage.now();
            self.shared.life().hurry(now);
        }
    }
}

/// The end of the request under way; never, where there is none.
async fn ended(asking: &mut Asking) -> Result<Granted, Failure> {
    match asking {
        Some(request) => request.await,
        None => pending().await,
    }
}
