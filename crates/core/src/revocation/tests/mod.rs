//! Entries, shards, the merged view and epochs.

mod search;
mod world;

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::names::{Audience, Uid};
use crate::scope::ScopeSet;
use crate::timings::Timings;
use crate::token::{AccessToken, TokenRefusal};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

fn uid(text: &str) -> Uid {
    Uid::new(text).expect("a uid")
}

fn audience(text: &str) -> Audience {
    Audience::new(text).expect("an audience")
}

/// A new epoch of a subject: read, though nothing writes it yet.
fn anna() -> Entry {
    let revocation = Revocation::Subject { subject: "anna".to_owned(), epoch: 1 };
    Entry { revocation, ..client("u", None, 1) }
}

fn token(id: &str, client: &str, epoch: u64) -> AccessToken {
    AccessToken {
        subject: "anna".into(),
        audience: audience("https://a.example"),
        client_id: "shop.checkout".parse().expect("a client id"),
        scope: ScopeSet::parse("read").expect("a scope"),
        expires_at: 2000,
        issued_at: 1000,
        not_before: None,
        token_id: id.parse().expect("a jti"),
        client_uid: Some(uid(client)),
        client_epoch: epoch,
        subject_epoch: 0,
        key_id: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs".parse().expect("a kid"),
        exchanged: Box::default(),
        bound_to: None,
        claims: serde_json::Map::new(),
    }
}

fn client(name: &str, for_audience: Option<&str>, epoch: u64) -> Entry {
    Entry::client(uid(name), for_audience.map(audience), epoch, at(1000), &Timings::default())
}

fn shard(entries: impl IntoIterator<Item = Entry>) -> Shard {
    let mut shard = Shard::default();
    for entry in entries {
        shard.insert(entry, at(1000), &Timings::default()).expect("room");
    }
    shard
}

#[test]
fn an_epoch_refuses_what_was_issued_under_an_earlier_one() {
    let view = Revoked::build([&shard([client("u", None, 3)])], at(1000));
    assert_eq!(view.check(&token("t", "u", 2)), Err(TokenRefusal::OldEpoch));
    assert_eq!(view.check(&token("t", "u", 3)), Ok(()));
    assert_eq!(view.check(&token("t", "other", 0)), Ok(()));
    assert_eq!((view.epoch_of(&uid("u")), view.epoch_of(&uid("other"))), (3, 0));
}

#[test]
fn a_withdrawn_grant_refuses_for_its_audience_only() {
    for (for_audience, expected) in [("https://a.example", Err(TokenRefusal::OldEpoch)), ("https://b.example", Ok(()))]
    {
        let view = Revoked::build([&shard([client("u", Some(for_audience), 3)])], at(1000));
        assert_eq!(view.check(&token("t", "u", 2)), expected);
        assert_eq!(view.epoch_of(&uid("u")), 3, "status catches up with it");
    }
}

#[test]
fn an_epoch_counts_for_its_audience_and_one_for_all_counts_for_each() {
    let entries = [client("u", Some("https://a.example"), 3), client("u", None, 2)];
    let view = Revoked::build([&shard(entries)], at(1000));
    let epoch = |name: &str, audience: &str| view.epoch_for(&uid(name), &Audience::new(audience).expect("an audience"));
    assert_eq!((epoch("u", "https://a.example"), epoch("u", "https://b.example")), (3, 2));
    assert_eq!(epoch("other", "https://a.example"), 0);
}

#[test]
fn only_clients_whose_epoch_grew_are_told() {
    let before = Revoked::build([&shard([client("u", None, 2), client("v", None, 2)])], at(1000));
    let more = shard([client("u", Some("https://a.example"), 3), client("v", Some("https://a.example"), 2)]);
    let after = before.with([&more], at(1000));
    assert_eq!(after.raised_since(&before).collect::<Vec<_>>(), [&uid("u")]);
    assert_eq!(after.raised_since(&Revoked::default()).count(), 2);
    assert_eq!(before.raised_since(&after).count(), 0);
}

