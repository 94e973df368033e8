//! The life of one token at the agent, as a pure state machine.
//!
//! ```text
//!            due                  obtained                    2/3 of its life, or somebody asks
//! waiting ────────► asking ─────────────────► held, waiting ───────────────────────────────────► asking …
//!    ▲                 │ failed                 │ its end, less a margin
//!    └─── back-off ────┘                        ▼ withdrawn: nobody gets it any more
//! ```
//!
//! Flows in: what was answered, moments and jitter. Flows out: whether to ask, whether to withdraw, and when to look again.

use std::time::Duration;

/// Time since the agent began; it only grows.
pub(crate) type Moment = Duration;

/// Shortest time from the beginning of one request to the next.
const PACE: Duration = Duration::from_secs(1);
/// A token younger than this is not renewed because somebody asks: it is the renewed one.
const FRESH: Duration = Duration::from_secs(10);
/// The first back-off; each failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest time an issuer may send us away for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(5);
/// How long before its end a token is withdrawn, at most: time for whoever has just read it.
const LARGEST_MARGIN: Duration = Duration::from_secs(30);
/// And at least: a token's `exp` is in whole seconds, so it may end up to one before `expires_in` says.
const SMALLEST_MARGIN: Duration = Duration::from_secs(1);
/// A token is renewed at this part of its life, and up to `RENEWAL_SPREAD` later.
const RENEWAL: f64 = 0.6;
const RENEWAL_SPREAD: f64 = 2.0 / 15.0;

/// What became of the wish for a newer token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refresh {
    /// The token there is has just been obtained.
    Current,
    /// A request is under way, or begins now.
    Asking,
    /// The last request failed; the next one comes after this time.
    Later(Duration),
}

/// One token's life.
#[derive(Debug)]
pub(crate) struct Life<T> {
    held: Option<Held<T>>,
    /// When the next request is due; none while one is under way.
    due: Option<Moment>,
    /// When the last request began.
    asked: Moment,
    /// Requests that failed since the last that did not.
    failures: u32,
    /// Tokens obtained so far.
    serial: u64,
    longest_wait: Duration,
}

#[derive(Debug)]
struct Held<T> {
    token: T,
    serial: u64,
    since: Moment,
    ends: Moment,
}

impl<T> Life<T> {
    /// Nothing is held, and a request is due at once. `longest_wait` bounds the back-off.
    pub(crate) fn new(longest_wait: Duration) -> Self {
        Self { held: None, due: Some(Moment::ZERO), asked: Moment::ZERO, failures: 0, serial: 0, longest_wait }
    }

    /// The token with what is left of its life, unless that is over.
    pub(crate) fn token(&self, now: Moment) -> Option<(&T, Duration)> {
        let held = self.held.as_ref().filter(|held| now < held.ends)?;
        Some((&held.token, held.ends.saturating_sub(now)))
    }

    /// The number of the token that is held at `now`.
    pub(crate) fn serial(&self, now: Moment) -> Option<u64> {
        self.held.as_ref().filter(|held| now < held.ends).map(|held| held.serial)
    }

    /// Requests that failed since the last that did not.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// How long nothing is to be done.
    pub(crate) fn rest(&self, now: Moment) -> Duration {
        let ends = self.held.as_ref().map(|held| held.ends);
        let next = self.due.into_iter().chain(ends).min();
        next.map_or(Duration::MAX, |next| next.saturating_sub(now))
    }

    /// Whether to ask now; if so, a request is under way from here on.
    pub(crate) fn begin(&mut self, now: Moment) -> bool {
        let begins = self.due.is_some_and(|due| due <= now);
        if begins {
            (self.due, self.asked) = (None, now);
        }
        begins
    }

    /// Drops a token whose time is over; whether there was one.
    pub(crate) fn withdraw(&mut self, now: Moment) -> bool {
        self.held.take_if(|held| held.ends <= now).is_some()
    }

    /// The request brought a token of this life, which counts from when it was asked for. `jitter` is in [0, 1).
    pub(crate) fn obtained(&mut self, token: T, life: Duration, jitter: f64) {
        let margin = (life / 10).clamp(SMALLEST_MARGIN, LARGEST_MARGIN);
        let ends = self.asked.saturating_add(life.saturating_sub(margin));
        let renewal = life.mul_f64(RENEWAL + RENEWAL_SPREAD * jitter.clamp(0.0, 1.0));
        self.serial += 1;
        self.held = Some(Held { token, serial: self.serial, since: self.asked, ends });
        self.due = Some(self.asked.saturating_add(renewal.max(PACE)));
        self.failures = 0;
    }

    /// The request failed: the next one comes after an exponential back-off with full jitter, on top of what the issuer
    /// asked for with `Retry-After` (RFC 9110 section 10.2.3). `jitter` is in [0, 1).
    pub(crate) fn failed(&mut self, now: Moment, retry_after: Option<Duration>, jitter: f64) {
        let doubled = FIRST_WAIT.saturating_mul(1 << self.failures.min(16)).min(self.longest_wait);
        let wait = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER) + doubled.mul_f64(jitter.clamp(0.0, 1.0));
        self.failures = self.failures.saturating_add(1);
        self.due = Some(now.saturating_add(wait).max(self.asked.saturating_add(PACE)));
    }

    /// Somebody was refused with the token there is and wishes for a newer one.
    pub(crate) fn refresh(&mut self, now: Moment) -> Refresh {
        let Some(due) = self.due else { return Refresh::Asking };
        if self.held.as_ref().is_some_and(|held| now < held.ends && now < held.since.saturating_add(FRESH)) {
            return Refresh::Current;
        }
        if self.failures > 0 && due > now {
            return Refresh::Later(due.saturating_sub(now));
        }
        self.hurry(now);
        Refresh::Asking
    }

    /// The next request comes as soon as the pace allows, whatever it waited for.
    pub(crate) fn hurry(&mut self, now: Moment) {
        let soon = now.max(self.asked.saturating_add(PACE));
        self.due = self.due.map(|due| due.min(soon));
    }
}

#[cfg(test)]
mod tests;
