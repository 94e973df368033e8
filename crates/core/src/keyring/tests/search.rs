//! Every interleaving of a small world: a leader, a leader that has lost its place without knowing, crashes between
//! effect and write, an issuer and a verifier that see what is written when they will, copies of the JWKS, time, and
//! what else may go wrong. Each promise about keys holds in every state, and is found broken in worlds whose leader is.

use proptest::prelude::*;

use super::world::{Bench, Faults, Mutant};
use crate::tests::search::{self, bound, walk};

fn usual() -> Faults {
    Faults { horizon: bound(2, 4), rotations: 1, ..Faults::default() }
}

fn holds(faults: Faults) {
    search::holds(&Bench::new(faults, None));
}

#[test]
fn no_interleaving_of_two_leaders_breaks_a_promise() {
    holds(Faults { deposed: true, ..usual() });
}

#[test]
fn no_interleaving_until_the_first_key_is_removed_breaks_a_promise() {
    holds(Faults { horizon: bound(4, 5), ..usual() });
}

#[test]
fn no_interleaving_with_a_compromise_breaks_a_promise() {
    holds(Faults { compromise: true, deposed: bound(false, true), ..usual() });
}

#[test]
fn no_interleaving_with_deaths_and_births_breaks_a_promise() {
    holds(Faults { deaths: true, ..usual() });
}

#[test]
fn no_interleaving_with_a_restored_backup_breaks_a_promise() {
    holds(Faults { restore: true, ..usual() });
}

#[test]
fn no_interleaving_with_a_lost_keyring_breaks_a_promise() {
    holds(Faults { loss: true, ..usual() });
}

#[test]
fn no_interleaving_with_a_new_leader_breaks_a_promise() {
    holds(Faults { successor: true, ..usual() });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(bound(32, 10_000)))]

    #[test]
    fn no_walk_through_a_larger_world_breaks_a_promise(choices in prop::collection::vec(0usize..720_720, 1..80)) {
        let faults = Faults { horizon: 12, rotations: 3, deposed: true, compromise: true, deaths: true, ..usual() };
        let walked = walk(&Bench::new(faults, None), &choices);
        prop_assert!(walked.is_ok(), "{:#?}", walked.err());
    }
}

/// The promise that is found broken.
fn caught(mutant: Mutant, faults: Faults) -> String {
    search::caught(&Bench::new(faults, Some(mutant)))
}

const UNKNOWN: &str = "a live verifier does not know the key of a live token";

#[test]
fn a_ring_that_skips_the_publication_wait_is_caught() {
    let promise = caught(Mutant::SkipsPublication, Faults { rotations: 2, ..usual() });
    assert_eq!(promise, "a copy of the JWKS not yet over lacks the key of a live token");
}

#[test]
fn a_ring_that_skips_acknowledgements_is_caught() {
    assert_eq!(caught(Mutant::SkipsAcks, Faults { rotations: 2, ..usual() }), UNKNOWN);
}

#[test]
fn a_ring_that_forgets_a_key_when_its_tokens_should_have_ended_is_caught() {
    assert_eq!(caught(Mutant::RetiresAtT, Faults { horizon: 4, ..usual() }), UNKNOWN);
}

#[test]
fn a_ring_that_gives_a_kid_twice_is_caught() {
    assert_eq!(caught(Mutant::ReusesKid, usual()), "the keyring contradicts itself");
}

#[test]
fn a_maker_that_replaces_a_private_half_is_caught() {
    let promise = caught(Mutant::ReplacesHalves, Faults { deposed: true, ..usual() });
    assert_eq!(promise, "a key that signs or will sign has no private half of its own");
}

#[test]
fn a_leader_that_writes_without_a_resource_version_is_caught() {
    assert_eq!(caught(Mutant::WritesBlindly, Faults { deposed: true, ..usual() }), "a serial shrank");
}
