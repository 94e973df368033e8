//! Whether this process may be sent work, and if not, what is missing.
//!
//! Flows in: named conditions, each held by the part that fulfils it. Flows out: the answer of `/readyz`. A part that
//! drops its condition without fulfilling it leaves the process not ready.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The list of conditions; clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    conditions: Mutex<Vec<(&'static str, Arc<AtomicBool>)>>,
    withdrawn: AtomicBool,
}

/// One thing that must hold; not so until told. Clones are the same condition.
#[derive(Clone, Debug)]
pub struct Condition(Arc<AtomicBool>);

/// A condition about what the first listing names, such as the keys of the clients there are: it holds once that is there,
/// or could have been.
#[derive(Debug)]
pub struct Beginning {
    /// Holds once the first listing is there.
    listed: Condition,
    condition: Condition,
    until: Option<Instant>,
}

/// How long a process that begins waits for what others may never give.
const PATIENCE: Duration = Duration::from_secs(5);

// === impl Readiness ===

impl Readiness {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition that does not hold yet. The name is what `/readyz` lists, such as `first-snapshot`.
    pub fn condition(&self, name: &'static str) -> Condition {
        let holds = Arc::new(AtomicBool::new(false));
        let mut conditions = self.0.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.push((name, Arc::clone(&holds)));
        Condition(holds)
    }

    /// The conditions that do not hold; `shutting-down` once withdrawn.
    pub fn missing(&self) -> Vec<&'static str> {
        if self.0.withdrawn.load(Ordering::Relaxed) {
            return vec!["shutting-down"];
        }
        let conditions = self.0.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.iter().filter(|(_, holds)| !holds.load(Ordering::Relaxed)).map(|(name, _)| *name).collect()
    }

    /// Whether all conditions hold.
    pub fn is_ready(&self) -> bool {
        self.missing().is_empty()
    }

    /// Not ready from now on: the process is about to end.
    pub fn withdraw(&self) {
        self.0.withdrawn.store(true, Ordering::Relaxed);
    }
}

// === impl Condition ===

impl Condition {
    /// The condition holds.
    pub fn ready(&self) {
        self.set(true);
    }

    /// The condition holds, or no longer does.
    pub fn set(&self, holds: bool) {
        // Whoever sees it sees what was made ready before.
        self.0.store(holds, Ordering::Release);
    }

    /// Whether it holds.
    pub fn holds(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

// === impl Beginning ===

impl Beginning {
    /// Nothing is there yet.
    pub fn new(listed: Condition, condition: Condition) -> Self {
        Self { listed, condition, until: None }
    }

    /// Whether the first listing is there; to be asked before what is listed is read, as it is said after that is published.
    pub fn is_listed(&self) -> bool {
        self.listed.holds()
    }

    /// Whether there is nothing to wait for any more.
    pub fn is_over(&self) -> bool {
        self.condition.holds()
    }

    /// Takes in, of what was listed at the time, whether all is there.
    pub fn look(&mut self, is_listed: bool, is_there: bool, now: Instant) {
        if is_listed && !self.is_over() {
            let until = *self.until.get_or_insert(now + PATIENCE);
            if is_there || now >= until {
                self.condition.ready();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_once_every_condition_holds_and_never_again_after_withdrawal() {
        let readiness = Readiness::new();
        let keys = readiness.condition("keys");
        readiness.condition("policies").ready();
        assert_eq!(readiness.missing(), ["keys"]);
        keys.ready();
        assert!(readiness.is_ready());
        keys.set(false);
        assert!(!readiness.is_ready());
        keys.ready();
        readiness.withdraw();
        assert_eq!(readiness.missing(), ["shutting-down"]);
    }

    #[test]
    fn what_the_first_listing_names_is_waited_for_but_not_for_ever() {
        let (readiness, now) = (Readiness::new(), Instant::now());
        let mut begun =
            [(); 2].map(|()| Beginning::new(readiness.condition("first-listing"), readiness.condition("keys")));
        let [prompt, patient] = &mut begun;
        prompt.look(false, true, now);
        assert!(!prompt.is_over(), "what is there says nothing before the listing");
        prompt.look(true, false, now);
        assert!(!prompt.is_over());
        prompt.look(true, true, now);
        assert!(prompt.is_over());

        patient.look(true, false, now);
        patient.look(true, false, now + PATIENCE - Duration::from_millis(1));
        assert!(!patient.is_over());
        patient.look(true, false, now + PATIENCE);
        assert!(patient.is_over());
    }
}
