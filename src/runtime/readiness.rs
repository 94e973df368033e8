//! Whether this process may be sent work, and if not, what is missing.
//!
//! Flows in: named conditions, each held by the part that fulfils it. Flows out: the answer of `/readyz`. A part that
//! drops its condition without fulfilling it leaves the process not ready.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
        self.0.store(holds, Ordering::Relaxed);
    }

    /// Whether it holds.
    pub fn holds(&self) -> bool {
        self.0.load(Ordering::Relaxed)
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
}
