//! The one transition of a ring. Called until it asks for nothing more; each answer is small, so that a crash between
//! two of them leaves a ring the next call goes on from.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::gate::{EVERYONE, after, behind, ripe_at};
use super::report::{due_at, ends_at};
use super::{
    Findings, KeyState, Keyring, PrivateHalf, RefusedTimings, ReplicaRole, RingKey, StatusReport, Superseded, Witness,
};
use crate::names::{KeyId, ObjectName};
use crate::timings::Timings;
use crate::token::{Algorithm, PublicJwk};

/// What the `SigningKey` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingSpec {
    /// Its name.
    pub ring: ObjectName,
    /// The algorithm of the next key.
    pub algorithm: Algorithm,
    /// How long a key signs.
    pub period: Duration,
    /// How long a key is published before it signs, at least.
    pub pre_publish: Duration,
    /// Keys declared compromised.
    pub revoked: BTreeSet<KeyId>,
    /// `rotate-at`: replace the key if it began to sign earlier than this.
    pub rotate_at: Option<Timestamp>,
    /// `accept-restore`: roll-backs found until then are accepted.
    pub accept_restore: Option<Timestamp>,
    /// `paused`: only compromises are acted on.
    pub paused: bool,
}

/// A key just made, whose private half lies in its Secret already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// The number it was made for.
    pub serial: u64,
    /// Its public half.
    pub jwk: PublicJwk,
}

/// The world as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// What is asked for.
    pub spec: RingSpec,
    /// The live replicas.
    pub witnesses: Vec<Witness>,
    /// The highest serial of this ring anyone remembers: heartbeats, status, this leader. Zero: it never had one.
    pub known_serial: u64,
    /// The latest keyring this leader itself has seen.
    pub remembered: Option<Keyring>,
    /// The key made because the last step asked for one.
    pub new_key: Option<NewKey>,
}

/// A key is wanted: make it, put its private half into the Secret of that number, call [`step`] again with it. A Secret
/// that is there already is somebody's attempt, perhaps about to be published: the next number is taken, nothing replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedKey {
    /// The least number it may get.
    pub serial: u64,
    /// What it signs with.
    pub algorithm: Algorithm,
}

/// What to do now, in the order of the fields; then call [`step`] again if `ring` or `need_key` was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Numbers of keys whose Secrets go first; gone already is as good.
    pub delete_private_halves: Vec<u64>,
    /// The keyring to write, against the one the step was decided on.
    pub ring: Option<Keyring>,
    /// The key to make.
    pub need_key: Option<NeedKey>,
    /// When time alone changes the answer.
    pub wake_at: Option<Timestamp>,
    /// What deserves a condition.
    pub findings: Findings,
    /// The ring for people, as it is once `ring` is written.
    pub status: StatusReport,
}

/// Decides what a ring needs next. `ring` is the keyring as stored, none if there is none.
pub fn step(ring: Option<&Keyring>, observed: &Observed, now: Timestamp, timings: &Timings) -> Step {
    let mut draft = ring.cloned().unwrap_or_else(|| Keyring::empty(observed.spec.ring.clone()));
    let round = Round { observed, now, timings, refused: RefusedTimings::check(&observed.spec, timings) };
    let mut findings = round.advance(&mut draft, ring.is_some());
    findings.refused = round.refused;
    findings.keyring_lost = draft.lost_at.is_some();
    findings.rollback = draft.rollback_at.is_some();
    let mut delete_private_halves = Vec::new();
    if ring == Some(&draft) {
        delete_private_halves = round.expire_private_halves(&mut draft);
    }
    let changed = ring.map_or(!draft.keys.is_empty(), |stored| stored != &draft);
    if changed {
        draft.serial = round.next_serial(&draft);
    }
    let need_key = if changed { None } else { round.wanted(&draft) };
    findings.no_standby = draft.active().is_none() && (draft.serial > 0 || observed.known_serial > 0);
    Step {
        delete_private_halves,
        wake_at: if changed { Some(now) } else { round.wake_at(&draft, &findings) },
        status: StatusReport::new(&draft, &observed.spec, timings),
        ring: changed.then_some(draft),
        need_key,
        findings,
    }
}

/// One call of [`step`].
struct Round<'a> {
    observed: &'a Observed,
    now: Timestamp,
    timings: &'a Timings,
    refused: Option<RefusedTimings>,
}

