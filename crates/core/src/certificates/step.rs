//! The next thing to do about certificates.
//!
//! ```text
//! bundle, memory ─► merge ─► forget what is over ─► take up private halves ─► activate ─► differs: write it
//!                                                                              └─ the same: make, sign, delete
//! ```
//! Nothing is signed and no private half goes before the bundle that says so is written; whatever is stopped in between is
//! found by the next look.

use jiff::Timestamp;

use super::{Authority, Bundle, CertificateTimings, Server, earlier, later};

/// A private half of an authority, with its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuthorityKey {
    /// Its authority's number.
    pub number: u64,
    /// Its authority's certificate, PEM.
    pub certificate: String,
    /// When the certificate begins to be good.
    pub not_before: Timestamp,
    /// When the certificate ends.
    pub not_after: Timestamp,
}

/// A leaf that is good for every name it is to be good for, under an authority of the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leaf {
    /// Who signed it.
    pub authority: u64,
    /// When it begins to be good.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
}

/// A server that is to have a leaf, and the one it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Served {
    /// Whose it is.
    pub server: Server,
    /// `None`: there is none, or it is good for nothing.
    pub leaf: Option<Leaf>,
}

/// What there is.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The latest bundle this process knows of, which neither a loss nor a restored backup takes back.
    pub remembered: &'a Bundle,
    /// The private halves of authorities.
    pub keys: &'a [AuthorityKey],
    /// Who is to serve, and what with.
    pub served: &'a [Served],
    /// Whether all who hand the bundle on hold its newest authority.
    pub handed_on: bool,
    /// An authority made before is to be replaced.
    pub rotate_at: Option<Timestamp>,
}

/// A leaf to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issue {
    /// For whom.
    pub server: Server,
    /// By whom.
    pub authority: u64,
    /// When it is to begin to be good.
    pub not_before: Timestamp,
    /// When it is to end.
    pub not_after: Timestamp,
}

/// What is left to do once the bundle is as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Leaves to sign, first.
    pub issue: Vec<Issue>,
    /// Private halves that sign no more, by number.
    pub delete: Vec<u64>,
    /// When something will be due if nothing changes.
    pub wake_at: Option<Timestamp>,
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write this bundle, then look again.
    Write(Bundle),
    /// Make a private half and a certificate of this number and life, then look again.
    Make {
        /// Its number.
        number: u64,
        /// When its certificate is to begin to be good.
        not_before: Timestamp,
        /// When its certificate is to end.
        not_after: Timestamp,
    },
    /// The bundle is as it should be.
    Settled(Settled),
}

/// Decides.
pub fn step(stored: Option<&Bundle>, observed: &Observed<'_>, now: Timestamp, timings: &CertificateTimings) -> Step {
    let look = Look { observed, now, timings };
    let known = stored.map_or_else(|| observed.remembered.clone(), |stored| stored.merged(observed.remembered));
    let mut next = known;
    next.with_one_active(now);
    look.forget(&mut next);
    look.take_up(&mut next);
    look.lose(&mut next);
    look.activate(&mut next);
    if let Some(Authority { longest_leaf, .. }) = next.authorities.iter_mut().find(|each| each.is_active()) {
        *longest_leaf = (*longest_leaf).max(timings.leaf());
    }
    if stored != Some(&next) && (stored.is_some() || !next.authorities.is_empty()) {
        return Step::Write(Bundle { serial: next.serial.saturating_add(1), ..next });
    }
    if look.wants_new(&next) {
        let not_after = later(now, super::signed(timings.authority_lifetime));
        return Step::Make { number: next.next_number.max(1), not_before: earlier(now, timings.skew()), not_after };
    }
    Step::Settled(Settled { issue: look.due(&next), delete: look.useless(&next), wake_at: look.wake_at(&next) })
}

struct Look<'a> {
    observed: &'a Observed<'a>,
    now: Timestamp,
    timings: &'a CertificateTimings,
}

