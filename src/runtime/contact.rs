//! When the source of truth (the API server, or the manifests folder) was last heard from.
//!
//! Flows in: a touch for every answer or watch event. Flows out: the age, which bounds how long an issuer goes on signing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// A shared stamp; clones are the same stamp.
#[derive(Clone, Debug)]
pub struct Contact(Arc<AtomicI64>);

const NEVER: i64 = i64::MIN;

impl Contact {
    /// No contact yet.
    pub fn never() -> Self {
        Self(Arc::new(AtomicI64::new(NEVER)))
    }

    /// Contact at `now`; an earlier time than one already noted changes nothing.
    pub fn touch(&self, now: Timestamp) {
        self.0.fetch_max(now.as_second(), Ordering::Relaxed);
    }

    /// How long ago the last contact was; `None` before the first.
    pub fn age(&self, now: Timestamp) -> Option<SignedDuration> {
        match self.0.load(Ordering::Relaxed) {
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
}
