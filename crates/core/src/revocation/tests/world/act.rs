//! What the parts and the people of the world do.

use super::*;

type After<'a> = dyn FnMut(&'static str, &dyn Fn(&mut World)) + 'a;

impl Bench {
    /// What a controller that looks now decides.
    fn decide(&self, world: &World) -> Flight {
        let World { status, rights, version, .. } = *world;
        let decided_on = DecidedOn::ResourceVersion(version.to_string());
        let mut known = self.views.borrow()[world.known].known_epoch_of(&uid("u"));
        match self.mutant {
            Some(Mutant::GoesOnWithAny) => known.decided_on = Some(decided_on.clone()),
            Some(Mutant::BeginsAnew) => known.decided_on = None,
            _ => {}
        }
        let observed = EpochObserved { basis: rights.basis(), granted: rights.granted(), decided_on, known };
        let step = epoch_step(&status.memory(), &observed);
        let everywhere = step.entries.iter().any(|(audience, _)| audience.is_none());
        let narrow = step.entries.iter().any(|(audience, _)| audience.is_some());
        let epoch = u8::try_from(step.memory.epoch).expect("a small world");
        let epoch = if self.is(Mutant::KeepsEpoch) { status.epoch } else { epoch };
        let new = Status { epoch, known: true, rights };
        if new == status && !everywhere && !narrow {
            return Flight::Rests;
        }
        Flight::Decided { version, status: new, narrow, everywhere }
    }

    /// One step of a controller: a look, the entry, status.
    pub(super) fn go_on(&self, world: &mut World, flight: Flight, rest: Flight) -> Flight {
        match flight {
            Flight::Rests => self.decide(world),
            Flight::Decided { version, status, narrow, everywhere } => {
                if self.is(Mutant::StatusFirst) && world.version == version {
                    self.report(world, version, status);
                    return Flight::Decided { version, status, narrow, everywhere };
                }
                if narrow || everywhere {
                    let audience = (!everywhere).then(|| name(true));
                    let entry =
                        Entry::client(uid("u"), audience, status.epoch.into(), seconds(world.now), &self.timings());
                    self.insert(world, 0, entry.decided_on(DecidedOn::ResourceVersion(version.to_string())));
                }
                Flight::Written { version, status }
            }
            Flight::Written { version, status } => {
                self.report(world, version, status);
                rest
            }
            Flight::Gone => Flight::Gone,
        }
    }

    /// Writes status, if the object is still the one that was decided on.
    fn report(&self, world: &mut World, version: u8, status: Status) {
        if world.version != version && !self.is(Mutant::WritesBlindly) {
            return;
        }
        if world.status.known {
            let Rights { grant, level } = status.rights;
            if world.status.rights.has(true) && !status.rights.has(true) {
                world.told.grant = world.told.grant.max(grant);
            }
            world.told.level = world.told.level.max(level);
        }
        world.status = status;
        world.version += 1;
    }

    fn insert(&self, world: &mut World, which: usize, entry: Entry) {
        let mut shard = self.shards.borrow()[world.shards[which]].clone();
        shard.insert(entry, seconds(world.now), &self.timings()).expect("room");
        if self.is(Mutant::CollapseForgets) && which == 1 {
            shard.entries.retain(|entry| matches!(entry.revocation, Revocation::Token { .. }));
        }
        world.shards[which] = self.shard(shard);
    }

    /// The issuer sees everything.
    pub(super) fn issuer_looks(&self, world: &mut World) {
        let revoked = self.with(world.issuer.revoked, world.shards, world.now);
        let epoch = world.issuer.epoch.max(world.status.epoch);
        world.issuer = Seen { rights: world.rights, epoch, revoked };
        world.contact = world.now;
    }

    /// The token the issuer would sign now.
    pub(super) fn signed(&self, world: &World, narrow: bool) -> Option<Token> {
        let Seen { rights, epoch, revoked } = world.issuer;
        let asked = self.views.borrow()[revoked].epoch_for(&uid("u"), &name(narrow));
        let asked = u8::try_from(asked).expect("a small world");
        let waits = asked > epoch && !self.is(Mutant::SignsAhead) && !self.is(Mutant::DoesNotWait);
        let epoch = if self.is(Mutant::SignsAhead) { epoch.max(asked) } else { epoch };
        let signs = world.now <= world.contact + GRACE && rights.has(narrow) && !waits;
        signs.then_some(Token { narrow, epoch, rights, issued: world.now, given_up: false })
    }

    pub(super) fn issuer_next(&self, world: &World, after: &mut After<'_>) {
        after("the issuer looks", &|next| self.issuer_looks(next));
        after("the issuer sees the client", &|next| {
            next.issuer.epoch = next.issuer.epoch.max(next.status.epoch);
            next.issuer.rights.level = next.rights.level;
            if self.faults.late != Some(Late::Policies) {
                next.issuer.rights.grant = next.rights.grant;
            }
        });
        after("the issuer sees the policies", &|next| next.issuer.rights.grant = next.rights.grant);
        after("the issuer sees the shards", &|next| {
            next.issuer.revoked = self.with(next.issuer.revoked, next.shards, next.now);
        });
        let slots = &world.tokens[..self.faults.tokens];
        let Some(free) = slots.iter().position(Option::is_none) else { return };
        for (name, narrow) in [("the issuer signs for a", true), ("the issuer signs for b", false)] {
            after(name, &|next| next.tokens[free] = self.signed(next, narrow));
        }
    }

    pub(super) fn people_next(&self, world: &World, after: &mut After<'_>) {
        let Faults { grants, levels, collapse, setback, .. } = self.faults;
        if world.rights.grant < grants {
            let withdrawn = world.rights.grant.is_multiple_of(2);
            after(if withdrawn { "the grant is withdrawn" } else { "the grant is given back" }, &|next| {
                next.rights.grant += 1;
            });
        }
        if world.rights.level < levels {
            after("tokensNotBefore is raised", &|next| {
                next.rights.level += 1;
                next.version += 1;
            });
        }
        if let Some(setback) = setback.filter(|_| !world.lost) {
            let known = setback == Setback::Restored;
            after(if known { "status is restored" } else { "status is lost" }, &|next| {
                next.status = Status { known, ..Status::default() };
                next.version += 1;
                next.lost = true;
            });
        }
        if let Some(given_up) = world.tokens[0].filter(|_| collapse && !world.collapsed) {
            after("the client gives up its token", &|next| {
                self.insert(next, 1, Entry::token(&given_up.as_issued(), seconds(next.now), &self.timings()));
                next.tokens[0] = Some(Token { given_up: true, ..given_up });
                next.collapsed = true;
            });
        }
    }
}
