//! What may happen: leaders that act in time or too late, replicas, time, and faults.

use super::memo::Answer;
use super::*;

type After<'a> = dyn FnMut(&'static str, &dyn Fn(&mut World)) + 'a;

impl Bench {
    fn seen(world: &World) -> Seen {
        let live = |replica: &Replica| (world.now < replica.heard + EXPIRY).then_some(replica.reported);
        Seen {
            stored: world.stored,
            witnesses: [live(&world.issuer), live(&world.verifier)],
            highest: world.issuer.reported.max(world.verifier.reported),
            remembered: world.remembered,
            revoked: world.revoked,
            rotate_at: world.rotate_at,
        }
    }

    /// One step of the production code on what was seen.
    fn ask(&self, seen: Seen, now: u8, new_key: Option<(u8, u8)>) -> Answer {
        self.memo.answer((seen, now, new_key), || {
            let stored = seen.stored.map(|id| self.memo.ring(id));
            let mut answer = step(
                stored.as_ref().map(|known| &known.ring),
                &self.observed(seen, new_key),
                at(now.into()),
                &self.timings(),
            );
            if self.mutant == Some(Mutant::ReusesKid)
                && let Some(key) =
                    answer.ring.as_mut().and_then(|ring| ring.keys.iter_mut().find(|key| key.serial == 3))
            {
                key.jwk = jwk(1);
            }
            answer
        })
    }

    fn observed(&self, seen: Seen, new_key: Option<(u8, u8)>) -> Observed {
        let mut observed = observed();
        observed.spec.period = Duration::from_secs(100);
        observed.spec.pre_publish = Duration::ZERO;
        observed.spec.revoked = BTreeSet::from_iter(seen.revoked.then(|| jwk(1).key_id().clone()));
        observed.spec.rotate_at = (seen.rotate_at > 0).then(|| at(seen.rotate_at.into()));
        let witness = |name: &str, role, serial: u8| {
            let all = seen.stored.filter(|_| self.mutant == Some(Mutant::SkipsAcks)).map(|id| self.memo.serial(id));
            let serial = Some(all.unwrap_or(serial).into()).filter(|serial| *serial > 0);
            Witness { name: name.to_owned(), role, serial }
        };
        let [issuer, verifier] = seen.witnesses;
        observed.witnesses.extend(issuer.map(|serial| witness("i", ReplicaRole::Issuer, serial)));
        observed.witnesses.extend(verifier.map(|serial| witness("v", ReplicaRole::Verifier, serial)));
        observed.remembered = seen.remembered.map(|id| self.memo.ring(id).ring.clone());
        let remembered = observed.remembered.as_ref().map_or(0, |ring| ring.serial);
        // Status says that there was a ring once.
        let once_had = u64::from(self.start.stored.is_some());
        observed.known_serial = remembered.max(seen.highest.into()).max(once_had);
        observed.new_key = new_key.map(|(number, half)| NewKey { serial: number.into(), jwk: jwk(half.into()) });
        observed
    }

    fn timings(&self) -> Timings {
        match self.mutant {
            Some(Mutant::SkipsPublication) => Timings { jwks_max_age: Duration::ZERO, ..small() },
            Some(Mutant::RetiresAtT) => Timings { offline_grace: Duration::ZERO, ..small() },
            _ => small(),
        }
    }

    /// The step's effects, as the controller carries them out; the keyring to write.
    fn carry_out(&self, world: &mut World, seen: Seen) -> Option<RingId> {
        let mut answer = self.ask(seen, world.now, None);
        if let Some(least) = answer.need {
            let new_key = self.make_key(world, least);
            answer = self.ask(seen, world.now, Some(new_key));
        }
        for number in &answer.delete {
            world.halves.remove(*number);
        }
        answer.ring
    }

