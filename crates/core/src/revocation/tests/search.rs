//! Every interleaving of a small world around one client's epoch: crashes between any two writes, a leader that has lost its
//! place, an issuer and a verifier that lag, access that is taken away and given back, a status that is lost or restored.

use proptest::prelude::*;

use super::world::{Bench, Faults, Late, Mutant, Setback};
use crate::tests::search::{self, Broken, bound, walk};

fn usual() -> Faults {
    Faults { horizon: bound(2, 4), tokens: bound(1, 2), ..Faults::default() }
}

fn holds(faults: Faults) {
    search::holds(&Bench::new(faults, None));
}

#[test]
fn no_interleaving_with_a_withdrawn_grant_breaks_a_promise() {
    holds(Faults { grants: 3, horizon: bound(1, 3), ..usual() });
}

#[test]
fn no_interleaving_of_two_kinds_of_change_breaks_a_promise() {
    holds(Faults { grants: 1, levels: bound(1, 2), ..usual() });
}

#[test]
fn no_interleaving_of_two_controllers_breaks_a_promise() {
    holds(Faults { levels: bound(1, 2), grants: bound(0, 1), deposed: true, ..usual() });
}

#[test]
fn no_interleaving_with_a_controller_that_learns_late_breaks_a_promise() {
    holds(Faults { grants: 1, levels: 1, late: Some(Late::Revocations), horizon: bound(1, 2), ..usual() });
    holds(Faults { collapse: true, levels: 1, late: Some(Late::Revocations), horizon: 1, ..usual() });
}

#[test]
fn no_interleaving_until_an_entry_has_ended_breaks_a_promise() {
    holds(Faults { levels: 1, horizon: bound(5, 6), ..usual() });
}

#[test]
fn no_interleaving_with_many_tokens_given_up_breaks_a_promise() {
    holds(Faults { collapse: true, levels: bound(1, 2), ..usual() });
}

#[test]
fn no_interleaving_with_lost_status_breaks_a_promise() {
    holds(Faults { setback: Some(Setback::Lost), levels: bound(1, 2), ..usual() });
}

#[test]
fn no_interleaving_with_restored_status_breaks_a_promise() {
    holds(Faults { setback: Some(Setback::Restored), levels: 2, horizon: bound(1, 2), ..usual() });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(bound(64, 10_000)))]

    #[test]
    fn no_walk_through_a_larger_world_breaks_a_promise(choices in prop::collection::vec(0usize..720_720, 1..100)) {
        let faults =
            Faults { horizon: 20, tokens: 2, grants: 6, levels: 4, collapse: true, deposed: true, ..Faults::default() };
        let walked = walk(&Bench::new(faults, None), &choices);
        prop_assert!(walked.is_ok(), "{:#?}", walked.err());
    }
}

fn caught(mutant: Mutant, faults: Faults) -> String {
    search::caught(&Bench::new(faults, Some(mutant)))
}

const ACCEPTED: &str = "a token that was revoked is accepted";

#[test]
fn a_status_written_before_the_entry_is_caught() {
    assert_eq!(caught(Mutant::StatusFirst, Faults { levels: 1, ..usual() }), ACCEPTED);
}

#[test]
fn an_entry_that_does_not_raise_the_epoch_is_caught() {
    assert_eq!(caught(Mutant::KeepsEpoch, Faults { levels: 1, ..usual() }), ACCEPTED);
}

#[test]
fn a_leader_that_goes_on_with_an_epoch_of_another_decision_is_caught() {
    assert_eq!(
        caught(Mutant::GoesOnWithAny, Faults { setback: Some(Setback::Restored), levels: 2, ..usual() }),
        ACCEPTED
    );
}

#[test]
fn a_leader_that_begins_one_more_epoch_for_the_same_decision_is_caught() {
    assert_eq!(caught(Mutant::BeginsAnew, Faults { levels: 1, ..usual() }), "there are more epochs than changes");
}

#[test]
fn entries_that_end_before_the_tokens_of_a_cut_off_issuer_are_caught() {
    assert_eq!(caught(Mutant::EndsEarly, Faults { levels: 1, horizon: 4, ..usual() }), ACCEPTED);
}

#[test]
fn a_collapse_that_forgets_is_caught() {
    assert_eq!(caught(Mutant::CollapseForgets, Faults { collapse: true, ..usual() }), ACCEPTED);
}

#[test]
fn a_leader_that_writes_without_a_resource_version_is_caught() {
    caught(Mutant::WritesBlindly, Faults { levels: 2, deposed: true, ..usual() });
}

#[test]
fn an_issuer_that_signs_under_an_epoch_before_the_change_that_caused_it_is_caught() {
    assert_eq!(caught(Mutant::SignsAhead, Faults { levels: 1, ..usual() }), ACCEPTED);
}

#[test]
fn an_issuer_that_does_not_wait_for_status_is_caught() {
    assert_eq!(caught(Mutant::DoesNotWait, Faults { levels: 1, ..usual() }), "a fresh token is refused");
}

/// What is not promised (ADR 0003); the way is told, so that a repair shows.
#[test]
fn a_policy_that_arrives_after_the_epoch_it_caused_is_the_one_gap() {
    let faults = Faults { grants: 1, late: Some(Late::Policies), ..usual() };
    let Broken { promise, way } = search::search(&Bench::new(faults, None)).expect_err("the gap");
    assert_eq!((promise.as_str(), way.last()), (ACCEPTED, Some(&"the issuer signs for a")), "{way:#?}");
    assert!(way.contains(&"the issuer sees the client") && !way.contains(&"the issuer sees the policies"), "{way:#?}");
}
