//! When the source of truth (the API server, or the manifests folder) was last heard from.
//!
//! Flows in: a touch for every answer or watch event. Flows out: the age, which bounds how long an issuer goes on signing, and
//! when the last long silence ended, since when alone others' silence means anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A shared stamp; clones are the same stamp.
#[derive(Clone, Debug)]
pub struct Contact(Arc<Stamps>);

/// Seconds since the epoch.
#[derive(Debug)]
struct Stamps {
    last: AtomicI64,
    /// When the last silence of at least `long` ended.
    resumed: AtomicI64,
    /// In seconds.
    long: AtomicI64,
}

const NEVER: i64 = i64::MIN;

impl Contact {
    /// No contact yet.
    pub fn never() -> Self {
        let [last, resumed] = [(); 2].map(|()| AtomicI64::new(NEVER));
        Self(Arc::new(Stamps { last, resumed, long: AtomicI64::new(i64::MAX) }))
    }

    /// From now on a silence of this length is remembered by its end.
    pub fn remember_silences(&self, long: Duration) {
        self.0.long.store(i64::try_from(long.as_secs()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// When the last such silence ended.
    pub fn resumed_at(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.0.resumed.load(Ordering::Relaxed)).ok()
    }

    /// Contact at `now`; an earlier time than one already noted changes nothing.
    pub fn touch(&self, now: Timestamp) {
        let now = now.as_second();
        let last = self.0.last.fetch_max(now, Ordering::Relaxed);
        if last != NEVER && now.saturating_sub(last) >= self.0.long.load(Ordering::Relaxed) {
            self.0.resumed.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// How long ago the last contact was; `None` before the first.
    pub fn age(&self, now: Timestamp) -> Option<SignedDuration> {
        match self.0.last.load(Ordering::Relaxed) {
            NEVER => None,
            last => Some(SignedDuration::from_secs(now.as_second().saturating_sub(last))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_counts_from_the_latest_contact() {
        let contact = Contact::never();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(contact.age(at(100)), None);
        contact.touch(at(100));
        contact.touch(at(90));
        assert_eq!(contact.age(at(130)), Some(SignedDuration::from_secs(30)));
    }

    #[test]
    fn the_end_of_the_last_long_silence_is_remembered() {
        let contact = Contact::never();
        let at = |second| Timestamp::from_second(second).unwrap();
        contact.remember_silences(Duration::from_secs(30));
        for second in [100, 129, 140] {
            contact.touch(at(second));
        }
        assert_eq!(contact.resumed_at(), None, "none was long");
        for second in [170, 171, 200] {
            contact.touch(at(second));
        }
        assert_eq!(contact.resumed_at(), Some(at(170)));
    }
}