#[test]
fn one_token_or_one_subject_is_refused_alone() {
    let one = Entry::token(&token("t", "u", 2), at(1000), &Timings::default());
    assert_eq!(one.ends_at, at(2000 + 120), "exp + L + S");
    let view = Revoked::build([&shard([one])], at(1000));
    assert_eq!(view.check(&token("t", "u", 2)), Err(TokenRefusal::Revoked));
    assert_eq!(view.check(&token("t2", "u", 2)), Ok(()));
    let view = Revoked::build([&shard([anna()])], at(1000));
    assert_eq!(view.check(&token("t", "u", 2)), Err(TokenRefusal::OldEpoch));
}

#[test]
fn entries_live_until_nothing_they_concern_can_be_good() {
    let timings = Timings::default();
    let entry = client("u", None, 3);
    let life = i64::try_from(timings.epoch_entry_for().as_secs()).expect("a life");
    assert_eq!(life, 12 * 3600 + 30 + 3600 + 60 + 60, "G + W + T + L + S");
    let mut shard = shard([entry]);
    assert_eq!(shard.wake_at(), Some(at(1000 + life)));
    assert!(!shard.expire(at(1000 + life - 1)));
    assert!(shard.expire(at(1000 + life)) && shard.entries.is_empty());
}

#[test]
fn a_running_replica_forgets_nothing_before_its_end() {
    let before = Revoked::build([&shard([client("u", None, 3), client("u", Some("https://b.example"), 4)])], at(1000));
    let restored = before.with([&shard([client("u", None, 2)])], at(1001));
    assert_eq!(restored.check(&token("t", "u", 2)), Err(TokenRefusal::OldEpoch));
    assert_eq!(restored.len(), 2);
    assert!(before.with([], at(1_000_000)).is_empty(), "after their ends they go");
}

#[test]
fn an_entry_that_says_nothing_new_is_not_kept_twice() {
    let mut shard = shard([client("u", None, 3)]);
    for same in [client("u", None, 3), client("u", None, 2), client("u", Some("https://a.example"), 3)] {
        shard.insert(same, at(1000), &Timings::default()).expect("room");
        assert_eq!(shard.entries.len(), 1);
    }
    let single = Entry::token(&token("t", "u", 2), at(1000), &Timings::default());
    shard.insert(single, at(1000), &Timings::default()).expect("room");
    assert_eq!(shard.entries.len(), 1, "the epoch covers the token");
    shard.insert(client("u", None, 9), at(1000), &Timings::default()).expect("room");
    assert_eq!(shard.entries, [client("u", None, 9)]);
}

#[test]
fn many_tokens_of_one_client_become_its_next_epoch() {
    let tokens = (0..=Shard::MAX_TOKENS_OF_CLIENT)
        .map(|n| Entry::token(&token(&format!("t{n}"), "u", n as u64 % 3), at(1000), &Timings::default()));
    let shard = shard(tokens);
    assert_eq!(shard.entries, [client("u", None, 3)]);
}

#[test]
fn a_full_shard_says_so_and_keeps_all_it_has() {
    let mut full = shard((0..Shard::MAX).map(|n| client(&format!("u{n}"), None, 1)));
    let before = full.clone();
    assert_eq!(full.insert(client("late", None, 1), at(1000), &Timings::default()), Err(ShardFull));
    assert_eq!(full, before);
}

