//! The one place that reads the time.
//!
//! Flows in: the system clock, a correction learnt from the API server's answers, and in test builds an offset, which may
//! change, and a rate. Flows out: `now`, handed to every decision as an argument, and how long to sleep until a moment.

#[cfg(any(test, feature = "test-clock"))]
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// How often is looked whether the clock was set.
const LOOK: Duration = Duration::from_secs(1);
/// Further than a clock that is slewed gets in one wait.
const JUMP: Duration = Duration::from_secs(2);

/// A shared clock; clones share the correction.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    /// How far this machine lags the API server, in milliseconds.
    correction: AtomicI64,
}

#[derive(Debug)]
enum Source {
    System,
    /// Runs `rate` times as fast from `start` on, `offset` away.
    #[cfg(any(test, feature = "test-clock"))]
    Shifted {
        start: Timestamp,
        offset: SignedDuration,
        rate: u32,
    },
    /// As far away as the text of this file says each time, such as `-5m`: a machine whose clock is set while we run.
    #[cfg(any(test, feature = "test-clock"))]
    Set(PathBuf),
    /// Stands still; milliseconds since the epoch.
    #[cfg(any(test, feature = "test-clock"))]
    Fixed(AtomicI64),
}

impl Clock {
    /// The system clock.
    pub fn system() -> Self {
        Self::from_source(Source::System)
    }

    /// A clock `offset` away from the system's that runs `rate` times as fast.
    #[cfg(any(test, feature = "test-clock"))]
    pub fn shifted(offset: SignedDuration, rate: u32) -> Self {
        Self::shifted_from(system_now(), offset, rate)
    }

    /// The same, having run faster since `start`: processes given the same one agree, whenever each began.
    #[cfg(any(test, feature = "test-clock"))]
    pub fn shifted_from(start: Timestamp, offset: SignedDuration, rate: u32) -> Self {
        Self::from_source(Source::Shifted { start, offset, rate: rate.max(1) })
    }

    /// A clock as far away from the system's as the text of a file says; not at all where it cannot be read.
    #[cfg(any(test, feature = "test-clock"))]
    pub fn set_by(file: PathBuf) -> Self {
        Self::from_source(Source::Set(file))
    }

    /// A clock that stands at `at` until it is advanced.
    #[cfg(any(test, feature = "test-clock"))]
    pub fn fixed(at: Timestamp) -> Self {
        Self::from_source(Source::Fixed(AtomicI64::new(at.as_millisecond())))
    }