    /// A number and the half that lies there: made now, or left by a crash.
    fn make_key(&self, world: &mut World, least: u8) -> (u8, u8) {
        let fresh = world.made + 1;
        if self.mutant == Some(Mutant::ReplacesHalves) {
            world.made = fresh;
            world.halves.put(least, fresh);
            return (least, fresh);
        }
        let useful = |half: u8| !(world.revoked && half == 1);
        for number in least.. {
            match world.halves.get(number) {
                None => {
                    world.made = fresh;
                    world.halves.put(number, fresh);
                    return (number, fresh);
                }
                Some(left) if useful(left) => return (number, left),
                Some(_) => {}
            }
        }
        unreachable!("numbers do not end")
    }

    /// Writes the keyring over the one it was decided on.
    fn write(&self, world: &mut World, base: Option<RingId>, ring: RingId) {
        if world.stored != base && self.mutant != Some(Mutant::WritesBlindly) {
            return;
        }
        let first = base.map_or(1, |base| self.memo.ring(base).ring.next_key);
        let written = self.memo.ring(ring);
        world.halves.retain(|number, _| {
            let listed = written.keys.iter().any(|(listed, ..)| *listed == number);
            let passed_over = (first..written.ring.next_key).contains(&u64::from(number)) && !listed;
            !passed_over
        });
        world.previous = world.stored;
        world.stored = Some(ring);
        self.note_published(world);
    }

    /// The leader looks, decides, carries out and writes.
    pub(super) fn lead(&self, world: &mut World) {
        world.remembered = self.later(world.remembered, world.stored);
        let seen = Self::seen(world);
        let Some(ring) = self.carry_out(world, seen) else { return };
        self.write(world, seen.stored, ring);
        world.remembered = self.later(world.remembered, Some(ring));
    }

    fn later(&self, known: Option<RingId>, seen: Option<RingId>) -> Option<RingId> {
        let serial = |ring: Option<RingId>| ring.map_or(0, |ring| self.memo.serial(ring));
        if serial(known) >= serial(seen) { known } else { seen }
    }

    pub(super) fn deposed_next(&self, world: &World, after: &mut After<'_>) {
        match world.deposed {
            Deposed::Reads => after("another leader reads", &|next| {
                let seen = Self::seen(next);
                let remembered = self.later(seen.remembered, seen.stored);
                next.deposed = Deposed::Decides(Seen { remembered, ..seen });
            }),
            Deposed::Decides(seen) => after("the deposed leader's effects take place", &|next| {
                let ring = self.carry_out(next, seen);
                next.deposed = ring.map_or(Deposed::Gone, |ring| Deposed::Writes { base: seen.stored, ring });
            }),
            Deposed::Writes { base, ring } => after("the deposed leader's write arrives", &|next| {
                next.deposed = Deposed::Gone;
                self.write(next, base, ring);
            }),
            Deposed::Gone => {}
        }
    }

    fn held_after(&self, held: Option<RingId>, stored: Option<RingId>) -> Option<RingId> {
        match (held, stored) {
            (Some(held), Some(stored)) => Some(self.memo.merged(held, stored)),
            (held, stored) => held.or(stored),
        }
    }

    fn looked(&self, replica: Replica, world: &World) -> Replica {
        let ring = self.held_after(replica.ring, world.stored);
        let reported = ring.map_or(0, |ring| self.memo.serial(ring));
        Replica { ring, reported, heard: world.now, contact: world.now, current: true }
    }

    pub(super) fn issuer_looks(&self, world: &mut World) {
        world.issuer = self.looked(world.issuer, world);
        world.held = world.halves;
    }

    pub(super) fn verifier_looks(&self, world: &mut World) {
        world.verifier = Replica { contact: 0, ..self.looked(world.verifier, world) };
    }

    /// What it holds is told again, or to a leader that has not heard it.
    fn beat(&self, replica: &mut Replica, now: u8) {
        replica.heard = now;
        replica.reported = replica.ring.map_or(0, |ring| self.memo.serial(ring));
    }