impl Round<'_> {
    fn advance(&self, draft: &mut Keyring, stored: bool) -> Findings {
        let mut findings = Findings::default();
        self.write_back(draft, stored);
        self.revoke(draft);
        if draft.active().is_none() {
            self.activate_in_need(draft);
        } else if !self.observed.spec.paused && self.refused.is_none() {
            findings.blocked_by = self.rotate(draft);
        }
        if !self.observed.spec.paused {
            self.record_lifetime(draft);
            self.publish(draft, stored);
            self.remove(draft);
        }
        findings
    }

    /// The serial the draft is written with: past anything anyone remembers.
    fn next_serial(&self, draft: &Keyring) -> u64 {
        draft.serial.max(self.highest_known()) + 1
    }

    fn highest_known(&self) -> u64 {
        let witnessed = self.observed.witnesses.iter().filter_map(|witness| witness.serial).max().unwrap_or(0);
        witnessed.max(self.observed.known_serial)
    }

    /// A keyring older than what is remembered was restored from a backup: the stricter values come back.
    fn write_back(&self, draft: &mut Keyring, stored: bool) {
        if let Some(remembered) = self.observed.remembered.as_ref().filter(|known| known.serial > draft.serial) {
            let restored = std::mem::replace(draft, draft.merged(remembered));
            if stored {
                draft.give_up_standbys_unknown_to(&restored);
            }
            // A ring that was wound down and is wanted again goes on where it ended.
            draft.rollback_at = (stored || !remembered.is_over()).then_some(self.now);
        } else if stored && self.highest_known() > draft.serial {
            draft.next_key = draft.next_key.max(self.highest_known() + 1);
            draft.rollback_at = Some(self.now);
        }
        if self.observed.spec.accept_restore.is_some_and(|until| draft.rollback_at.is_some_and(|at| at <= until)) {
            draft.rollback_at = None;
        }
    }

    fn revoke(&self, draft: &mut Keyring) {
        let revoked = &self.observed.spec.revoked;
        for key in draft.keys.iter_mut().filter(|key| revoked.contains(key.key_id())) {
            key.state = KeyState::Revoked;
        }
    }

    /// Nothing signs: the first key that every live verifier knows does from now on, however young.
    fn activate_in_need(&self, draft: &mut Keyring) {
        let known = |key: &&RingKey| {
            behind(&self.observed.witnesses, &[ReplicaRole::Verifier], key.published_serial).is_empty()
        };
        let wanted = self.observed.spec.algorithm;
        let best = draft.published().filter(known).min_by_key(|key| (key.jwk.algorithm() != wanted, key.serial));
        if let Some(serial) = best.map(|key| key.serial) {
            self.activate(draft, serial);
        }
    }

    /// Swaps a due key for its standby once that is ripe and known everywhere; says who it waits for.
    fn rotate(&self, draft: &mut Keyring) -> Vec<String> {
        let due = draft.active().and_then(|key| due_at(key, &self.observed.spec));
        if due.is_none_or(|due| self.now < due) {
            return Vec::new();
        }
        let Some(standby) = self.standby(draft).filter(|key| self.is_ripe(key)) else { return Vec::new() };
        let waiting_for = behind(&self.observed.witnesses, &EVERYONE, standby.published_serial);
        if waiting_for.is_empty() {
            let serial = standby.serial;
            self.activate(draft, serial);
        }
        waiting_for
    }

    fn activate(&self, draft: &mut Keyring, serial: u64) {
        let ring_serial = self.next_serial(draft);
        let lifetime = signed(self.timings.max_access_token_lifetime);
        for key in &mut draft.keys {
            if key.serial == serial {
                key.state = KeyState::Active;
                key.activated_at = Some(self.now);
                key.longest_lifetime = lifetime;
            } else if key.state == KeyState::Active {
                key.retire(self.now, ring_serial);
            }
        }
        draft.lost_at = None;
    }

    fn record_lifetime(&self, draft: &mut Keyring) {
        let lifetime = signed(self.timings.max_access_token_lifetime);
        for key in draft.keys.iter_mut().filter(|key| key.state == KeyState::Active) {
            key.longest_lifetime = key.longest_lifetime.max(lifetime);
        }
    }

    /// The oldest key waiting to sign that has the algorithm asked for.
    fn standby<'k>(&self, draft: &'k Keyring) -> Option<&'k RingKey> {
        draft.published().find(|key| key.jwk.algorithm() == self.observed.spec.algorithm)
    }

    fn is_ripe(&self, key: &RingKey) -> bool {
        self.now >= ripe_at(key, self.timings.publish_before_use(self.observed.spec.pre_publish))
    }

    /// The key to make, if the ring lacks a standby.
    fn wanted(&self, draft: &Keyring) -> Option<NeedKey> {
        let spec = &self.observed.spec;
        // Even refused timings do not keep a ring from recovering from a compromise.
        let may_publish = self.refused.is_none() || (draft.serial > 0 && draft.active().is_none());
        let lacking = self.standby(draft).is_none() && may_publish && !spec.paused;
        lacking.then(|| NeedKey { serial: self.next_key(draft), algorithm: spec.algorithm })
    }

    /// Numbers never exceed serials, so one past every remembered serial was never given, even if the ring was lost.
    fn next_key(&self, draft: &Keyring) -> u64 {
        if draft.serial == 0 { draft.next_key.max(self.highest_known() + 1) } else { draft.next_key }
    }

    fn publish(&self, draft: &mut Keyring, stored: bool) {
        let Some(new) = &self.observed.new_key else { return };
        // A number whose Secret was there already was passed over.
        let wanted = self
            .wanted(draft)
            .is_some_and(|wanted| wanted.serial <= new.serial && wanted.algorithm == new.jwk.algorithm());
        let fresh = draft.key(new.jwk.key_id()).is_none() && !self.observed.spec.revoked.contains(new.jwk.key_id());
        if !wanted || !fresh {
            return;
        }
        let first_boot = !stored && draft.keys.is_empty() && self.highest_known() == 0;
        let published_serial = self.next_serial(draft);
        draft.next_key = new.serial + 1;
        draft.keys.push(RingKey::published(new.serial, new.jwk.clone(), (self.now, published_serial)));
        if first_boot {
            self.activate(draft, new.serial);
        } else if !stored {
            draft.lost_at = Some(self.now);
        }
    }

    /// Ends retired keys whose last token has ended, and standbys of another algorithm once theirs is there.
    fn remove(&self, draft: &mut Keyring) {
        let ready = |key: &RingKey| {
            self.is_ripe(key) && behind(&self.observed.witnesses, &EVERYONE, key.published_serial).is_empty()
        };
        let replaced = self.standby(draft).is_some_and(ready);
        for key in &mut draft.keys {
            let over = ends_at(key, self.timings).is_some_and(|end| self.now >= end);
            let unwanted = key.state == KeyState::Published && key.jwk.algorithm() != self.observed.spec.algorithm;
            if over || (unwanted && replaced) {
                key.state = KeyState::Removed;
            }
        }
        draft.forget_removed();
    }

    /// Marks the private halves nobody needs as deleted and names them.
    fn expire_private_halves(&self, draft: &mut Keyring) -> Vec<u64> {
        if self.observed.spec.paused {
            return Vec::new();
        }
        let mut expired = Vec::new();
        for key in draft.keys.iter_mut().filter(|key| key.private_half == PrivateHalf::Held) {
            if key.signs_no_more(&self.observed.witnesses, self.now, self.timings) {
                key.private_half = PrivateHalf::Deleted;
                expired.push(key.serial);
            }
        }
        expired
    }

    /// The next instant at which time alone matters.
    fn wake_at(&self, ring: &Keyring, findings: &Findings) -> Option<Timestamp> {
        let spec = &self.observed.spec;
        let due = ring.active().and_then(|key| due_at(key, spec));
        let ripe = self.standby(ring).map(|key| ripe_at(key, self.timings.publish_before_use(spec.pre_publish)));
        let rotation = due.map(|due| ripe.map_or(due, |ripe| due.max(ripe)));
        // Replicas that fall silent stop counting; no event says so.
        let waiting = !findings.blocked_by.is_empty() || findings.no_standby;
        let again = waiting.then(|| after(self.now, self.timings.heartbeat_period));
        let ends = ring.keys.iter().filter_map(|key| ends_at(key, self.timings));
        let private = ring.keys.iter().filter(|key| key.private_half == PrivateHalf::Held);
        let private = private.filter_map(|key| Some(after(key.superseded?.at, self.timings.private_half_for())));
        let unwanted = ring.published().any(|key| key.jwk.algorithm() != spec.algorithm);
        let replaced = ripe.filter(|_| unwanted);
        let times = rotation.into_iter().chain(again).chain(ends).chain(private).chain(replaced);
        times.filter(|time| *time > self.now).min()
    }
}

