//! Keyrings lost, restored from backups, and seen by several at once.

use super::*;
use KeyState::{Active, Published, Retiring, Revoked};

#[test]
fn a_lost_keyring_begins_anew_past_everything_anyone_remembers() {
    let mut bed = Bed::new();
    bed.observed.known_serial = 7;
    bed.observed.witnesses = vec![witness("v", ReplicaRole::Verifier, 7)];
    let step = bed.settle();
    assert_eq!(bed.states(), [Published]);
    assert!(step.findings.keyring_lost && step.findings.no_standby);
    assert_eq!((bed.ring().serial, bed.ring().keys[0].serial), (8, 8), "neither a serial nor a number is used again");
    bed.all_report();
    let step = bed.settle();
    assert_eq!(bed.states(), [Active, Published]);
    assert!(!step.findings.keyring_lost && !step.findings.no_standby);
}

#[test]
fn a_keyring_this_leader_remembers_is_written_back() {
    let mut bed = Bed::booted();
    bed.observed.remembered = bed.ring.take();
    bed.observed.known_serial = 2;
    let step = bed.run_to(1100);
    assert_eq!((bed.states(), bed.ring().serial), (vec![Active, Published], 3));
    assert!(step.findings.rollback && !step.findings.no_standby);
    bed.observed.spec.accept_restore = Some(at(1200));
    assert!(!bed.run_to(1201).findings.rollback);
}

#[test]
fn a_restored_keyring_never_brings_a_key_back_to_life() {
    let mut bed = Bed::booted();
    let backup = bed.ring.clone();
    bed.observed.spec.revoked.insert(jwk(1).key_id().clone());
    bed.run_to(1100);
    bed.observed.spec.revoked.clear();
    bed.observed.remembered = bed.ring.clone();
    let serial = bed.ring().serial;
    bed.ring = backup;
    let step = step(bed.ring.as_ref(), &bed.observed, at(1200), &timings());
    let written = step.ring.expect("the stricter values");
    assert!(written.serial > serial && step.findings.rollback);
    assert_eq!(written.keys.iter().map(|key| key.state).collect::<Vec<_>>(), [Revoked, Active, KeyState::Removed]);
}

#[test]
fn a_leader_that_remembers_nothing_gives_no_number_again_that_a_replica_may_know() {
    let mut bed = Bed::booted();
    bed.observed.witnesses = vec![witness("v", ReplicaRole::Verifier, 9)];
    bed.run_to(1000 + PERIOD);
    bed.all_report();
    bed.settle();
    let numbers: Vec<_> = bed.ring().keys.iter().map(|key| key.serial).collect();
    assert_eq!(numbers, [1, 2, 10], "the restored keyring says 3 is next; at most one key came with each serial");
}

#[test]
fn a_standby_made_since_the_backup_is_given_up_as_its_private_half_may_be_gone() {
    let mut bed = Bed::booted();
    let backup = bed.ring.clone();
    bed.run_to(1000 + PERIOD);
    assert_eq!(bed.states(), [Retiring, Active, Published]);
    bed.observed.remembered = bed.ring.take();
    bed.ring = backup;
    bed.run_to(1100 + PERIOD);
    assert_eq!(bed.states(), [Retiring, Active, KeyState::Removed, Published]);
}

#[test]
fn a_keyring_behind_its_replicas_is_a_roll_back_and_moves_past_them() {
    let mut bed = Bed::booted();
    bed.observed.witnesses = vec![witness("v", ReplicaRole::Verifier, 9)];
    let step = bed.run_to(1100);
    assert!(step.findings.rollback);
    assert_eq!((bed.ring().serial, bed.ring().rollback_at), (10, Some(at(1100))));
}

#[test]
fn two_views_merge_to_the_later_state_of_each_key_in_any_order() {
    let mut bed = Bed::booted();
    let early = bed.ring().clone();
    bed.run_to(1000 + PERIOD);
    let late = bed.ring().clone();
    let merged = early.merged(&late);
    assert_eq!(merged, late);
    assert_eq!(late.merged(&early), late);
    let mut forked = early.clone();
    forked.serial = late.serial + 1;
    forked.keys[0].state = Active;
    let states: Vec<_> = forked.merged(&late).keys.iter().map(|key| key.state).collect();
    assert_eq!(states, [Retiring, Active, Published], "never two that sign");
}
