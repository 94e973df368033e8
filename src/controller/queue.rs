//! Which objects to look at, and when.
//!
//! Flows in: keys from watches, and the moments plans ask to be woken at. Flows out: one key at a time, each in the hands
//! of at most one worker. A key offered again while it is worked on is looked at once more afterwards; a key offered many
//! times waits once, so the queue never holds more than there are objects.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

/// The wait after a first failure; it doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_mins(5);

/// A work queue; clones are the same queue.
pub struct Queue<K>(Arc<Shared<K>>);

struct Shared<K> {
    state: Mutex<State<K>>,
    offered: Notify,
}

/// A key waits in `order` (and `due`), or is with a worker, never both.
struct State<K> {
    order: BTreeSet<(Timestamp, K)>,
    due: HashMap<K, Timestamp>,
    working: HashSet<K>,
    /// With a worker, and to be looked at again.
    again: HashSet<K>,
    failures: HashMap<K, u32>,
}

/// How a look at an object ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// All is as it should be until then; `None`: until something changes.
    Settled(Option<Timestamp>),
    /// Look again with backoff, spread by this factor.
    Failed { spread: f64 },
}

// === impl Queue ===

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Clone + Ord + Hash> Default for Queue<K> {
    fn default() -> Self {
        let state = State {
            order: BTreeSet::new(),
            due: HashMap::new(),
            working: HashSet::new(),
            again: HashSet::new(),
            failures: HashMap::new(),
        };
        Self(Arc::new(Shared { state: Mutex::new(state), offered: Notify::new() }))
    }
}

impl<K: Clone + Ord + Hash> Queue<K> {
    /// The object may have changed: look at it as soon as a worker is free.
    pub fn offer(&self, key: K) {
        self.offer_at(key, Timestamp::MIN);
    }

    /// Look at the object at `at`, unless it is looked at before.
    pub fn offer_at(&self, key: K, at: Timestamp) {
        self.lock().offer(key, at);
        self.0.offered.notify_one();
    }

    /// The key that waited longest of those that are due, now the caller's until `finish`.
    pub fn take(&self, now: Timestamp) -> Option<K> {
        self.lock().take(now)
    }

    /// Gives a key back.
    pub fn finish(&self, key: K, outcome: Outcome, now: Timestamp) {
        self.lock().finish(key, outcome, now);
        self.0.offered.notify_one();
    }

    /// When the next key is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.lock().order.first().map(|(at, _)| *at)
    }

    /// How many keys wait, whenever they are due.
    pub fn len(&self) -> usize {
        self.lock().order.len()
    }

    /// Whether no key waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until something was offered or given back since the last call.
    pub async fn offered(&self) {
        self.0.offered.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl<K: Clone + Ord + Hash> State<K> {
    fn offer(&mut self, key: K, at: Timestamp) {
        if self.working.contains(&key) {
            self.again.insert(key);
            return;
        }
        match self.due.get(&key) {
            Some(due) if *due <= at => return,
            Some(due) => self.order.remove(&(*due, key.clone())),
            None => false,
        };
        self.due.insert(key.clone(), at);
        self.order.insert((at, key));
    }

    fn take(&mut self, now: Timestamp) -> Option<K> {
        if self.order.first().is_none_or(|(at, _)| *at > now) {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.due.remove(&key);
        self.working.insert(key.clone());
        Some(key)
    }

    fn finish(&mut self, key: K, outcome: Outcome, now: Timestamp) {
        self.working.remove(&key);
        let again = self.again.remove(&key);
        let next = match outcome {
            Outcome::Settled(next) => {
                self.failures.remove(&key);
                next
            }
            Outcome::Failed { spread } => {
                let failures = self.failures.entry(key.clone()).or_default();
                let wait = backoff(*failures, spread);
                *failures = failures.saturating_add(1);
                Some(now.checked_add(wait).unwrap_or(Timestamp::MAX))
            }
        };
        if again {
            self.offer(key, Timestamp::MIN);
        } else if let Some(at) = next {
            self.offer(key, at);
        }
    }
}

fn backoff(failures: u32, spread: f64) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << failures.min(16)).min(LONGEST_BACKOFF).mul_f64(spread.clamp(0.5, 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_key_offered_many_times_is_handed_out_once() {
        let queue = Queue::default();
        queue.offer("a");
        queue.offer("a");
        assert_eq!((queue.take(at(0)), queue.take(at(0))), (Some("a"), None));
    }

    #[test]
    fn a_key_offered_while_it_is_worked_on_is_handed_out_again_afterwards() {
        let queue = Queue::default();
        queue.offer("a");
        queue.take(at(0));
        queue.offer("a");
        assert_eq!(queue.take(at(0)), None, "one worker at a time");
        queue.finish("a", Outcome::Settled(Some(at(100))), at(0));
        assert_eq!(queue.take(at(0)), Some("a"));
    }

    #[test]
    fn a_key_is_due_at_the_earliest_moment_asked_for() {
        let queue = Queue::default();
        queue.offer_at("a", at(50));
        queue.offer_at("a", at(20));
        queue.offer_at("a", at(90));
        assert_eq!((queue.take(at(19)), queue.next_due()), (None, Some(at(20))));
        assert_eq!(queue.take(at(20)), Some("a"));
        queue.finish("a", Outcome::Settled(None), at(20));
        assert!(queue.is_empty());
    }

    #[test]
    fn failures_back_off_each_key_by_itself_and_a_success_forgets_them() {
        let queue = Queue::default();
        let mut now = at(0);
        queue.offer("bad");
        let mut waits = Vec::new();
        for _ in 0..12 {
            let key = queue.take(now).unwrap();
            queue.finish(key, Outcome::Failed { spread: 1.0 }, now);
            let next = queue.next_due().unwrap();
            waits.push(next.duration_since(now).as_millis());
            now = next;
        }
        assert_eq!(waits[..4], [500, 1_000, 2_000, 4_000]);
        assert_eq!(waits.last(), Some(&300_000));
        let key = queue.take(now).unwrap();
        queue.finish(key, Outcome::Settled(None), now);
        queue.offer("bad");
        let key = queue.take(now).unwrap();
        queue.finish(key, Outcome::Failed { spread: 1.0 }, now);
        assert_eq!(queue.next_due().unwrap().duration_since(now).as_millis(), 500);
    }

    #[test]
    fn a_change_ends_the_wait_after_a_failure() {
        let queue = Queue::default();
        queue.offer("a");
        let key = queue.take(at(0)).unwrap();
        queue.finish(key, Outcome::Failed { spread: 1.0 }, at(0));
        queue.offer("a");
        assert_eq!(queue.take(at(0)), Some("a"));
    }
}
