//! Which older secret values clients still use, so that the controller ends one only when nobody does.
//!
//! Flows in: each successful authentication with a signed value that is not the client's newest, noted once a second.
//! Flows out: `take_report`, for the heartbeat. Bounded: what does not fit is told by the time of its last use, and then
//! every older value may have been used then.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_core::client::ClientObject;
use countersign_core::names::Uid;
use jiff::Timestamp;

/// A report lists at most so many values.
pub const MOST_REPORTED: usize = 500;
const MOST_KEPT: usize = 8192;

/// The uses of this process; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct SecretUsage(Arc<Mutex<Values>>);

#[derive(Debug, Default)]
struct Values {
    /// The second of the last use.
    by_value: HashMap<(Uid, i64), i64>,
    /// That of a value there was no room for.
    others: Option<i64>,
}

/// When one value was last noted, in seconds; kept with the verified secret, so that a busy client takes no lock.
#[derive(Clone, Debug)]
pub(crate) struct LastUse(Arc<AtomicI64>);

/// One value in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedValue {
    /// The UID of the client's object.
    pub client: Uid,
    pub issued_at: Timestamp,
    pub last_used_at: Timestamp,
}

/// What this issuer saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageReport {
    /// The values used within the window, the most recently used first.
    pub used: Vec<UsedValue>,
    /// Where there were more: when the last of those was used.
    pub unlisted_used_at: Option<Timestamp>,
}

// === impl SecretUsage ===

impl SecretUsage {
    /// Notes that a value issued at this second was used, if the client has a newer one, or nobody knows yet which is
    /// its newest.
    pub(crate) fn note(&self, client: &ClientObject, issued_at: i64, last_use: &LastUse, now: Timestamp) {
        let newest = client.secret_issued_at.map(Timestamp::as_second);
        if newest.is_some_and(|newest| issued_at >= newest) || !last_use.touch(now) {
            return;
        }
        let (value, now) = ((client.uid.clone(), issued_at), now.as_second());
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if values.by_value.len() >= MOST_KEPT && !values.by_value.contains_key(&value) {
            values.others = values.others.max(Some(now));
        } else {
            let noted = values.by_value.entry(value).or_insert(now);
            *noted = now.max(*noted);
        }
    }

    /// The values used within `window` before `now`; forgets the others.
    pub fn take_report(&self, now: Timestamp, window: Duration) -> UsageReport {
        let since = now.saturating_sub(window).map_or(i64::MIN, Timestamp::as_second);
        let (mut used, others) = {
            let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            values.by_value.retain(|_, last| *last >= since);
            values.others = values.others.filter(|last| *last >= since);
            let used: Vec<UsedValue> = values.by_value.iter().filter_map(UsedValue::new).collect();
            (used, values.others.and_then(|last| Timestamp::from_second(last).ok()))
        };
        used.sort_by(|a, b| {
            b.last_used_at.cmp(&a.last_used_at).then_with(|| (&a.client, a.issued_at).cmp(&(&b.client, b.issued_at)))
        });
        let cut = used.get(MOST_REPORTED).map(|value| value.last_used_at);
        used.truncate(MOST_REPORTED);
        UsageReport { used, unlisted_used_at: cut.max(others) }
    }
}

// === impl LastUse ===

impl Default for LastUse {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MIN)))
    }
}

impl LastUse {
    /// Whether this second was not noted yet; from now on it is.
    fn touch(&self, now: Timestamp) -> bool {
        let now = now.as_second();
        // Looked at first, so that cores do not fight over a busy client.
        self.0.load(Ordering::Relaxed) < now && self.0.fetch_max(now, Ordering::Relaxed) < now
    }
}

impl UsedValue {
    fn new(((client, issued_at), last): (&(Uid, i64), &i64)) -> Option<Self> {
        Some(Self {
            client: client.clone(),
            issued_at: Timestamp::from_second(*issued_at).ok()?,
            last_used_at: Timestamp::from_second(*last).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use countersign_core::names::ObjectRef;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A client whose newest value was issued then.
    fn client(name: &str, newest: Option<i64>) -> ClientObject {
        ClientObject {
            object: ObjectRef::new("shop", "checkout").unwrap(),
            uid: Uid::new(name).unwrap(),
            created_at: at(0),
            generation: 1,
            paused: false,
            client_id: None,
            spec: Err(Vec::new()),
            epoch: 0,
            accepted_since: None,
            secret_issued_at: newest.map(at),
        }
    }

    fn used(name: &str, issued_at: i64, last: i64) -> UsedValue {
        UsedValue { client: Uid::new(name).unwrap(), issued_at: at(issued_at), last_used_at: at(last) }
    }

    fn report(used: Vec<UsedValue>) -> UsageReport {
        UsageReport { used, unlisted_used_at: None }
    }

    #[test]
    fn a_report_holds_older_values_used_within_the_window() {
        let (usage, stamp) = (SecretUsage::default(), LastUse::default());
        let rotated = client("a", Some(20));
        usage.note(&rotated, 10, &stamp, at(10_000));
        usage.note(&rotated, 10, &stamp, at(10_005));
        usage.note(&rotated, 10, &LastUse::default(), at(10_001));
        usage.note(&rotated, 20, &LastUse::default(), at(10_006));
        assert_eq!(usage.take_report(at(10_010), HOUR), report(vec![used("a", 10, 10_005)]));
        assert_eq!(usage.take_report(at(20_000), HOUR), UsageReport::default());
        usage.note(&rotated, 10, &stamp, at(20_001));
        assert_eq!(usage.take_report(at(20_002), HOUR), report(vec![used("a", 10, 20_001)]));
    }

    #[test]
    fn a_value_becomes_worth_a_note_when_a_newer_one_is_known_and_while_nobody_knows() {
        let (usage, stamp) = (SecretUsage::default(), LastUse::default());
        usage.note(&client("a", Some(10)), 10, &stamp, at(100));
        assert_eq!(usage.take_report(at(100), HOUR), UsageReport::default());
        usage.note(&client("a", Some(90)), 10, &stamp, at(100));
        usage.note(&client("b", None), 10, &LastUse::default(), at(90));
        assert_eq!(usage.take_report(at(100), HOUR), report(vec![used("a", 10, 100), used("b", 10, 90)]));
    }

    #[test]
    fn a_cut_report_lists_the_most_recent_uses_and_says_when_the_next_was() {
        let usage = SecretUsage::default();
        for n in 0..600 {
            usage.note(&client(&format!("c{n}"), Some(5_000)), n, &LastUse::default(), at(10_000 + n));
        }
        let report = usage.take_report(at(10_600), HOUR);
        let last: Vec<_> = report.used.iter().map(|value| value.last_used_at).collect();
        assert_eq!(last, (0..500).map(|n| at(10_599 - n)).collect::<Vec<_>>());
        assert_eq!(report.unlisted_used_at, Some(at(10_099)));
    }

    #[test]
    fn memory_is_bounded_and_what_was_not_noted_is_said() {
        let usage = SecretUsage::default();
        for n in 0..10_000 {
            usage.note(&client(&format!("c{n}"), Some(50_000)), n, &LastUse::default(), at(20_000 + n / 100));
        }
        assert!(usage.0.lock().unwrap().by_value.len() <= MOST_KEPT);
        assert_eq!(usage.take_report(at(20_100), HOUR).unlisted_used_at, Some(at(20_099)));
        assert_eq!(usage.take_report(at(30_000), HOUR), UsageReport::default());
    }
}
