//! Who keeps undoing what we write, and how long to wait before writing it again.
//!
//! Flows in: each time a Secret was put back. Flows out: a wait, once somebody fights over it. Memory only: a new leader
//! starts by putting things back at once.

use std::time::Duration;

use jiff::Timestamp;

/// Put back this often in a row at once.
const AT_ONCE: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// So long without a fight, and it is forgotten.
const PEACE: Duration = Duration::from_mins(5);

/// The times a Secret was put back in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heals {
    count: u32,
    last: Option<Timestamp>,
    writer: Option<String>,
}

impl Heals {
    /// It was put back; `writer` is who undid it, where that is known.
    pub(super) fn note(&mut self, writer: Option<String>, now: Timestamp) {
        if self.is_over(now) {
            *self = Self::default();
        }
        self.count = self.count.saturating_add(1);
        self.last = Some(now);
        self.writer = writer.or(self.writer.take());
    }

    /// Until when to leave it alone.
    pub(super) fn hold(&self, now: Timestamp) -> Option<Timestamp> {
        let times = self.count.checked_sub(AT_ONCE)?;
        let wait = FIRST_WAIT.saturating_mul(1 << times.min(8)).min(LONGEST_WAIT);
        let until = self.last?.saturating_add(wait).unwrap_or(Timestamp::MAX);
        (until > now).then_some(until)
    }

    /// Whether this need not be remembered any longer.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.last.is_none_or(|last| last.saturating_add(PEACE).is_ok_and(|peace| peace <= now))
    }

    pub(super) fn writer(&self) -> Option<&str> {
        self.writer.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_first_times_are_put_right_at_once_and_then_less_and_less_often() {
        let mut heals = Heals::default();
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..12 {
            let until = heals.hold(now).unwrap_or(now);
            waits.push(until.duration_since(now).as_secs());
            now = until;
            heals.note(Some("argocd".to_owned()), now);
        }
        assert_eq!(waits, [0, 0, 0, 0, 0, 5, 10, 20, 40, 60, 60, 60]);
        assert_eq!(heals.writer(), Some("argocd"));
    }

    #[test]
    fn peace_makes_it_forgotten() {
        let mut heals = Heals::default();
        for _ in 0..6 {
            heals.note(None, at(0));
        }
        assert!(heals.hold(at(1)).is_some());
        assert!(heals.is_over(at(300)) && !heals.is_over(at(299)));
        heals.note(None, at(301));
        assert_eq!(heals.hold(at(301)), None);
    }
}