impl Look<'_> {
    fn has_key(&self, authority: &Authority) -> bool {
        self.observed.keys.iter().any(|key| key.certificate == authority.certificate)
    }

    /// Drops authorities nothing of which is good any more; not while a private half is left, which would be taken up again.
    fn forget(&self, next: &mut Bundle) {
        next.authorities.retain(|each| self.now < each.over_at(self.timings) || self.has_key(each));
    }

    /// Takes in private halves whose authorities the bundle does not know: a crash after they were made, a lost bundle, or a
    /// restored backup, in which the one that comes back is trusted again and signs nothing.
    fn take_up(&self, next: &mut Bundle) {
        let is_new = next.next_number;
        for key in self.observed.keys.iter().filter(|key| self.now < key.not_after) {
            if next.holds(&key.certificate) {
                continue;
            }
            let returned = key.number < is_new;
            next.authorities.push(Authority {
                number: key.number,
                certificate: key.certificate.clone(),
                not_before: key.not_before,
                not_after: key.not_after,
                published_at: self.now,
                activated_at: None,
                superseded_at: returned.then_some(self.now),
                longest_leaf: self.timings.leaf(),
            });
            next.next_number = next.next_number.max(key.number.saturating_add(1));
        }
        next.authorities.sort_by(|one, other| (one.number, &one.certificate).cmp(&(other.number, &other.certificate)));
    }

    /// What has ended, or has no private half any more, signs no more.
    fn lose(&self, next: &mut Bundle) {
        for authority in next.authorities.iter_mut().filter(|each| each.superseded_at.is_none()) {
            if self.now >= authority.not_after || !self.has_key(authority) {
                authority.superseded_at = Some(self.now);
            }
        }
    }

    fn activate(&self, next: &mut Bundle) {
        let first = next.authorities.iter().all(|each| each.activated_at.is_none());
        let active = next.authorities.iter().position(Authority::is_active);
        let may_sign = |each: &Authority| each.is_published() && self.now < self.last_chance(each);
        let Some(candidate) = next.authorities.iter().position(may_sign) else { return };
        let due = match (active.and_then(|index| next.authorities.get(index)), next.authorities.get(candidate)) {
            (_, None) => false,
            (None, Some(candidate)) => first || self.is_ripe(candidate) || self.is_urgent(),
            (Some(active), Some(candidate)) => self.is_ripe(candidate) || self.now >= self.last_chance(active),
        };
        if !due {
            return;
        }
        if let Some(active) = active.and_then(|index| next.authorities.get_mut(index)) {
            active.superseded_at = Some(self.now);
        }
        if let Some(candidate) = next.authorities.get_mut(candidate) {
            candidate.activated_at = Some(self.now);
        }
    }

    /// Whether every client knows it.
    fn is_ripe(&self, candidate: &Authority) -> bool {
        self.observed.handed_on && self.now >= self.ripe_at(candidate)
    }

    fn ripe_at(&self, candidate: &Authority) -> Timestamp {
        later(candidate.published_at, self.timings.publication())
    }

    /// Whether a leaf is missing, or soon over: one that not every client trusts yet is better than none.
    fn is_urgent(&self) -> bool {
        self.observed.served.iter().any(|served| served.leaf.is_none_or(|leaf| self.now >= share_left(&leaf, 6)))
    }

    /// Until when a successor must sign, whoever knows it: a sixth of the life of a leaf is left then.
    fn last_chance(&self, authority: &Authority) -> Timestamp {
        earlier(authority.not_after, self.timings.leaf() / 6)
    }

    fn wants_new(&self, next: &Bundle) -> bool {
        if next.authorities.iter().any(|each| each.is_published() && self.now < self.last_chance(each)) {
            return false;
        }
        let asked = |at: &Timestamp| *at <= self.now;
        let rotate_at = self.observed.rotate_at.filter(asked);
        next.active().is_none_or(|active| self.now >= active.renew_at() || rotate_at > Some(active.published_at))
    }

    fn due(&self, next: &Bundle) -> Vec<Issue> {
        let Some(active) = next.active() else { return Vec::new() };
        let not_after = later(self.now, self.timings.leaf()).min(active.not_after);
        let not_before = earlier(self.now, self.timings.skew()).max(active.not_before);
        let is_due = |served: &&Served| match served.leaf {
            None => true,
            Some(leaf) if leaf.authority != active.number => true,
            Some(leaf) => self.now >= share_left(&leaf, 3) && leaf.not_after < not_after,
        };
        let issue = |served: &Served| Issue { server: served.server, authority: active.number, not_before, not_after };
        self.observed.served.iter().filter(is_due).map(issue).collect()
    }

    /// A private half is kept for as long as its authority is trusted: of it alone can a bundle that is lost be put together
    /// again.
    fn useless(&self, next: &Bundle) -> Vec<u64> {
        let of = |key: &AuthorityKey| next.authorities.iter().find(|each| each.certificate == key.certificate);
        let useless = |key: &&AuthorityKey| of(key).is_none_or(|each| self.now >= each.over_at(self.timings));
        self.observed.keys.iter().filter(useless).map(|key| key.number).collect()
    }

    fn wake_at(&self, next: &Bundle) -> Option<Timestamp> {
        let leaves = self.observed.served.iter().filter_map(|served| served.leaf);
        let leaves = leaves.flat_map(|leaf| [share_left(&leaf, 3), share_left(&leaf, 6)]);
        let authorities = next.authorities.iter().flat_map(|each| {
            let ripe = each.is_published().then(|| self.ripe_at(each));
            let signs = each.superseded_at.is_none();
            let ends = signs.then(|| [each.renew_at(), self.last_chance(each)]);
            [Some(each.over_at(self.timings)), ripe].into_iter().flatten().chain(ends.into_iter().flatten())
        });
        leaves.chain(authorities).chain(self.observed.rotate_at).filter(|at| *at > self.now).min()
    }
}

/// When this share of a leaf's life is left.
fn share_left(leaf: &Leaf, share: i32) -> Timestamp {
    earlier(leaf.not_after, leaf.not_after.duration_since(leaf.not_before) / share)
}
