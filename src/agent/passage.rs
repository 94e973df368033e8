//! Time since the agent began: it only grows, counts what the machine slept, and does not go back when a clock is set back.
//!
//! Flows in: the wall clock and the monotonic one. Flows out: a [`Moment`]. Where the wall clock gains on the other one by more
//! than a clock that is slewed would (the machine slept, or somebody set it forward), the gain counts: then tokens end too early
//! rather than too late.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::life::Moment;
use crate::runtime::clock::Clock;

/// Less of a difference between two clocks is noise.
const NOISE: SignedDuration = SignedDuration::from_millis(500);

/// A clock of its own.
#[derive(Debug)]
pub(crate) struct Passage {
    clock: Clock,
    began: Instant,
    lead: Mutex<Lead>,
}

/// How far the wall clock got ahead, and where both stood when that was last looked at.
#[derive(Debug)]
struct Lead {
    counted: Duration,
    wall: Timestamp,
    monotonic: Duration,
}

// === impl Lead ===

impl Lead {
    /// What passed when the clocks say so.
    fn passed(&mut self, wall: Timestamp, monotonic: Duration) -> Moment {
        let by_wall = wall.duration_since(self.wall);
        let here = SignedDuration::try_from(monotonic.saturating_sub(self.monotonic)).unwrap_or(SignedDuration::MAX);
        let gain = by_wall.saturating_sub(here);
        if gain.abs() > NOISE {
            self.counted += Duration::try_from(gain).unwrap_or_default();
            (self.wall, self.monotonic) = (wall, monotonic);
        }
        monotonic.saturating_add(self.counted)
    }
}

// === impl Passage ===

impl Passage {
    /// Begins at zero.
    pub(crate) fn begin(clock: Clock) -> Self {
        let lead = Lead { counted: Duration::ZERO, wall: clock.now(), monotonic: Duration::ZERO };
        Self { clock, began: Instant::now(), lead: Mutex::new(lead) }
    }

    /// What passed since.
    pub(crate) fn now(&self) -> Moment {
        self.lead.lock().unwrap_or_else(PoisonError::into_inner).passed(self.clock.now(), self.began.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_by_whichever_clock_gained_and_never_goes_back() {
        let start = Timestamp::from_second(1_000_000).unwrap();
        let s = Duration::from_secs;
        let mut lead = Lead { counted: s(0), wall: start, monotonic: s(0) };
        for (wall, monotonic, passed, why) in [
            (10, 10, 10, "both agree"),
            (3610, 10, 3610, "the machine slept for an hour"),
            (3620, 20, 3620, "both agree again"),
            (-80, 20, 3620, "the wall clock is set back by more than that hour"),
            (-60, 40, 3640, "both agree"),
            (240, 40, 3940, "it is set forward by five minutes"),
        ] {
            let wall = start + SignedDuration::from_secs(wall);
            assert_eq!(lead.passed(wall, s(monotonic)), s(passed), "{why}");
        }
    }

    #[test]
    fn noise_does_not_add_up_and_a_slow_gain_counts() {
        let start = Timestamp::from_second(1_000_000).unwrap();
        let mut lead = Lead { counted: Duration::ZERO, wall: start, monotonic: Duration::ZERO };
        let mut last = Duration::ZERO;
        for second in 1..=1000_u32 {
            // One millisecond of gain each second, and noise of up to 100 more.
            let noise = i64::from(second * 37 % 100);
            let wall = start + SignedDuration::from_millis(i64::from(second) * 1001 + noise);
            last = lead.passed(wall, Duration::from_secs(u64::from(second)));
        }
        assert!((1000..=1001).contains(&last.as_secs()), "{last:?}");
        assert!(last > Duration::from_millis(1_000_400), "{last:?}");
    }
}
