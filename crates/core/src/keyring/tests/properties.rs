//! What holds for a ring whatever happens, in random worlds larger than the search can visit.

use proptest::prelude::*;

use super::*;

/// What may happen between two looks of the leader.
#[derive(Clone, Debug)]
enum Event {
    Pass(i64),
    Report(usize),
    Silence(usize),
    Rotate,
    Revoke(usize),
    Algorithm(bool),
    Pause(bool),
    NewLeader,
    Lose,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (1i64..200).prop_map(Event::Pass),
        6 => (0usize..3).prop_map(Event::Report),
        1 => (0usize..3).prop_map(Event::Silence),
        3 => Just(Event::Rotate),
        1 => (0usize..4).prop_map(Event::Revoke),
        1 => any::<bool>().prop_map(Event::Algorithm),
        1 => any::<bool>().prop_map(Event::Pause),
        1 => Just(Event::NewLeader),
        1 => Just(Event::Lose),
    ];
    proptest::collection::vec(event, 1..60)
}

impl Bed {
    fn apply(&mut self, event: &Event) {
        let serial = self.ring().serial;
        match event {
            Event::Pass(seconds) => self.now += seconds,
            Event::Report(index) => self.observed.witnesses[*index].serial = Some(serial),
            Event::Silence(index) => self.observed.witnesses[*index].serial = None,
            Event::Rotate => self.observed.spec.rotate_at = Some(at(self.now)),
            Event::Revoke(index) => {
                let revoked = self.ring().keys.iter().rev().nth(*index).map(|key| key.key_id().clone());
                self.observed.spec.revoked.extend(revoked);
            }
            Event::Algorithm(other) => {
                self.observed.spec.algorithm = if *other { Algorithm::ES256 } else { Algorithm::EdDSA };
            }
            Event::Pause(paused) => self.observed.spec.paused = *paused,
            Event::NewLeader => self.observed.witnesses.iter_mut().for_each(|witness| witness.serial = None),
            Event::Lose => {
                self.observed.known_serial = serial;
                self.observed.remembered = self.ring.clone();
                self.ring = None;
            }
        }
    }
}

fn world() -> Bed {
    let mut bed = Bed::booted();
    bed.observed.witnesses = vec![
        witness("i", ReplicaRole::Issuer, 2),
        witness("v", ReplicaRole::Verifier, 2),
        witness("w", ReplicaRole::Verifier, 2),
    ];
    bed
}

/// What must be true of two keyrings written one after the other.
fn check(before: &Keyring, after: &Keyring, witnesses: &[Witness], now: i64) {
    assert!(after.serial >= before.serial);
    assert!(after.keys.iter().filter(|key| key.state == KeyState::Active).count() <= 1);
    for key in &before.keys {
        let Some(later) = after.key(key.key_id()) else {
            assert_eq!(key.state, KeyState::Removed, "only keys out of service are forgotten");
            continue;
        };
        assert_eq!((later.serial, later.published_at), (key.serial, key.published_at));
        assert!(later.state >= key.state && later.private_half >= key.private_half, "forward only");
        if key.state == KeyState::Retiring && later.state == KeyState::Removed {
            let superseded = key.superseded.expect("a successor").at.as_second();
            assert!(now >= superseded + RETIRING);
        }
    }
    if before.active().map(RingKey::key_id) != after.active().map(RingKey::key_id)
        && let Some(active) = after.active().filter(|key| key.activated_at == Some(at(now)))
    {
        let emergency =
            before.active().is_none_or(|key| after.key(key.key_id()).is_none_or(|key| key.state == KeyState::Revoked));
        let ripe = now >= active.published_at.as_second() + 10;
        assert!(ripe || emergency, "a key signs only after P");
        let must_know = |witness: &&Witness| !emergency || witness.role == ReplicaRole::Verifier;
        assert!(witnesses.iter().filter(must_know).all(|witness| witness.serial >= Some(active.published_serial)));
        assert_eq!(active.private_half, PrivateHalf::Held);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn keys_move_forward_and_sign_only_when_known(events in events()) {
        let mut bed = world();
        for event in &events {
            let before = bed.ring().clone();
            bed.apply(event);
            bed.settle();
            check(&before, bed.ring(), &bed.observed.witnesses, bed.now);
        }
    }

    #[test]
    fn a_due_rotation_completes_once_faults_end(events in events()) {
        let mut bed = world();
        for event in &events {
            bed.apply(event);
            bed.settle();
        }
        bed.observed.spec.paused = false;
        bed.observed.spec.algorithm = Algorithm::EdDSA;
        bed.all_report();
        bed.settle();
        bed.all_report();
        bed.now += 20;
        bed.settle();
        bed.all_report();
        let asked = bed.now;
        bed.observed.spec.rotate_at = Some(at(asked));
        bed.now += 20;
        let step = bed.settle();
        prop_assert!(bed.ring().active().and_then(|key| key.activated_at) >= Some(at(asked)));
        prop_assert!(!step.findings.no_standby && step.findings.blocked_by.is_empty());
    }

    #[test]
    fn the_time_to_wake_is_never_past_and_never_misses_a_change(events in events()) {
        let mut bed = world();
        for event in &events {
            bed.apply(event);
            let step = bed.settle();
            let Some(wake) = step.wake_at else { continue };
            prop_assert!(wake > at(bed.now));
            let just_before = Timestamp::from_second(wake.as_second() - 1).expect("a time");
            if just_before > at(bed.now) {
                let idle = super::super::step(bed.ring.as_ref(), &bed.observed, just_before, &timings());
                prop_assert_eq!((idle.ring, idle.need_key), (None, None));
            }
        }
    }
}
