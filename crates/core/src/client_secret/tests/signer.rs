//! The signer's keyring through loss, restore and retirement.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::client_secret::{SignerHalf, SignerKeyring, SignerObserved, SignerStep, VersionState};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn half(version: u8) -> SignerHalf {
    SignerHalf { version: version.into(), public_key: [version; 32], created_at: at(version.into()) }
}

/// Versions 1 to `last`, each made when the one before was lost.
fn keyring(last: u8) -> SignerKeyring {
    (1..=last)
        .fold(SignerKeyring::default(), |keyring, version| keyring.with_version(&[version; 32], at(version.into())))
}

fn step(
    stored: Option<&SignerKeyring>,
    remembered: &SignerKeyring,
    halves: &[SignerHalf],
    in_use: Option<&[u32]>,
) -> SignerStep {
    let in_use: Option<BTreeSet<u32>> = in_use.map(|versions| versions.iter().copied().collect());
    SignerKeyring::step(stored, &SignerObserved { remembered, halves, in_use: in_use.as_ref() })
}

fn states(keyring: &SignerKeyring) -> Vec<(u32, VersionState)> {
    keyring.versions.iter().map(|version| (version.version, version.state)).collect()
}

fn written(step: SignerStep) -> SignerKeyring {
    match step {
        SignerStep::Write(keyring) => keyring,
        other => panic!("{other:?}"),
    }
}

const NOTHING: &SignerKeyring = &SignerKeyring { serial: 0, versions: Vec::new() };

#[test]
fn the_first_version_is_made_and_then_all_is_at_rest() {
    assert_eq!(step(None, NOTHING, &[], Some(&[])), SignerStep::Make(NOTHING.clone(), 1));
    let first = keyring(1);
    assert_eq!(step(Some(&first), &first, &[half(1)], Some(&[1])), SignerStep::Rest);
    assert_eq!(step(Some(&first), NOTHING, &[half(1)], None), SignerStep::Rest);
}

#[test]
fn a_lost_keyring_is_what_the_process_remembers_with_a_higher_serial() {
    let before = keyring(2);
    let after = written(step(None, &before, &[half(2)], None));
    assert_eq!((after.serial, &after.versions), (before.serial + 1, &before.versions));
    assert_eq!(step(Some(&after), &after, &[half(2)], None), SignerStep::Rest);
}

#[test]
fn a_lost_keyring_nobody_remembers_is_put_together_from_the_private_halves() {
    use VersionState::{Active, Retiring};
    let after = written(step(None, NOTHING, &[half(2), half(1)], None));
    assert_eq!(states(&after), [(1, Retiring), (2, Active)]);
    assert_eq!(after.versions[1].public_key, keyring(2).versions[1].public_key);
}

#[test]
fn a_lost_private_half_asks_for_the_version_after_all_that_are_known() {
    let two = keyring(2);
    assert_eq!(step(Some(&two), NOTHING, &[half(1)], None), SignerStep::Make(two.clone(), 3));
    assert_eq!(step(None, &two, &[], None), SignerStep::Make(two, 3));
}

#[test]
fn an_older_keyring_that_was_put_back_takes_nothing_back() {
    use VersionState::{Active, Removed};
    let (old, mut new) = (keyring(1), keyring(2));
    new.versions[0].state = Removed;
    let after = written(step(Some(&old), &new, &[half(1), half(2)], None));
    assert_eq!((states(&after), after.serial > new.serial), (vec![(1, Removed), (2, Active)], true));
}

#[test]
fn one_begun_anew_and_one_remembered_keep_both_keys_of_a_version() {
    let (held, anew) = (keyring(2), SignerKeyring::default().with_version(&[9; 32], at(9)));
    for merged in [held.merged(&anew), anew.merged(&held)] {
        let keys: Vec<_> = merged.versions.iter().map(|version| (version.version, version.state)).collect();
        let active = merged.active().map(|active| active.public_key.clone());
        assert_eq!((keys.len(), active), (3, held.active().map(|active| active.public_key.clone())));
    }
}

#[test]
fn a_version_is_removed_once_no_client_has_a_value_of_it_and_that_is_known() {
    use VersionState::{Active, Removed, Retiring};
    let three = keyring(3);
    let halves = [half(3)];
    assert_eq!(step(Some(&three), &three, &halves, None), SignerStep::Rest);
    assert_eq!(step(Some(&three), &three, &halves, Some(&[1, 2, 3])), SignerStep::Rest);
    let after = written(step(Some(&three), &three, &halves, Some(&[2, 3])));
    assert_eq!(states(&after), [(1, Removed), (2, Retiring), (3, Active)]);
    let last = written(step(Some(&after), &three, &halves, Some(&[])));
    assert_eq!(states(&last), [(1, Removed), (2, Removed), (3, Active)]);
}
