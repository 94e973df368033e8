//! Every interleaving of a small world around one client's secret: crashes between any two calls, a leader that has lost
//! its place, an issuer that lags, people who rotate, reject, meddle and lose things.

use proptest::prelude::*;

use super::world::{Bench, Faults, Mutant};
use crate::tests::search::{self, bound, walk};

fn usual() -> Faults {
    Faults { horizon: bound(4, 7), rotations: bound(1, 2), ..Faults::default() }
}

/// Worlds too large to visit wholly. A compromise and people who meddle at once are left out: a value that a crash kept
/// out of status and people out of the Secret is known to nobody, and goes with what was compromised.
fn large() -> [Faults; 2] {
    let faults = Faults { horizon: 20, rotations: 5, ..Faults::default() };
    [Faults { compromise: true, ..faults }, Faults { meddling: 5, ..faults }]
}

fn holds(faults: Faults) {
    search::holds(&Bench { faults, mutant: None });
}

#[test]
fn no_interleaving_of_rotations_breaks_a_promise() {
    holds(Faults { rotations: 2, horizon: bound(5, 7), ..usual() });
}

#[test]
fn no_interleaving_with_a_compromise_breaks_a_promise() {
    holds(Faults { compromise: true, ..usual() });
}

#[test]
fn no_interleaving_with_people_who_meddle_breaks_a_promise() {
    holds(Faults { meddling: 1, ..usual() });
}

#[test]
fn no_interleaving_with_lost_status_breaks_a_promise() {
    holds(Faults { losses: 1, ..usual() });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(bound(64, 10_000)))]

    #[test]
    fn no_walk_through_a_larger_world_breaks_a_promise(choices in prop::collection::vec(0usize..720_720, 1..120)) {
        for faults in large() {
            let walked = walk(&Bench { faults, mutant: None }, &choices);
            prop_assert!(walked.is_ok(), "{:#?}", walked.err());
        }
    }
}

fn caught(mutant: Mutant, faults: Faults) -> String {
    search::caught(&Bench { faults, mutant: Some(mutant) })
}

#[test]
fn a_rotation_without_overlap_is_caught() {
    let promise = caught(Mutant::SkipsOverlap, usual());
    assert_eq!(promise, "an issuer refuses the value before the last within its overlap");
}

#[test]
fn a_rotation_that_never_ends_older_values_is_caught() {
    assert!(caught(Mutant::KeepsAll, usual()).starts_with("the end is"));
}

#[test]
fn a_value_given_the_present_time_is_caught() {
    let promise = caught(Mutant::IssuesAtNow, Faults { compromise: true, ..usual() });
    assert!(promise.starts_with("the end is") || promise.starts_with("the secret does not"), "{promise}");
}

#[test]
fn a_leader_that_writes_without_a_resource_version_is_caught() {
    let promise = caught(Mutant::WritesBlindly, Faults { rotations: 2, ..usual() });
    assert!(["issue times went back", "a value refused before is accepted again"].contains(&&*promise), "{promise}");
}
