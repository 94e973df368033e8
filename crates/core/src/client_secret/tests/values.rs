//! What is accepted: this client's values, in one spelling, not too old.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jiff::Timestamp;

use crate::client_secret::*;
use crate::names::{ClientId, IssuerName};

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key")
}

fn public(seed: u8) -> [u8; 32] {
    key(seed).public_key().as_ref().try_into().expect("32 bytes")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

fn client(id: &str) -> ClientId {
    ClientId::new(id).expect("a client id")
}

fn issuer(name: &str) -> IssuerName {
    IssuerName::new(name).expect("an issuer name")
}

fn signed(seed: u8, version: u32, id: &str, issued_at: i64) -> String {
    let message = message(&issuer("default"), &client(id), version, at(issued_at));
    let signature = key(seed).sign(&message).as_ref().try_into().expect("64 bytes");
    value(version, at(issued_at), &signature)
}

fn keys() -> VerifyingKeys {
    let one = SignerKeyring::default().with_version(&public(1), at(0));
    VerifyingKeys::new(&one.with_version(&public(2), at(10)))
}

fn judge(text: &str, id: &str, not_before: i64) -> Result<Accepted, Refusal> {
    accept(text, &client(id), &issuer("default"), &keys(), at(not_before))
}

#[test]
fn a_value_is_good_for_its_client_from_its_issue_time_on() {
    for (seed, version) in [(1, 1), (2, 2)] {
        let text = signed(seed, version, "shop.checkout", 1000);
        assert_eq!(text.len(), 106);
        assert_eq!(judge(&text, "shop.checkout", 1000), Ok(Accepted { issued_at: at(1000), version }));
        assert_eq!(judge(&text, "shop.checkout", 1001), Err(Refusal::TooOld));
        assert_eq!(judge(&text, "shop.checkou", 0), Err(Refusal::BadSignature));
        assert_eq!(judge(&text, "shop.checkout2", 0), Err(Refusal::BadSignature));
        let elsewhere = accept(&text, &client("shop.checkout"), &issuer("other"), &keys(), at(0));
        assert_eq!(elsewhere, Err(Refusal::BadSignature));
    }
}

#[test]
fn a_value_we_did_not_sign_is_refused() {
    for (text, expected) in [
        (signed(2, 1, "shop.checkout", 1000), Refusal::BadSignature),
        (signed(1, 3, "shop.checkout", 1000), Refusal::UnknownVersion),
        (signed(1, 0, "shop.checkout", 1000), Refusal::UnknownVersion),
        (value(1, at(1000), &[0; 64]), Refusal::BadSignature),
        (value(1, at(1000), &[0xff; 64]), Refusal::BadSignature),
    ] {
        assert_eq!(judge(&text, "shop.checkout", 0), Err(expected));
    }
}

#[test]
fn there_is_one_spelling_of_each_value() {
    let good = signed(1, 1, "shop.checkout", 1000);
    let last = if good.ends_with('A') { "B" } else { "A" };
    for bad in [
        String::new(),
        "cs1_".to_owned(),
        good[4..].to_owned(),
        good.replace("cs1_", "cs2_"),
        good.replace("cs1_", "CS1_"),
        format!("{good}="),
        format!("{good}A"),
        format!(" {good}"),
        good[..105].to_owned(),
        format!("cs1_{}", "é".repeat(51)),
        format!("cs1_{}", "A".repeat(1 << 20)),
    ] {
        assert_eq!(judge(&bad, "shop.checkout", 0), Err(Refusal::Form), "{}", &bad[..bad.len().min(8)]);
    }
    // The last character carries four stray bits.
    let twin = judge(&format!("{}{last}", &good[..105]), "shop.checkout", 0);
    assert!(matches!(twin, Err(Refusal::Form | Refusal::BadSignature)));
}

#[test]
fn a_removed_version_and_an_unreadable_one_sign_nothing_good() {
    let mut keyring = SignerKeyring::default().with_version(&public(1), at(0)).with_version(&public(2), at(10));
    assert_eq!((keyring.serial, keyring.next_version(), keyring.active().map(|v| v.version)), (2, 3, Some(2)));
    keyring.versions[0].state = VersionState::Removed;
    keyring.versions[1].public_key = "AAAA".to_owned();
    let keys = VerifyingKeys::new(&keyring);
    assert!(keys.is_empty());
    for (seed, version) in [(1, 1), (2, 2)] {
        let text = signed(seed, version, "shop.checkout", 1000);
        let refused = accept(&text, &client("shop.checkout"), &issuer("default"), &keys, at(0));
        assert_eq!(refused, Err(Refusal::UnknownVersion));
    }
}

#[test]
fn no_two_messages_are_alike() {
    let of = |issuer_name: &str, id: &str| message(&issuer(issuer_name), &client(id), 1, at(1));
    assert_ne!(of("ab", "c"), of("a", "bc"));
    assert!(!format!("{:?}", Presented::parse(&signed(1, 1, "a.b", 5)).expect("a value")).contains("signature"));
}

proptest::proptest! {
    #[test]
    fn any_text_is_refused_without_a_panic(text in "(cs1_)?[A-Za-z0-9_-]{0,120}") {
        proptest::prop_assert!(judge(&text, "shop.checkout", 0).is_err());
    }

    #[test]
    fn a_value_with_any_one_byte_changed_is_refused(place in 0usize..106, byte in 0x21u8..0x7f) {
        let good = signed(1, 1, "shop.checkout", 1000);
        let mut bytes = good.clone().into_bytes();
        bytes[place] = byte;
        let text = String::from_utf8(bytes).expect("ASCII");
        proptest::prop_assume!(text != good);
        proptest::prop_assert!(judge(&text, "shop.checkout", 0).is_err());
    }
}