    pub(super) fn replicas_next(&self, world: &World, after: &mut After<'_>) {
        let deaths = self.faults.deaths && world.deaths == 0;
        if world.issuer.ring.is_some() {
            after("the issuer looks and reports", &|next| self.issuer_looks(next));
            after("the issuer's heart beats", &|next| self.beat(&mut next.issuer, next.now));
        } else if self.faults.deaths {
            after("an issuer is born", &|next| self.issuer_looks(next));
        }
        if world.verifier.ring.is_some() {
            after("the verifier looks and reports", &|next| self.verifier_looks(next));
            after("the verifier's heart beats", &|next| self.beat(&mut next.verifier, next.now));
        } else if self.faults.deaths {
            after("a verifier is born", &|next| self.verifier_looks(next));
            after("a verifier is born of an old listing", &|next| {
                let old = next.previous;
                next.verifier = Replica { ring: old, current: false, ..next.verifier };
                self.beat(&mut next.verifier, next.now);
            });
        }
        if deaths && world.issuer.ring.is_some() {
            after("the issuer dies", &|next| {
                next.issuer.ring = None;
                next.held = Slots::default();
                next.deaths += 1;
            });
        }
        if deaths && world.verifier.ring.is_some() {
            after("the verifier dies", &|next| {
                next.verifier.ring = None;
                next.deaths += 1;
            });
        }
    }

    pub(super) fn faults_next(&self, world: &World, after: &mut After<'_>) {
        let Faults { compromise, restore, loss, successor, .. } = self.faults;
        if compromise && !world.revoked {
            after("the first key is declared compromised", &|next| next.revoked = true);
        }
        if restore && !world.upset {
            after("a backup is restored", &|next| {
                (next.stored, next.halves) = self.backup;
                next.upset = true;
            });
        }
        if loss && !world.upset {
            after("the keyring is lost", &|next| {
                next.stored = None;
                next.upset = true;
            });
        }
        if successor && !world.succeeded {
            after("a leader begins that remembers nothing", &|next| {
                next.remembered = None;
                next.succeeded = true;
                next.issuer.reported = 0;
                next.verifier.reported = 0;
            });
        }
    }

    /// The issuer signs while it may, and a second goes by.
    pub(super) fn pass(&self, world: &mut World) {
        if let Some(half) = self.signs_with(world) {
            world.signed.put(half, world.now + 1);
        }
        world.now += 1;
    }

    /// The half the issuer signs with: Active in what it holds, read, not declared compromised, and not cut off too long.
    pub(super) fn signs_with(&self, world: &World) -> Option<u8> {
        let (number, public) = self.memo.ring(world.issuer.ring?).active?;
        let half = world.held.get(number)?;
        let dead = world.revoked && half == 1;
        (half == public && !dead && world.now <= world.issuer.contact + GRACE).then_some(half)
    }

    /// Leaves out what makes no difference any more, so that states which are alike are one.
    pub(super) fn settle(&self, world: &mut World) {
        let now = world.now;
        world.signed.retain(|_, after| after + T + LEEWAY > now);
        world.issuer.contact = world.issuer.contact.max(now.saturating_sub(GRACE + 1));
        for replica in [&mut world.issuer, &mut world.verifier] {
            replica.heard = replica.heard.max(now.saturating_sub(EXPIRY));
            replica.current &= now < replica.heard + EXPIRY;
            if replica.ring.is_none() && now >= replica.heard + EXPIRY {
                replica.reported = 0;
            }
        }
        world.issuer.current = true;
        if !self.faults.restore && !self.faults.loss {
            world.remembered = None;
            world.published = Slots::default();
        }
        if !self.faults.deaths {
            world.previous = None;
        }
        // An old copy is of no use, and P is waived when nothing else may sign: neither is promised anything.
        if world.revoked || world.upset || now >= world.cache.1 + MAX_AGE {
            world.cache = (None, 0);
        }
    }
}
