//! Client secrets. `S` takes eight bytes of issue time, eight of the earliest time accepted and a line with another
//! client's id, and signs a value as the controller does; anything else is a presented value.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::client_secret::{
    Presented, Record, RecordKey, Refusal, SignerKeyring, VerifyingKeys, accept, check_strength, message, value,
};
use countersign_core::names::{ClientId, IssuerName};
use jiff::Timestamp;

use super::world::{now, public_key, sign};

static SIGNER: LazyLock<VerifyingKeys> = LazyLock::new(|| {
    let key = public_key().try_into().expect("an Ed25519 key has 32 bytes");
    VerifyingKeys::new(&SignerKeyring::default().with_version(key, now()))
});
static RECORDS: LazyLock<RecordKey> = LazyLock::new(|| RecordKey::new(&[9; 32]));

pub fn run(data: &[u8]) {
    if let Some((b'S', rest)) = data.split_first() {
        return signed(rest);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    presented(text);
}

fn names() -> (IssuerName, ClientId) {
    (IssuerName::new("default").expect("a name"), ClientId::new("shop.checkout").expect("an id"))
}

fn presented(text: &str) {
    let (issuer, client) = names();
    assert!(accept(text, &client, &issuer, &SIGNER, Timestamp::MIN).is_err(), "nobody but the controller can sign");
    if Presented::parse(text).is_ok() {
        let encoded = text.strip_prefix("cs1_").expect("the prefix");
        let bytes = URL_SAFE_NO_PAD.decode(encoded).expect("base64url");
        assert_eq!((URL_SAFE_NO_PAD.encode(&bytes).as_str(), bytes.len()), (encoded, 76), "one spelling");
    }
    let record = Record::of(&RECORDS, &client, text);
    assert_eq!(record.matches(&RECORDS, &client, text), text.len() <= 1024);
    assert!(!record.matches(&RECORDS, &client, &format!("{text}x")));
    if check_strength(text).is_ok() {
        assert!((32..=1024).contains(&text.len()) && text.bytes().all(|byte| (0x21..0x7f).contains(&byte)));
    }
}

fn signed(data: &[u8]) {
    let Some((issued, rest)) = data.split_first_chunk::<8>() else { return };
    let Some((earliest, other)) = rest.split_first_chunk::<8>() else { return };
    let time = |bytes: &[u8; 8]| Timestamp::from_second(i64::from_be_bytes(*bytes) % 300_000_000_000);
    let (Ok(issued), Ok(earliest)) = (time(issued), time(earliest)) else { return };
    let (issuer, client) = names();
    let text = value(1, issued, &sign(&message(&issuer, &client, 1, issued)));
    let accepted = accept(&text, &client, &issuer, &SIGNER, earliest);
    match &accepted {
        Ok(good) => assert!((good.issued_at, good.version) == (issued, 1) && issued >= earliest),
        Err(refusal) => assert!(*refusal == Refusal::TooOld && issued < earliest),
    }
    let other = std::str::from_utf8(other).ok().and_then(|name| ClientId::new(name).ok());
    if let Some(other) = other.filter(|other| *other != client) {
        assert_eq!(accept(&text, &other, &issuer, &SIGNER, earliest), Err(Refusal::BadSignature), "another client's");
    }
    let elsewhere = IssuerName::new("other").expect("a name");
    assert_eq!(accept(&text, &client, &elsewhere, &SIGNER, earliest), Err(Refusal::BadSignature), "another issuer's");
    assert!(accept(&text[..text.len() - 1], &client, &issuer, &SIGNER, earliest).is_err());
}
