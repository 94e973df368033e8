//! Compromised keys.

use super::*;
use KeyState::{Active, Published, Revoked};

#[test]
fn the_standby_signs_at_once_when_the_active_key_is_revoked() {
    let mut bed = Bed::booted();
    bed.observed.witnesses = vec![witness("v", ReplicaRole::Verifier, 2)];
    bed.observed.spec.revoked.insert(jwk(1).key_id().clone());
    let step = bed.run_to(1500);
    assert_eq!(bed.states(), [Revoked, Active, Published]);
    assert_eq!(bed.deleted, [1], "the private half is of no use to anyone honest");
    assert!(!step.findings.no_standby);
}

#[test]
fn a_young_standby_signs_as_soon_as_every_live_verifier_holds_it() {
    let mut bed = Bed::booted();
    bed.observed.witnesses = vec![witness("v", ReplicaRole::Verifier, 1), witness("i", ReplicaRole::Issuer, 0)];
    bed.observed.spec.revoked.insert(jwk(1).key_id().clone());
    let step = bed.run_to(1001);
    assert_eq!(bed.states(), [Revoked, Published], "P is waived, the verifiers are not");
    assert!(step.findings.no_standby);
    assert_eq!(step.wake_at, Some(at(1006)));
    bed.observed.witnesses[0].serial = Some(2);
    let step = bed.run_to(1002);
    assert_eq!(bed.states(), [Revoked, Active, Published]);
    assert!(!step.findings.no_standby);
}

#[test]
fn without_a_standby_a_new_key_is_published_and_signs_once_known() {
    let mut bed = Bed::booted();
    bed.observed.witnesses = vec![witness("v", ReplicaRole::Verifier, 2)];
    bed.observed.spec.revoked = [1, 2].map(|number| jwk(number).key_id().clone()).into();
    let step = bed.run_to(1500);
    assert_eq!(bed.states(), [Revoked, Revoked, Published]);
    assert!(step.findings.no_standby && step.status.active_key_id.is_none());
    bed.all_report();
    assert!(!bed.settle().findings.no_standby);
    assert_eq!(bed.states(), [Revoked, Revoked, Active, Published]);
}

#[test]
fn a_pause_never_stops_a_revocation() {
    let mut bed = Bed::booted();
    bed.observed.spec.paused = true;
    bed.observed.spec.revoked.insert(jwk(1).key_id().clone());
    bed.run_to(1500);
    assert_eq!(bed.states(), [Revoked, Active]);
}

#[test]
fn refused_timings_stop_neither_a_revocation_nor_the_way_back() {
    let mut bed = Bed::booted();
    bed.observed.spec.period = Duration::from_secs(19);
    bed.observed.spec.revoked = [1, 2].map(|number| jwk(number).key_id().clone()).into();
    bed.run_to(1500);
    assert_eq!(bed.states(), [Revoked, Revoked, Active]);
}

#[test]
fn revoked_is_for_ever_even_if_the_spec_forgets() {
    let mut bed = Bed::booted();
    bed.observed.spec.revoked.insert(jwk(1).key_id().clone());
    bed.run_to(1500);
    bed.observed.spec.revoked.clear();
    bed.run_to(1000 + 10 * PERIOD);
    assert_eq!(bed.states()[0], Revoked);
}

#[test]
fn a_key_that_was_declared_revoked_before_it_was_made_is_not_published() {
    let mut bed = Bed::booted();
    bed.observed.spec.revoked.insert(jwk(3).key_id().clone());
    bed.now = 1000 + PERIOD;
    bed.observed.new_key = Some(NewKey { serial: 3, jwk: jwk(3) });
    let rotated = step(bed.ring.as_ref(), &bed.observed, at(bed.now), &timings()).ring.expect("a rotation");
    assert_eq!(rotated.keys.len(), 2);
}