    /// Moves a fixed clock forward; any other clock ignores it.
    #[cfg(any(test, feature = "test-clock"))]
    pub fn advance(&self, by: Duration) {
        if let Source::Fixed(at) = &self.0.source {
            at.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
    }

    fn from_source(source: Source) -> Self {
        Self(Arc::new(Inner { source, correction: AtomicI64::new(0) }))
    }

    /// The time by which everything is decided: local time plus the correction.
    pub fn now(&self) -> Timestamp {
        let local = self.local();
        match self.0.correction.load(Ordering::Relaxed) {
            0 => local,
            correction => local.checked_add(SignedDuration::from_millis(correction)).unwrap_or(local),
        }
    }

    /// This machine's own time, from which a correction is measured.
    pub fn local(&self) -> Timestamp {
        match &self.0.source {
            Source::System => system_now(),
            #[cfg(any(test, feature = "test-clock"))]
            Source::Shifted { start, offset, rate } => {
                let passed = system_now().duration_since(*start).checked_mul(i32::try_from(*rate).unwrap_or(i32::MAX));
                passed
                    .and_then(|passed| passed.checked_add(*offset))
                    .and_then(|shift| start.checked_add(shift).ok())
                    .unwrap_or(*start)
            }
            #[cfg(any(test, feature = "test-clock"))]
            Source::Set(file) => {
                let offset = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
                let now = system_now();
                now.checked_add(offset.unwrap_or(SignedDuration::ZERO)).unwrap_or(now)
            }
            #[cfg(any(test, feature = "test-clock"))]
            Source::Fixed(at) => Timestamp::from_millisecond(at.load(Ordering::Relaxed)).unwrap_or_default(),
        }
    }

    /// Returns when this machine's clock was set or the machine slept: until the next answer of the API server the
    /// correction is of before.
    pub async fn jumped(&self) {
        let (begun, local) = (Instant::now(), self.local());
        loop {
            tokio::time::sleep(LOOK).await;
            // A clock that was set back went less than nothing.
            let passed = self.local().duration_since(local);
            let is_back = passed.is_negative();
            if is_back || self.real(passed.unsigned_abs()).abs_diff(begun.elapsed()) > JUMP {
                return;
            }
        }
    }

    /// How far the API server is ahead of this machine, as last measured.
    pub fn correction(&self) -> SignedDuration {
        SignedDuration::from_millis(self.0.correction.load(Ordering::Relaxed))
    }

    /// Notes how far the API server is ahead of this machine.
    pub fn set_correction(&self, correction: SignedDuration) {
        let millis = i64::try_from(correction.as_millis()).unwrap_or(0);
        self.0.correction.store(millis, Ordering::Relaxed);
    }

    /// How long to sleep, in real time, until `at`; nothing if it is past.
    pub fn until(&self, at: Timestamp) -> Duration {
        self.real(at.duration_since(self.now()).try_into().unwrap_or(Duration::ZERO))
    }

    /// How long a span of this clock lasts in real time.
    pub fn real(&self, span: Duration) -> Duration {
        match &self.0.source {
            #[cfg(any(test, feature = "test-clock"))]
            Source::Shifted { rate, .. } => span / *rate,
            _ => span,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock the ban points to")]
fn system_now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_moves_only_when_told() {
        let clock = Clock::fixed(Timestamp::from_second(1000).unwrap());
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.now().as_second(), 1005);
        assert_eq!(clock.until(Timestamp::from_second(1010).unwrap()), Duration::from_secs(5));
        assert_eq!(clock.until(Timestamp::from_second(1).unwrap()), Duration::ZERO);
    }

    #[test]
    fn the_correction_moves_now_and_leaves_local_time() {
        let clock = Clock::fixed(Timestamp::from_second(1000).unwrap());
        clock.clone().set_correction(SignedDuration::from_secs(-7));
        assert_eq!((clock.now().as_second(), clock.local().as_second()), (993, 1000));
    }

    #[test]
    fn a_faster_clock_shortens_real_waits() {
        let clock = Clock::shifted(SignedDuration::from_hours(1), 10);
        assert_eq!(clock.real(Duration::from_secs(10)), Duration::from_secs(1));
        assert!(clock.now() > Clock::system().now());
    }

    #[test]
    fn a_clock_set_by_a_file_jumps_when_that_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("offset");
        let clock = Clock::set_by(file.clone());
        let off = || clock.now().duration_since(Clock::system().now()).as_mins();
        assert_eq!(off(), 0, "no file");
        for (text, expected) in [("-5m30s\n", -5), ("7m30s", 7), ("soon", 0)] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(off(), expected, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_jumps_when_it_is_set() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["5m", "-5m"] {
            let file = folder.path().join(text);
            let clock = Clock::set_by(file.clone());
            let jumped = clock.jumped();
            let mut jumped = std::pin::pin!(jumped);
            assert!(tokio::time::timeout(LOOK * 60, &mut jumped).await.is_err(), "nobody set it");
            std::fs::write(&file, text).unwrap();
            jumped.await;
        }
    }

    #[test]
    fn clocks_that_run_faster_since_the_same_moment_agree() {
        let start = Clock::system().now() - SignedDuration::from_mins(1);
        let [one, other] = [(); 2].map(|()| Clock::shifted_from(start, SignedDuration::ZERO, 60).now());
        assert!(one >= start + SignedDuration::from_hours(1));
        assert!(other.duration_since(one) < SignedDuration::from_mins(1), "{one} {other}");
    }
}
