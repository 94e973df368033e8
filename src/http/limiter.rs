//! Limits how often something may go wrong for one key: a GCRA cell each, in a bounded cache.
//!
//! Flows in: keys (a client and an address, say) and failures. Flows out: how long to wait, once there were too many. A
//! cell is one number; the oldest unused are forgotten first, so that inventing keys costs memory nobody.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use quick_cache::sync::Cache;

/// How much is put up with.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Failures at once.
    pub burst: u16,
    /// Time after which one more is put up with.
    pub every: Duration,
}

/// One cell: the theoretical arrival time of the generic cell rate algorithm, in milliseconds.
#[derive(Debug)]
pub struct Cell {
    arrival: AtomicI64,
    every: i64,
    tolerance: i64,
}

/// Cells by key.
#[derive(Debug)]
pub struct Limiter {
    cells: Cache<u64, Arc<Cell>>,
    hasher: RandomState,
    rate: Rate,
}

// === impl Cell ===

impl Cell {
    pub fn new(rate: Rate) -> Self {
        let every = i64::try_from(rate.every.as_millis()).unwrap_or(i64::MAX).max(1);
        let tolerance = every.saturating_mul(i64::from(rate.burst));
        Self { arrival: AtomicI64::new(i64::MIN), every, tolerance }
    }

    /// How long until one more is put up with; `None` if it is now.
    pub fn wait(&self, now: Timestamp) -> Option<Duration> {
        self.wait_from(self.arrival.load(Ordering::Relaxed), now.as_millisecond())
    }

    fn wait_from(&self, arrival: i64, now: i64) -> Option<Duration> {
        let wait = arrival.saturating_add(self.every).saturating_sub(now).saturating_sub(self.tolerance);
        u64::try_from(wait).ok().filter(|wait| *wait > 0).map(Duration::from_millis)
    }

    /// Counts one more, unless there were too many already: then says how long to wait and counts nothing, so that
    /// going on does not lengthen the wait.
    pub fn count(&self, now: Timestamp) -> Result<(), Duration> {
        let now = now.as_millisecond();
        let mut arrival = self.arrival.load(Ordering::Relaxed);
        loop {
            if let Some(wait) = self.wait_from(arrival, now) {
                return Err(wait);
            }
            let next = arrival.max(now).saturating_add(self.every);
            match self.arrival.compare_exchange_weak(arrival, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(seen) => arrival = seen,
            }
        }
    }
}

// === impl Limiter ===

impl Limiter {
    /// At most `cells` keys are remembered.
    pub fn new(rate: Rate, cells: usize) -> Self {
        Self { cells: Cache::new(cells), hasher: RandomState::new(), rate }
    }

    /// How long this key has to wait; `None` for nearly every key there is.
    pub fn wait(&self, key: impl Hash, now: Timestamp) -> Option<Duration> {
        self.cells.get(&self.hasher.hash_one(key))?.wait(now)
    }

    /// Counts a failure of this key, or says how long it has to wait.
    pub fn count(&self, key: impl Hash, now: Timestamp) -> Result<(), Duration> {
        let key = self.hasher.hash_one(key);
        let cell = self.cells.get(&key).unwrap_or_else(|| {
            let cell = Arc::new(Cell::new(self.rate));
            self.cells.insert(key, Arc::clone(&cell));
            cell
        });
        cell.count(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, every: Duration::from_secs(1) };

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000 + millis).unwrap()
    }

    #[test]
    fn a_burst_is_put_up_with_and_then_one_a_period() {
        let limiter = Limiter::new(RATE, 100);
        for _ in 0..3 {
            assert_eq!(limiter.count("a", at(0)), Ok(()));
        }
        assert_eq!(limiter.count("a", at(0)), Err(Duration::from_secs(1)));
        assert_eq!(limiter.wait("a", at(400)), Some(Duration::from_millis(600)));
        assert_eq!(limiter.count("a", at(1000)), Ok(()));
        assert_eq!(limiter.count("a", at(1000)), Err(Duration::from_secs(1)));
        assert_eq!(limiter.wait("a", at(60_000)), None);
    }

    #[test]
    fn other_keys_are_not_concerned() {
        let limiter = Limiter::new(RATE, 100);
        while limiter.count(("a", 1), at(0)).is_ok() {}
        assert_eq!(limiter.wait(("a", 2), at(0)), None);
        assert_eq!(limiter.count(("a", 2), at(0)), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let limiter = Limiter::new(RATE, 100);
        for key in 0..10_000 {
            limiter.count(key, at(0)).unwrap();
        }
        assert!(limiter.cells.len() <= 110, "{}", limiter.cells.len());
    }
}
