//! When which client's keys are fetched.
//!
//! Flows in: the URLs clients name, what a request misses, how fetches ended, the time. Flows out: which to fetch now, and when to
//! look again. Each URL is fetched ahead of time and again and again, at most so often whoever asks for it, and one
//! that fails is left alone for longer each time.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use countersign_core::client::KeysUri;
use tokio::time::Instant;

/// How long fetched keys are used before they are fetched again.
const PERIOD: Duration = Duration::from_mins(5);
/// How soon the same URL may be fetched again at the earliest, whoever wants it and whatever came of the last time.
pub(super) const AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// The most URLs; further clients' keys are not fetched.
const MOST: usize = 4096;

/// What is known of each URL but its keys.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    entries: HashMap<KeysUri, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// When the last fetch began.
    began: Option<Instant>,
    next: Instant,
    under_way: bool,
    /// How often it failed since it last did not.
    failures: u32,
}

// === impl Schedule ===

impl Schedule {
    /// Takes over what clients name now. False where there are too many of them.
    pub(super) fn keep_only(&mut self, named: &BTreeSet<KeysUri>, now: Instant) -> bool {
        self.entries.retain(|uri, _| named.contains(uri));
        for uri in named {
            if self.entries.len() >= MOST {
                return named.iter().all(|uri| self.entries.contains_key(uri));
            }
            let fresh = Entry { began: None, next: now, under_way: false, failures: 0 };
            self.entries.entry(uri.clone()).or_insert(fresh);
        }
        true
    }

    /// A request missed a key: fetched as soon as may be, and no sooner after failures than without it.
    pub(super) fn want(&mut self, uri: &KeysUri, now: Instant) {
        if let Some(entry) = self.entries.get_mut(uri) {
            let earliest = entry.began.map_or(now, |began| began + pause(entry.failures));
            entry.next = entry.next.min(earliest.max(now));
        }
    }

    /// What to fetch now, no more than there is room for; those first that have waited longest.
    pub(super) fn due(&mut self, now: Instant, room: usize) -> Vec<KeysUri> {
        let waiting = self.entries.iter_mut().filter(|(_, entry)| !entry.under_way && entry.next <= now);
        let mut due: Vec<_> = waiting.collect();
        due.sort_by_key(|(_, entry)| entry.next);
        due.truncate(room);
        for (_, entry) in &mut due {
            (entry.began, entry.under_way) = (Some(now), true);
        }
        due.into_iter().map(|(uri, _)| uri.clone()).collect()
    }

    /// How a fetch ended; `spread` is about one. None where nobody names the URL any more; true for the first failure in a row, and for
    /// the success that ends such a row.
    pub(super) fn ended(&mut self, uri: &KeysUri, good: bool, spread: f64) -> Option<bool> {
        let entry = self.entries.get_mut(uri)?;
        entry.under_way = false;
        let turned = if good { entry.failures > 0 } else { entry.failures == 0 };
        entry.failures = if good { 0 } else { entry.failures.saturating_add(1) };
        let wait = if good { PERIOD } else { pause(entry.failures) };
        if let Some(began) = entry.began {
            entry.next = began + wait.mul_f64(spread).max(AT_MOST_EVERY);
        }
        Some(turned)
    }

    /// Whether each was fetched once, whatever came of it.
    pub(super) fn has_tried_all(&self) -> bool {
        self.entries.values().all(|entry| entry.began.is_some() && !entry.under_way)
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.entries.values().filter(|entry| !entry.under_way).map(|entry| entry.next).min()
    }
}

/// Ten seconds, and twice that for each further failure, until a failed one waits like one that did not fail.
fn pause(failures: u32) -> Duration {
    AT_MOST_EVERY.saturating_mul(1 << failures.saturating_sub(1).min(5)).min(PERIOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(name: &str) -> KeysUri {
        format!("https://{name}.example/").parse().unwrap()
    }

    fn named(names: &[&str]) -> BTreeSet<KeysUri> {
        names.iter().map(|name| uri(name)).collect()
    }

    fn after(begun: Instant, seconds: u64) -> Instant {
        begun + Duration::from_secs(seconds)
    }

    #[test]
    fn keys_are_fetched_at_once_and_every_five_minutes() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        assert!(schedule.keep_only(&named(&["a"]), now));
        assert!(!schedule.has_tried_all());
        assert_eq!(schedule.due(now, 9), [uri("a")]);
        assert_eq!((schedule.due(now, 9), schedule.next()), (Vec::new(), None), "it is under way");
        assert!(!schedule.has_tried_all());
        assert_eq!(schedule.ended(&uri("a"), true, 1.0), Some(false));
        assert!(schedule.has_tried_all());
        assert_eq!(schedule.next(), Some(after(now, 300)));
        assert_eq!(schedule.due(after(now, 299), 9), []);
        assert_eq!(schedule.due(after(now, 300), 9), [uri("a")]);
    }

    #[test]
    fn whatever_is_sent_a_url_is_fetched_no_more_than_every_ten_seconds() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.keep_only(&named(&["a"]), now);
        let mut fetches = 0;
        for second in 0..100 {
            let now = after(now, second);
            for _ in 0..100 {
                schedule.want(&uri("a"), now);
                fetches += schedule.due(now, 9).len();
                schedule.ended(&uri("a"), second % 2 == 0, 0.75);
            }
        }
        assert_eq!(fetches, 10);
        schedule.want(&uri("b"), now);
        assert_eq!(schedule.ended(&uri("b"), true, 1.0), None, "nobody names it");
    }

    #[test]
    fn what_fails_waits_longer_each_time_and_is_told_once() {
        let (mut schedule, mut now) = (Schedule::default(), Instant::now());
        schedule.keep_only(&named(&["a"]), now);
        let mut waits = Vec::new();
        for number in 0..8 {
            assert_eq!(schedule.due(now, 9).len(), 1);
            assert_eq!(schedule.ended(&uri("a"), false, 1.0), Some(number == 0));
            let next = schedule.next().unwrap();
            waits.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300, 300]);
        schedule.due(now, 9);
        assert_eq!(schedule.ended(&uri("a"), true, 1.0), Some(true), "it works again");
    }

    #[test]
    fn those_that_waited_longest_come_first_and_no_more_than_there_is_room_for() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.keep_only(&named(&["a"]), now);
        schedule.keep_only(&named(&["a", "b"]), after(now, 1));
        schedule.keep_only(&named(&["a", "b", "c"]), after(now, 2));
        assert_eq!(schedule.due(after(now, 3), 2), [uri("a"), uri("b")]);
        assert_eq!(schedule.due(after(now, 3), 2), [uri("c")]);
    }

    #[test]
    fn what_nobody_names_is_forgotten_and_too_many_are_not_taken() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let many: BTreeSet<_> = (0..=MOST).map(|number| uri(&format!("h{number}"))).collect();
        assert!(!schedule.keep_only(&many, now));
        assert_eq!(schedule.due(now, usize::MAX).len(), MOST);
        assert!(schedule.keep_only(&named(&["a"]), now));
        assert_eq!(schedule.due(now, usize::MAX), [uri("a")]);
    }
}
