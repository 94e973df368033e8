//! The life of authorities and leaves: by example, and in every world the search can visit.

mod world;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::tests::search::{bound, caught, holds, walk};
use world::{Mutant, SMALL, State, World, at};

/// Walks through a world in which nothing goes wrong.
fn after(seconds: usize) -> State {
    walk(&World { faults: 0, away: 0, ..World::default() }, &vec![0; seconds]).expect("every promise holds")
}

fn numbers(state: &State) -> Vec<(u64, &'static str)> {
    let name = |each: &Authority| match (each.is_published(), each.is_active()) {
        (true, _) => "published",
        (_, true) => "active",
        _ => "retiring",
    };
    state.stored.iter().flat_map(|bundle| &bundle.authorities).map(|each| (each.number, name(each))).collect()
}

#[test]
fn the_first_look_makes_an_authority_that_signs_at_once() {
    let state = after(1);
    assert_eq!(numbers(&state), [(1, "active")]);
    let (_, leaf) = state.leaf.expect("a leaf");
    assert_eq!((leaf.not_before, leaf.not_after), (at(1_000), at(1_037)));
}

#[test]
fn nothing_is_written_while_nothing_is_due() {
    assert_eq!(after(2).stored, after(20).stored);
    assert_eq!(after(2).leaf, after(20).leaf);
}

#[test]
fn a_leaf_is_renewed_when_a_third_of_its_life_is_left() {
    let ends = |seconds| after(seconds).leaf.expect("a leaf").1.not_after;
    assert_eq!((ends(24), ends(25)), (at(1_037), at(1_061)));
}

#[test]
fn a_successor_is_known_before_it_signs_and_the_old_authority_stays_until_its_last_leaf_has_ended() {
    // The authority of second 1001 lasts until 1145; a third of its life is left at 1096 and some.
    assert_eq!(numbers(&after(96)), [(1, "active")]);
    assert_eq!(numbers(&after(97)), [(1, "active"), (2, "published")]);
    assert_eq!(numbers(&after(102)), [(1, "active"), (2, "published")]);
    let moved = after(103);
    assert_eq!(numbers(&moved), [(1, "retiring"), (2, "active")]);
    assert_eq!(moved.leaf.as_ref().expect("a leaf").1.authority, 2);
    let (before, over) = (after(139), after(140));
    assert_eq!((numbers(&before), before.keys.len()), (vec![(1, "retiring"), (2, "active")], 2));
    assert_eq!((numbers(&over), over.keys.len()), (vec![(2, "active")], 1), "its private half goes with it");
}

#[test]
fn the_bundle_is_every_certificate_in_a_row() {
    let bundle = after(103).stored.expect("a bundle");
    assert_eq!(bundle.certificates(), "authority 1 of 1001\nauthority 2 of 1097\n");
    assert_eq!(bundle.newest().map(|newest| newest.number), Some(2));
    let text = serde_json::to_string(&bundle).expect("JSON");
    assert_eq!(serde_json::from_str::<Bundle>(&text).expect("a bundle"), bundle);
}

fn observed<'a>(remembered: &'a Bundle, keys: &'a [AuthorityKey], served: &'a [Served]) -> Observed<'a> {
    Observed { remembered, keys, served, handed_on: true, rotate_at: None }
}

#[test]
fn a_successor_waits_for_those_who_hand_the_bundle_on_but_not_for_ever() {
    let state = after(97);
    let stored = state.stored.as_ref().expect("a bundle");
    let served = [Served { server: Server::Issuer, leaf: state.leaf.as_ref().map(|(_, leaf)| *leaf) }];
    let remembered = Bundle::default();
    let observed = Observed { handed_on: false, ..observed(&remembered, &state.keys, &served) };
    let active = |second| match step(Some(stored), &observed, at(second), &SMALL) {
        Step::Write(bundle) => bundle.active().map(|active| active.number),
        _ => stored.active().map(|active| active.number),
    };
    assert_eq!((active(1_110), active(1_138), active(1_139)), (Some(1), Some(1), Some(2)));
}

#[test]
fn an_authority_that_comes_back_is_trusted_and_signs_nothing() {
    let (old, state) = (after(1), after(150));
    let keys = [old.keys, state.keys.clone()].concat();
    let (remembered, stored) = (Bundle::default(), state.stored.as_ref().expect("a bundle"));
    let Step::Write(bundle) = step(Some(stored), &observed(&remembered, &keys, &[]), at(1_140), &SMALL) else {
        panic!("nothing was written")
    };
    let states: Vec<_> = bundle.authorities.iter().map(|each| (each.number, each.is_active())).collect();
    assert_eq!(states, [(1, false), (2, true)]);
}

#[test]
fn lifetimes_that_leave_somebody_without_a_good_leaf_are_refused() {
    assert_eq!(CertificateTimings::default().check(), Ok(()));
    assert_eq!(SMALL.check(), Ok(()));
    let short = CertificateTimings { leaf_lifetime: Duration::from_secs(35), ..SMALL };
    assert_eq!(short.check(), Err(RefusedLifetimes::LeafTooShort));
    let short = CertificateTimings { authority_lifetime: Duration::from_secs(125), ..SMALL };
    assert_eq!(short.check(), Err(RefusedLifetimes::AuthorityTooShort));
}

#[test]
fn no_way_the_controller_is_away_or_stops_breaks_a_promise() {
    holds(&World { crashes: true, away: 1, horizon: bound(112, 300), ..World::default() });
}

#[test]
fn no_deletion_breaks_a_promise() {
    holds(&World { losses: true, away: 0, faults: bound(1, 2), ..World::default() });
}

#[test]
fn no_lost_private_half_breaks_a_promise() {
    holds(&World { lost_keys: true, away: 0, ..World::default() });
}

#[test]
fn no_restored_backup_breaks_a_promise() {
    holds(&World { restores: true, away: 0, faults: 2, horizon: bound(160, 300), ..World::default() });
}

#[test]
fn no_rotation_asked_for_breaks_a_promise() {
    holds(&World { rotations: true, away: 0, faults: bound(1, 2), horizon: bound(160, 300), ..World::default() });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(bound(48, 2_000)))]

    #[test]
    fn no_walk_through_several_rotations_breaks_a_promise(
        choices in prop::collection::vec(0usize..720_720, 1..700),
        restores in any::<bool>(),
    ) {
        // What a backup did away with, only a controller that remembers it can bring back.
        let world = World {
            crashes: !restores,
            losses: true,
            restores,
            rotations: true,
            faults: 6,
            horizon: 600,
            ..World::default()
        };
        // Most of the time nothing goes wrong.
        let choices: Vec<_> = choices.iter().map(|choice| if choice % 8 == 0 { choice / 8 } else { 0 }).collect();
        let walked = walk(&world, &choices);
        prop_assert!(walked.is_ok(), "{:#?}", walked.err());
    }
}

const UNTRUSTED: &str = "a client does not trust the leaf that is served";

#[test]
fn a_controller_that_does_not_wait_is_caught() {
    assert_eq!(caught(&World { mutant: Some(Mutant::SkipsPublication), away: 0, ..World::default() }), UNTRUSTED);
}

#[test]
fn a_controller_that_forgets_too_soon_is_caught() {
    assert_eq!(caught(&World { mutant: Some(Mutant::ForgetsAtOnce), away: 0, ..World::default() }), UNTRUSTED);
}
