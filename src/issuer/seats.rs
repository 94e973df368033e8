//! Places to wait in, of which nobody gets more than a share.
//!
//! Flows in: who wants to wait. Flows out: a seat, given back when it is dropped, or none: a crowd of one's own fills one's own
//! share, and leaves the rest to others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The places.
#[derive(Debug)]
pub(super) struct Seats<K> {
    most: usize,
    of_one: usize,
    taken: Mutex<Taken<K>>,
}

#[derive(Debug)]
struct Taken<K> {
    in_all: usize,
    by: HashMap<K, usize>,
}

/// One place.
#[derive(Debug)]
pub(super) struct Seat<'a, K: Clone + Eq + Hash> {
    seats: &'a Seats<K>,
    whose: Option<K>,
}

// === impl Seats ===

impl<K: Clone + Eq + Hash> Seats<K> {
    /// So many places, and so many at most for one.
    pub(super) fn new(most: usize, of_one: usize) -> Self {
        Self { most, of_one, taken: Mutex::new(Taken { in_all: 0, by: HashMap::new() }) }
    }

    /// A place, if there is one left; one that is nobody's counts to no share.
    pub(super) fn take(&self, whose: Option<&K>) -> Option<Seat<'_, K>> {
        let mut taken = self.taken();
        if taken.in_all >= self.most {
            return None;
        }
        if let Some(whose) = whose {
            let share = taken.by.entry(whose.clone()).or_default();
            if *share >= self.of_one {
                return None;
            }
            *share += 1;
        }
        taken.in_all += 1;
        Some(Seat { seats: self, whose: whose.cloned() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken<K>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Seat ===

impl<K: Clone + Eq + Hash> Drop for Seat<'_, K> {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.in_all = taken.in_all.saturating_sub(1);
        let Some(whose) = &self.whose else { return };
        if let Some(share) = taken.by.get_mut(whose) {
            *share = share.saturating_sub(1);
            if *share == 0 {
                taken.by.remove(whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_more_than_a_share_and_all_together_no_more_than_there_are() {
        let seats = Seats::new(5, 2);
        let of_one: Vec<_> = (0..10).filter_map(|_| seats.take(Some(&"one"))).collect();
        assert_eq!(of_one.len(), 2);
        let of_another = seats.take(Some(&"another")).unwrap();
        let nobodys: Vec<_> = (0..10).filter_map(|_| seats.take(None)).collect();
        assert_eq!(nobodys.len(), 2, "five are taken");
        assert!(seats.take(Some(&"another")).is_none());
        drop(of_one);
        assert!(seats.take(Some(&"one")).is_some());
        drop((of_another, nobodys));
        let taken = seats.taken();
        assert_eq!((taken.in_all, taken.by.len()), (0, 0), "nobody is remembered");
    }
}
