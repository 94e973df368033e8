//! Tokens read for their owner, without a key; and with the keys of a JWKS document alone.

use super::*;

fn read(text: &str) -> Result<AccessToken, TokenRefusal> {
    let now = Timestamp::from_second(NOW).unwrap_or_default();
    read_without_checking_signature(text, ISSUER, now, &Timings::default())
}

fn without_signature(claims: &Value) -> String {
    let key = key(Algorithm::ES256);
    let signed = key.token(&key.header(), claims);
    format!("{}.AAAA", signed.rsplit_once('.').expect("three parts").0)
}

#[test]
fn all_but_the_signature_is_checked_as_ever() {
    let key = key(Algorithm::ES256);
    let whole = verify_now(&key.token(&key.header(), &good())).expect("a good token");
    assert_eq!(read(&without_signature(&good())), Ok(whole));
    for (claims, refusal) in [
        (with("exp", json!(NOW - 300)), TokenRefusal::BadClaims),
        (with("nbf", json!(NOW + 3000)), TokenRefusal::NotYetValid),
        (with("exp", json!(NOW + 4000)), TokenRefusal::LivesTooLong),
        (with("iss", json!("https://else.example")), TokenRefusal::WrongIssuer),
        (with("scope", Value::Null), TokenRefusal::MissingClaim),
    ] {
        assert_eq!(read(&without_signature(&claims)), Err(refusal), "{claims}");
        assert_eq!(judge(&claims), Err(refusal), "{claims}");
    }
    assert_eq!(read("a.b"), Err(TokenRefusal::Malformed));
}

#[test]
fn a_jwks_document_is_enough_to_check_a_signature() {
    let key = key(Algorithm::ES256);
    let document = serde_json::to_string(&key_set().jwks()).expect("a document");
    let keys = KeySet::of_jwks(&serde_json::from_str(&document).expect("its own document"));
    let now = Timestamp::from_second(NOW).expect("a time");
    let check = |text: &str| verify(text, &keys, ISSUER, now, &Timings::default()).map(drop);
    assert_eq!(check(&key.token(&key.header(), &good())), Ok(()));
    assert_eq!(check(&without_signature(&good())), Err(TokenRefusal::BadSignature));
}
