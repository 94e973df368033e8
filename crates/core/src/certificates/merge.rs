//! Two views of the bundle become one: nothing that either knows to be trusted is lost, and states only move forward.
//!
//! Flows in: the bundle as it is stored, and as this process remembers it. Flows out: what holds when a backup was put back
//! or the bundle was deleted.

use jiff::Timestamp;

use super::{Authority, Bundle};

impl Bundle {
    /// Both together.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let mut authorities = self.authorities.clone();
        for theirs in &other.authorities {
            match authorities.iter_mut().find(|ours| ours.certificate == theirs.certificate) {
                Some(ours) => ours.take_in(theirs),
                None => authorities.push(theirs.clone()),
            }
        }
        authorities.sort_by(|one, other| (one.number, &one.certificate).cmp(&(other.number, &other.certificate)));
        Self {
            serial: self.serial.max(other.serial),
            next_number: self.next_number.max(other.next_number),
            authorities,
        }
    }

    /// Of several that sign, only the newest goes on.
    pub(super) fn with_one_active(&mut self, now: Timestamp) {
        let newest = self.authorities.iter().rposition(Authority::is_active);
        for (index, authority) in self.authorities.iter_mut().enumerate() {
            if authority.is_active() && Some(index) != newest {
                authority.superseded_at = Some(now);
            }
        }
    }
}

impl Authority {
    fn take_in(&mut self, other: &Self) {
        self.published_at = self.published_at.min(other.published_at);
        self.activated_at = [self.activated_at, other.activated_at].into_iter().flatten().min();
        self.superseded_at = self.superseded_at.max(other.superseded_at);
        self.longest_leaf = self.longest_leaf.max(other.longest_leaf);
    }
}
