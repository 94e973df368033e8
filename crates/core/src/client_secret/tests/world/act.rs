//! What may happen: controllers, one call at a time, and people.

use super::*;

type After<'a> = dyn FnMut(&'static str, &dyn Fn(&mut World)) + 'a;

impl Bench {
    /// The next call of a controller; `rest` is where it ends.
    pub(super) fn go_on(&self, world: &mut World, flight: Flight, rest: Flight) -> Flight {
        match flight {
            Flight::Rests => Flight::Read(world.object),
            Flight::Read(object) => self.decide(world, object, rest),
            Flight::Decided { object, base, write: Some(value), state } => {
                if self.write(world, base, value) {
                    Flight::Written { object, state }
                } else {
                    rest
                }
            }
            Flight::Decided { object, state, .. } | Flight::Written { object, state } => {
                self.report(world, object, state);
                rest
            }
            Flight::Gone => Flight::Gone,
        }
    }

    fn decide(&self, world: &World, object: Object, rest: Flight) -> Flight {
        let found = match world.content {
            Content::Absent => Found::Absent,
            Content::Damaged => Found::Damaged,
            Content::Value(value) => Found::Ours { issued_at: at(value), version: 1 },
        };
        let observed = Observed {
            created_at: at(object.created),
            former_issued_at: None,
            found,
            usage: Usage::default(),
            version: 1,
        };
        let answer = step(&self.spec(object), &object.state(), &observed, at(world.now), &timings());
        let small = |time: Option<Timestamp>| time.map_or(0, |time| u8::try_from(time.as_second()).expect("small"));
        let write = answer.write.map(|write| match self.mutant {
            Some(Mutant::IssuesAtNow) => world.now,
            _ => small(Some(write.issued_at)),
        });
        let state = (small(answer.state.issued_at), small(answer.state.accepted_since));
        if write.is_none() && state == (object.issued, object.since) {
            return rest;
        }
        Flight::Decided { object, base: world.content, write, state }
    }

    fn spec(&self, object: Object) -> SecretSpec {
        let overlap = match self.mutant {
            Some(Mutant::SkipsOverlap) => 0,
            Some(Mutant::KeepsAll) => 200,
            _ => OVERLAP,
        };
        let overlap = Duration::from_secs(overlap.into());
        let rotation = Rotation {
            period: None,
            overlap,
            retirement: Retirement::AfterOverlap,
            max_overlap: overlap,
            at_deadline: AtDeadline::KeepAndWarn,
        };
        let (reject_issued_before, rotate_at) = (some(object.reject), some(object.rotate_at));
        SecretSpec { mode: Mode::Create, rotation, reject_issued_before, rotate_at, paused: false }
    }

    /// Writes a value over what it was decided on; whether it was written.
    fn write(&self, world: &mut World, base: Content, value: u8) -> bool {
        if world.content != base && self.mutant != Some(Mutant::WritesBlindly) {
            return false;
        }
        // Whoever read the newest value keeps it until its successor's overlap is over.
        let before = world.newest;
        if before > 0 && world.object.accepts(before) && before < value {
            world.older = (before, value + OVERLAP);
        }
        world.content = Content::Value(value);
        (world.put_back, world.newest, world.previous) = (false, value, before);
        true
    }

    /// Writes status over the object it was decided on.
    fn report(&self, world: &mut World, object: Object, (issued, since): (u8, u8)) {
        if world.object == object || self.mutant == Some(Mutant::WritesBlindly) {
            world.object = Object { issued, since, ..world.object };
        }
    }

    pub(super) fn people_next(&self, world: &World, after: &mut After<'_>) {
        if world.rotations < self.faults.rotations {
            after("a rotation is asked for", &|next| {
                next.rotations += 1;
                next.object.rotate_at = next.now;
            });
        }
        if self.faults.compromise && world.object.reject == 0 {
            for (name, ahead) in
                [("values are declared compromised", 0), ("values are declared compromised ahead", AHEAD)]
            {
                after(name, &|next| next.object.reject = next.now + ahead);
            }
        }
        if world.meddled < self.faults.meddling {
            for (name, content) in [
                ("the Secret is deleted", Content::Absent),
                ("the Secret is damaged", Content::Damaged),
                ("an older Secret is put back", Content::Value(world.previous.max(1))),
            ] {
                after(name, &|next| {
                    (next.content, next.put_back) = (content, true);
                    next.meddled += 1;
                });
            }
        }
        if world.lost < self.faults.losses {
            after("status is lost", &|next| {
                (next.object.issued, next.object.since) = (0, 0);
                next.lost += 1;
            });
            after("the object is made anew", &|next| {
                next.object = Object { uid: next.object.uid + 1, created: next.now, ..next.object };
                (next.object.issued, next.object.since) = (0, 0);
                (next.older, next.put_back) = ((0, 0), true);
                next.lost += 1;
            });
        }
    }

    /// The leader goes on until it finds nothing to do.
    pub(super) fn settle(&self, world: &mut World) {
        for _ in 0..16 {
            let before = (world.object, world.content);
            world.leader = Flight::Rests;
            for _ in 0..4 {
                world.leader = self.go_on(world, world.leader, Flight::Gone);
            }
            world.leader = Flight::Rests;
            if (world.object, world.content) == before {
                return;
            }
        }
    }
}