// === impl Keyring, RingKey ===

impl RingKey {
    pub(super) fn retire(&mut self, at: Timestamp, serial: u64) {
        self.state = KeyState::Retiring;
        self.superseded = Some(Superseded { at, serial });
    }

    /// Whether no issuer can be about to sign with it.
    pub(super) fn signs_no_more(&self, witnesses: &[Witness], now: Timestamp, timings: &Timings) -> bool {
        match (self.state, self.superseded) {
            (KeyState::Published | KeyState::Active, _) | (KeyState::Retiring, None) => false,
            (KeyState::Removed | KeyState::Revoked, _) => true,
            (KeyState::Retiring, Some(Superseded { at, serial })) => {
                now >= after(at, timings.private_half_for())
                    || behind(witnesses, &[ReplicaRole::Issuer], serial).is_empty()
            }
        }
    }
}

impl Keyring {
    /// How many keys out of service are remembered.
    const REMEMBERED: usize = 32;

    /// A standby made since the backup has signed nothing, and a backup that holds private halves does not hold its own:
    /// it would be a key that becomes Active and cannot sign.
    fn give_up_standbys_unknown_to(&mut self, restored: &Self) {
        let unknown = |key: &RingKey| key.state == KeyState::Published && restored.key(key.key_id()).is_none();
        for key in self.keys.iter_mut().filter(|key| unknown(key)) {
            key.state = KeyState::Removed;
        }
    }

    /// Forgets the oldest Removed keys past the bound; Revoked ones are kept.
    fn forget_removed(&mut self) {
        let removed = |key: &RingKey| key.state == KeyState::Removed && key.private_half == PrivateHalf::Deleted;
        let mut excess = self.keys.iter().filter(|key| removed(key)).count().saturating_sub(Self::REMEMBERED);
        self.keys.retain(|key| {
            let forget = excess > 0 && removed(key);
            excess -= usize::from(forget);
            !forget
        });
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
