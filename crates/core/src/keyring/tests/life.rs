//! The ordinary life of keys.

use super::*;
use KeyState::{Active, Published, Removed, Retiring};

#[test]
fn first_boot_signs_at_once_and_has_a_standby() {
    let bed = Bed::booted();
    assert_eq!(bed.states(), [Active, Published]);
    assert_eq!((bed.ring().serial, bed.writes), (2, 2));
    let last = bed.last.expect("a step");
    assert_eq!(last.findings, Findings::default());
    assert_eq!(last.status.active_key_id.as_ref(), Some(jwk(1).key_id()));
    assert_eq!(last.status.next_rotation, Some(at(1000 + PERIOD)));
    assert_eq!(last.wake_at, Some(at(1000 + PERIOD)));
}

#[test]
fn a_ring_at_rest_asks_for_nothing_until_the_time_it_named() {
    let mut bed = Bed::booted();
    let (writes, until) = (bed.writes, 1000 + PERIOD - 1);
    for now in [1000, 1001, 1500, until] {
        bed.run_to(now);
    }
    assert_eq!(bed.writes, writes);
}

#[test]
fn a_rotation_is_one_swap_and_the_old_key_serves_until_its_last_token_has_ended() {
    let mut bed = Bed::booted();
    bed.observed.witnesses = vec![witness("i", ReplicaRole::Issuer, 2), witness("v", ReplicaRole::Verifier, 2)];
    let swap = 1000 + PERIOD;
    bed.run_to(swap);
    assert_eq!(bed.states(), [Retiring, Active, Published]);
    assert_eq!(bed.deleted, [0; 0], "the issuer has not reported the successor");
    bed.all_report();
    bed.settle();
    assert_eq!(bed.deleted, [1]);
    bed.run_to(swap + RETIRING - 1);
    assert_eq!(bed.states(), [Retiring, Active, Published]);
    bed.run_to(swap + RETIRING);
    assert_eq!(bed.states(), [Removed, Active, Published]);
}

#[test]
fn a_private_half_goes_after_the_grace_even_if_an_issuer_stays_silent() {
    let mut bed = Bed::booted();
    bed.observed.witnesses = vec![witness("i", ReplicaRole::Issuer, 2)];
    let swap = 1000 + PERIOD;
    assert_eq!(bed.run_to(swap).wake_at, Some(at(swap + PRIVATE)));
    bed.observed.witnesses[0].serial = None;
    bed.run_to(swap + PRIVATE - 1);
    assert_eq!(bed.deleted, [0; 0]);
    bed.run_to(swap + PRIVATE);
    assert_eq!(bed.deleted, [1]);
}

#[test]
fn a_replica_that_has_not_reported_the_key_blocks_its_activation_and_is_named() {
    for (serial, role) in
        [(Some(1), ReplicaRole::Verifier), (None, ReplicaRole::Verifier), (Some(1), ReplicaRole::Issuer)]
    {
        let mut bed = Bed::booted();
        let laggard = Witness { name: "slow".to_owned(), role, serial };
        bed.observed.witnesses = vec![witness("fine", ReplicaRole::Verifier, 2), laggard];
        let step = bed.run_to(1000 + PERIOD);
        assert_eq!(step.findings.blocked_by, ["slow"]);
        assert_eq!(step.wake_at, Some(at(1000 + PERIOD + 5)), "it looks again, in case the replica falls silent");
        assert_eq!(bed.states(), [Active, Published]);
        bed.observed.witnesses.pop();
        assert_eq!(bed.settle().findings.blocked_by, [""; 0]);
        assert_eq!(bed.states(), [Retiring, Active, Published]);
    }
}

#[test]
fn a_forced_rotation_waits_until_the_standby_was_published_long_enough() {
    let mut bed = Bed::booted();
    bed.observed.spec.rotate_at = Some(at(1003));
    assert_eq!(bed.run_to(1003).wake_at, Some(at(1010)));
    assert_eq!(bed.states(), [Active, Published]);
    bed.run_to(1010);
    assert_eq!(bed.states(), [Retiring, Active, Published]);
    let writes = bed.writes;
    bed.run_to(1100);
    assert_eq!(bed.writes, writes, "the new key is later than asked for");
}

#[test]
fn rotate_at_in_the_future_is_the_next_rotation() {
    let mut bed = Bed::booted();
    bed.observed.spec.rotate_at = Some(at(1500));
    let step = bed.run_to(1100);
    assert_eq!((step.status.next_rotation, step.wake_at), (Some(at(1500)), Some(at(1500))));
    bed.run_to(1500);
    assert_eq!(bed.states(), [Retiring, Active, Published]);
}

