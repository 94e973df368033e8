//! Which secret values clients use, so that the controller ends an older one only when nobody does.
//!
//! Flows in: every successful authentication with a signed value, one atomic store. Flows out: `take_report`, for the
//! heartbeat. Bounded: past the bound the report says that it is not whole, which counts as use.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
    by_value: HashMap<(Uid, i64), LastUse>,
    /// Stamped for every value there was no room for.
    others: LastUse,
}

/// When one value was last used, in seconds.
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
    /// The values used within the window, those of clients that use several first, then the oldest.
    pub used: Vec<UsedValue>,
    /// Whether there were more: then every value counts as used.
    pub more: bool,
}

// === impl SecretUsage ===

impl SecretUsage {
    /// The stamp to touch at each use of the value; looked up once, then kept with the verified secret.
    pub(crate) fn stamp(&self, client: &Uid, issued_at: Timestamp) -> LastUse {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (client.clone(), issued_at.as_second());
        if let Some(known) = values.by_value.get(&key) {
            return known.clone();
        }
        if values.by_value.len() >= MOST_KEPT {
            return values.others.clone();
        }
        let stamp = LastUse::default();
        values.by_value.insert(key, stamp.clone());
        stamp
    }

    /// The values used within `window` before `now`; forgets those neither used since nor held by anyone.
    pub fn take_report(&self, now: Timestamp, window: Duration) -> UsageReport {
        let since = now.saturating_sub(window).map_or(i64::MIN, Timestamp::as_second);
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.by_value.retain(|_, stamp| stamp.last() >= since || Arc::strong_count(&stamp.0) > 1);
        let overflowed = values.others.last() >= since;
        let in_use = values.by_value.iter().filter(|(_, stamp)| stamp.last() >= since);
        let mut used: Vec<UsedValue> = in_use.filter_map(|(key, stamp)| UsedValue::new(key, stamp)).collect();
        drop(values);
        sort(&mut used);
        let more = overflowed || used.len() > MOST_REPORTED;
        used.truncate(MOST_REPORTED);
        UsageReport { used, more }
    }
}

fn sort(used: &mut [UsedValue]) {
    let mut values_of = HashMap::<Uid, usize>::new();
    for value in used.iter() {
        *values_of.entry(value.client.clone()).or_default() += 1;
    }
    used.sort_by(|a, b| {
        let several = |value: &UsedValue| values_of.get(&value.client).is_some_and(|count| *count > 1);
        several(b).cmp(&several(a)).then_with(|| (a.issued_at, &a.client).cmp(&(b.issued_at, &b.client)))
    });
}

// === impl LastUse ===

impl Default for LastUse {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MIN)))
    }
}

impl LastUse {
    /// Notes a use.
    pub(crate) fn touch(&self, now: Timestamp) {
        // Written once a second at most, so that cores do not fight over a busy client's stamp.
        if self.last() < now.as_second() {
            self.0.store(now.as_second(), Ordering::Relaxed);
        }
    }

    fn last(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl UsedValue {
    fn new((client, issued_at): &(Uid, i64), stamp: &LastUse) -> Option<Self> {
        Some(Self {
            client: client.clone(),
            issued_at: Timestamp::from_second(*issued_at).ok()?,
            last_used_at: Timestamp::from_second(stamp.last()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn client(name: &str) -> Uid {
        Uid::new(name).unwrap()
    }

    #[test]
    fn a_report_holds_what_was_used_within_the_window() {
        let usage = SecretUsage::default();
        let old = usage.stamp(&client("a"), at(10));
        old.touch(at(10_000));
        usage.stamp(&client("a"), at(10)).touch(at(10_005));
        let report = usage.take_report(at(10_010), HOUR);
        let used = UsedValue { client: client("a"), issued_at: at(10), last_used_at: at(10_005) };
        assert_eq!(report, UsageReport { used: vec![used], more: false });
        assert_eq!(usage.take_report(at(20_000), HOUR), UsageReport::default());
        old.touch(at(20_001));
        assert_eq!(usage.take_report(at(20_002), HOUR).used.len(), 1, "a held stamp is not forgotten");
    }

    #[test]
    fn clients_that_use_several_values_come_first_and_a_cut_report_says_so() {
        let usage = SecretUsage::default();
        for n in 0..600 {
            usage.stamp(&client(&format!("c{n}")), at(n)).touch(at(10_000));
        }
        for issued_at in [700, 800] {
            usage.stamp(&client("rotating"), at(issued_at)).touch(at(10_000));
        }
        let report = usage.take_report(at(10_000), HOUR);
        assert!(report.more);
        assert_eq!(report.used.len(), MOST_REPORTED);
        assert!(report.used[..2].iter().all(|value| value.client == client("rotating")));
    }

    #[test]
    fn memory_is_bounded_and_what_was_not_noted_is_said() {
        let usage = SecretUsage::default();
        for n in 0..10_000 {
            usage.stamp(&client(&format!("c{n}")), at(n)).touch(at(20_000));
        }
        assert!(usage.0.lock().unwrap().by_value.len() <= MOST_KEPT);
        assert!(usage.take_report(at(20_000), HOUR).more);
    }
}