#[test]
fn a_shard_reads_back_as_it_was_written() {
    let entries = [
        client("u", Some("https://a.example"), 3),
        client("v", None, 3).decided_on(version("8")),
        client("w", None, 3).decided_on(DecidedOn::Deletion),
        Entry::token(&token("t", "v", 3), at(1000), &Timings::default()),
        anna(),
    ];
    let shard = shard(entries);
    let text = serde_json::to_string(&shard).expect("a document");
    assert!(
        text.contains(r#""type":"Client","client":"u","audience":"https://a.example","epoch":3,"writtenAt""#),
        "{text}"
    );
    for decided_on in [r#""epoch":3,"decidedOn":{"resourceVersion":"8"}"#, r#""epoch":3,"decidedOn":"deletion""#] {
        assert!(text.contains(decided_on), "{text}");
    }
    assert_eq!(serde_json::from_str::<Shard>(&text).ok(), Some(shard));
}

fn granted(entries: &[(&str, &str)]) -> BTreeMap<Audience, ScopeSet> {
    entries.iter().map(|(name, scopes)| (audience(name), ScopeSet::parse(scopes).expect("scopes"))).collect()
}

fn version(version: &str) -> DecidedOn {
    DecidedOn::ResourceVersion(version.to_owned())
}

/// An epoch in the revocations, and what its entry says it was decided on.
fn known(epoch: u64, decided_on: Option<DecidedOn>) -> KnownEpoch {
    KnownEpoch { epoch, decided_on }
}

fn now(basis: EpochBasis, scopes: &[(&str, &str)]) -> EpochObserved {
    EpochObserved { basis, granted: granted(scopes), decided_on: version("7"), known: KnownEpoch::default() }
}

const BOTH: [(&str, &str); 2] = [("https://a.example", "read write"), ("https://b.example", "read")];

fn memory() -> EpochMemory {
    EpochMemory { epoch: 4, basis: Some(EpochBasis::default()), granted: granted(&BOTH) }
}

#[test]
fn an_epoch_grows_on_what_revokes_and_on_nothing_else() {
    let basis = EpochBasis::default;
    let suspended = EpochBasis { suspended: true, ..basis() };
    let tokens = EpochBasis { tokens_not_before: Some(at(5)), ..basis() };
    let secrets = EpochBasis { reject_issued_before: Some(at(5)), ..basis() };
    let everywhere = vec![(None, 5)];
    let a = |epoch| vec![(Some(audience("https://a.example")), epoch)];
    for (observed, entries) in [
        (now(basis(), &BOTH), vec![]),
        (now(suspended, &BOTH), everywhere.clone()),
        (now(tokens, &BOTH), everywhere.clone()),
        (now(secrets, &BOTH), everywhere.clone()),
        (EpochObserved { decided_on: DecidedOn::Deletion, ..now(basis(), &BOTH) }, everywhere),
        (now(basis(), &[("https://a.example", "read"), BOTH[1]]), a(5)),
        (now(basis(), &BOTH[1..]), a(5)),
        (now(basis(), &[BOTH[0], BOTH[1], ("https://c.example", "read")]), vec![]),
        (EpochObserved { known: known(7, None), ..now(basis(), &BOTH[1..]) }, a(8)),
        (EpochObserved { known: known(7, None), ..now(basis(), &BOTH) }, vec![]),
    ] {
        let step = epoch_step(&memory(), &observed);
        assert_eq!(step.entries, entries, "{observed:?}");
        let expected = entries.first().map_or(observed.known.epoch.max(4), |(_, epoch)| *epoch);
        assert_eq!(step.memory.epoch, expected);
        if observed.decided_on != DecidedOn::Deletion {
            let again = epoch_step(&step.memory, &observed);
            assert_eq!(again, EpochStep { memory: step.memory, entries: vec![] }, "once is enough");
        }
    }
}

#[test]
fn the_same_decision_once_more_goes_on_with_its_epoch_and_no_other_does() {
    let deleted = EpochObserved { decided_on: DecidedOn::Deletion, ..now(EpochBasis::default(), &BOTH) };
    let withdrawn = now(EpochBasis::default(), &BOTH[1..]);
    for (observed, known, epoch) in [
        (&withdrawn, known(5, Some(version("7"))), 5),
        (&withdrawn, known(9, Some(version("7"))), 9),
        (&withdrawn, known(5, Some(version("6"))), 6),
        (&withdrawn, known(5, Some(DecidedOn::Deletion)), 6),
        (&withdrawn, known(5, None), 6),
        // Status has told of it: tokens may carry it.
        (&withdrawn, known(4, Some(version("7"))), 5),
        (&withdrawn, known(5, Some(version("7"))).in_use(5), 6),
        (&withdrawn, known(5, Some(version("7"))).in_use(4), 5),
        (&deleted, known(5, Some(DecidedOn::Deletion)), 5),
        (&deleted, known(5, Some(version("7"))), 6),
    ] {
        let step = epoch_step(&memory(), &EpochObserved { known: known.clone(), ..observed.clone() });
        assert_eq!(step.entries.iter().map(|(_, epoch)| *epoch).collect::<Vec<_>>(), [epoch], "{known:?}");
        assert_eq!(step.memory.epoch, epoch, "{known:?}");
    }
}

#[test]
fn the_view_knows_what_the_highest_epoch_was_decided_on() {
    let entries = [
        client("u", Some("https://a.example"), 3).decided_on(version("8")),
        client("u", None, 2).decided_on(version("9")),
        client("u", Some("https://b.example"), 3),
    ];
    let shards = entries.map(|entry| shard([entry]));
    let view = Revoked::build(&shards, at(1000));
    assert_eq!(view.known_epoch_of(&uid("u")), known(3, Some(version("8"))));
    let other_way_round = Revoked::build(shards.iter().rev(), at(1000));
    assert_eq!(other_way_round.known_epoch_of(&uid("u")), view.known_epoch_of(&uid("u")));
    assert_eq!(view.known_epoch_of(&uid("other")), KnownEpoch::default());
}

#[test]
fn what_is_given_back_revokes_nothing() {
    let strict = EpochBasis { suspended: true, tokens_not_before: Some(at(5)), reject_issued_before: Some(at(5)) };
    let before = EpochMemory { basis: Some(strict), ..memory() };
    assert_eq!(epoch_step(&before, &now(EpochBasis::default(), &BOTH)).entries, []);
}

#[test]
fn lost_status_keeps_the_epoch_the_revocations_know() {
    let lost = EpochMemory::default();
    let observed =
        EpochObserved { known: known(6, None), ..now(EpochBasis { suspended: true, ..EpochBasis::default() }, &BOTH) };
    let step = epoch_step(&lost, &observed);
    assert_eq!((step.memory.epoch, step.entries), (6, vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_shard_never_refuses_less_than_all_that_was_put_in(
        entries in proptest::collection::vec((0u8..3, 0u8..4, 0u64..5, 0u8..2), 1..150)
    ) {
        let timings = Timings::default();
        let mut shard = Shard::default();
        let entries: Vec<_> = entries.iter().enumerate().map(|(n, (kind, name, epoch, narrow))| match kind {
            0 => client(&format!("u{name}"), (*narrow == 1).then_some("https://a.example"), *epoch),
            _ => Entry::token(&token(&format!("t{n}"), &format!("u{name}"), *epoch), at(1000), &timings),
        }).collect();
        for entry in &entries {
            shard.insert(entry.clone(), at(1000), &timings).expect("room");
        }
        let (apart, together) = (Shard { entries: entries.clone() }, shard);
        let (all, kept) = (Revoked::build([&apart], at(1000)), Revoked::build([&together], at(1000)));
        for n in 0..150 {
            for epoch in 0..5 {
                let probe = token(&format!("t{n}"), &format!("u{}", n % 4), epoch);
                // A single token is named with the epoch it carries, so only such probes exist.
                let real = entries.iter().any(|entry| *entry == Entry::token(&probe, at(1000), &timings));
                if real || !entries.iter().any(|entry| matches!(&entry.revocation, Revocation::Token { token, .. } if *token == probe.token_id)) {
                    prop_assert!(all.check(&probe).is_ok() || kept.check(&probe).is_err());
                }
            }
        }
    }
}