#[test]
fn fifty_forced_rotations_leave_a_small_ring_and_never_two_signers() {
    let mut bed = Bed::booted();
    for _ in 0..50 {
        let now = bed.now + 20;
        bed.observed.spec.rotate_at = Some(at(now));
        bed.run_to(now);
        assert_eq!(bed.ring().keys.iter().filter(|key| key.state == Active).count(), 1);
        assert_eq!(bed.ring().active().and_then(|key| key.activated_at), Some(at(now)));
    }
    bed.run_to(bed.now + RETIRING);
    assert!(bed.ring().keys.len() <= 34, "{}", bed.ring().keys.len());
    assert!(bed.ring().to_json().expect("a document").len() < 40_000);
}

#[test]
fn another_algorithm_is_that_of_the_next_key() {
    let mut bed = Bed::booted();
    bed.observed.spec.algorithm = Algorithm::ES256;
    bed.run_to(1100);
    assert_eq!(bed.states(), [Active, Published, Published], "the old standby stays until the new one is ripe");
    assert_eq!(bed.last.as_ref().and_then(|step| step.wake_at), Some(at(1110)));
    bed.run_to(1110);
    assert_eq!(bed.states(), [Active, Removed, Published]);
    assert_eq!(bed.deleted, [2]);
    bed.run_to(1000 + PERIOD);
    assert_eq!(bed.ring().active().map(|key| key.jwk.algorithm()), Some(Algorithm::ES256));
}

#[test]
fn timings_that_cannot_be_kept_are_refused_and_the_ring_goes_on_as_it_is() {
    let mut bed = Bed::booted();
    bed.observed.spec.period = Duration::from_secs(19);
    let step = bed.run_to(5000);
    assert_eq!(step.findings.refused, Some(RefusedTimings::LifetimeTooLong));
    bed.observed.spec =
        RingSpec { period: Duration::from_secs(30), pre_publish: Duration::from_secs(30), ..observed().spec };
    assert_eq!(bed.run_to(6000).findings.refused, Some(RefusedTimings::PublishedTooLong));
    assert_eq!(bed.states(), [Active, Published]);
    let mut new = Bed::new();
    new.observed.spec.period = Duration::from_secs(19);
    assert_eq!((new.settle().need_key, new.ring), (None, None), "no ring begins with them");
}

#[test]
fn the_longest_lifetime_in_force_while_a_key_signs_decides_how_long_it_serves() {
    let mut bed = Bed::booted();
    let longer = Timings { max_access_token_lifetime: Duration::from_secs(50), ..timings() };
    let raised = step(bed.ring.as_ref(), &bed.observed, at(1100), &longer).ring.expect("it is written down");
    bed.ring = Some(raised);
    bed.run_to(1000 + PERIOD);
    assert_eq!(bed.last.as_ref().map(|step| step.status.keys.len()), Some(3));
    bed.run_to(1000 + PERIOD + RETIRING + 39);
    assert_eq!(bed.states(), [Retiring, Active, Published]);
    bed.run_to(1000 + PERIOD + RETIRING + 40);
    assert_eq!(bed.states(), [Removed, Active, Published]);
}

#[test]
fn a_paused_ring_stays_as_it_is() {
    let mut bed = Bed::booted();
    bed.observed.spec.paused = true;
    let writes = bed.writes;
    bed.run_to(1000 + 3 * PERIOD);
    assert_eq!(bed.writes, writes);
}

#[test]
fn a_clock_gone_back_changes_nothing() {
    let mut bed = Bed::booted();
    let (writes, ring) = (bed.writes, bed.ring.clone());
    bed.run_to(10);
    assert_eq!((bed.writes, &bed.ring), (writes, &ring));
}

#[test]
fn a_document_that_contradicts_itself_is_refused() {
    let ring = Bed::booted().ring.expect("a ring");
    let text = |ring: &Keyring| ring.to_json().expect("a document");
    let mut two_active = ring.clone();
    two_active.keys[1].state = Active;
    let mut one_number = ring.clone();
    one_number.keys[1].serial = 1;
    let mut one_key = ring.clone();
    one_key.keys[1].jwk = jwk(1);
    for bad in [text(&two_active), text(&one_number), text(&one_key), "{}".to_owned(), String::new()] {
        assert!(Keyring::parse(&bad).is_err());
    }
    let unknown = text(&ring).replace("Published", "Suspended");
    assert!(Keyring::parse(&unknown).is_err(), "a state an old replica does not know is never guessed");
}
