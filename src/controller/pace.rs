//! How fast status is written; or anything else that may not be done faster than so many a second.
//!
//! Flows in: who asks when, and whether it changes `Ready`. Flows out: leave to go ahead, or when to ask again. Nobody waits
//! here: a worker that may not write yet goes on to the next object, so a wave of reports holds up no Secret.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

/// Status writes a second, over all kinds.
const RATE: i64 = 50;
/// What others must leave to changes of `Ready`.
const RESERVE: i64 = 10;
/// One write's share of a second, in microseconds.
const SHARE: i64 = 1_000_000 / RATE;

/// What a status write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// `Ready` changes: goes first.
    Ready,
    /// Anything else.
    Report,
}

/// A token bucket; clones are the same bucket.
#[derive(Clone, Debug, Default)]
pub struct Pace(Arc<Mutex<Option<Bucket>>>);

/// Times are microseconds since the epoch.
#[derive(Debug)]
struct Bucket {
    /// When the bucket would be full if nothing more were taken.
    full_at: i64,
    /// When the next one turned away may ask again: urgent, other.
    next_ready: i64,
    next_report: i64,
}

impl Pace {
    /// Leave to write one status now, or when to ask again.
    pub fn ask(&self, urgency: Urgency, now: Timestamp) -> Result<(), Timestamp> {
        let now = now.as_microsecond();
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = bucket.get_or_insert(Bucket { full_at: now, next_ready: now, next_report: now });
        bucket.ask(urgency, now).map_err(|at| Timestamp::from_microsecond(at).unwrap_or(Timestamp::MAX))
    }
}

impl Bucket {
    fn ask(&mut self, urgency: Urgency, now: i64) -> Result<(), i64> {
        // A clock set back must not stop writes for as long.
        self.full_at = self.full_at.clamp(now, now + 1_000_000);
        let left = RATE - (self.full_at - now + SHARE - 1) / SHARE;
        let (needed, next) = match urgency {
            Urgency::Ready => (1, &mut self.next_ready),
            Urgency::Report => (1 + RESERVE, &mut self.next_report),
        };
        if left >= needed {
            self.full_at += SHARE;
            return Ok(());
        }
        // Each one turned away gets a moment of its own, so that they do not all come back at once.
        *next = (*next).max(now) + SHARE;
        Err(*next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(millisecond).unwrap()
    }

    fn granted(pace: &Pace, urgency: Urgency, now: Timestamp) -> usize {
        (0..200).filter(|_| pace.ask(urgency, now).is_ok()).count()
    }

    #[test]
    fn fifty_a_second_and_reports_leave_room_for_ready() {
        let pace = Pace::default();
        assert_eq!(granted(&pace, Urgency::Report, at(0)), 40);
        assert_eq!(granted(&pace, Urgency::Ready, at(0)), 10);
        assert_eq!(granted(&pace, Urgency::Ready, at(1_000)), 50);
    }

    #[test]
    fn those_turned_away_come_back_one_after_the_other() {
        let pace = Pace::default();
        let turned_away: Vec<_> = (0..60).filter_map(|_| pace.ask(Urgency::Ready, at(0)).err()).collect();
        assert_eq!(turned_away[..3], [at(20), at(40), at(60)]);
        assert_eq!(pace.ask(Urgency::Ready, at(20)), Ok(()));
    }

    #[test]
    fn a_clock_set_back_does_not_stop_writes() {
        let pace = Pace::default();
        granted(&pace, Urgency::Ready, at(1_000_000));
        assert_eq!(granted(&pace, Urgency::Ready, at(2_000)), 0);
        assert_eq!(granted(&pace, Urgency::Ready, at(3_000)), 50);
    }
}
