//! Access tokens. The first byte chooses: `S` has the next line as header and the rest as claims, signed with the issuer's
//! key, so that what lies behind the signature is reached; anything else is the token's text itself.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::timings::Timings;
use countersign_core::token::{AccessToken, TokenRefusal, verify};
use serde_json::Value;

use super::world::{AUDIENCE, ISSUER, KEYS, NOW, jws, line, now, token};

pub fn run(data: &[u8]) {
    if let Some((b'S', rest)) = data.split_first() {
        let (header, claims) = line(rest);
        let text = jws(header, claims);
        if let Ok(read) = read(&text) {
            is_sound(&text, &read);
            spoilt_ones_are_refused(&text);
        }
        return;
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Nobody but the issuer can make a token: this text is none, unless it is the one there is.
    if let Ok(read) = read(text) {
        assert_eq!(text, token());
        is_sound(text, &read);
    }
}

fn read(text: &str) -> Result<AccessToken, TokenRefusal> {
    let first = verify(text, &KEYS, ISSUER, now(), &Timings::default());
    assert_eq!(first, verify(text, &KEYS, ISSUER, now(), &Timings::default()), "one text, one answer");
    first
}

/// What an accepted token says is what any other reader of its text finds there.
fn is_sound(text: &str, read: &AccessToken) {
    let parts: Vec<&str> = text.split('.').collect();
    assert_eq!(parts.len(), 3);
    let bytes = URL_SAFE_NO_PAD.decode(parts[1]).expect("strict base64url");
    assert_eq!(URL_SAFE_NO_PAD.encode(&bytes), parts[1], "one spelling");
    let claims: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(Value::Object(read.claims.clone()), claims);
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["sub"], *read.subject);
    assert_eq!(claims["client_id"], read.client_id.as_str());
    assert_eq!(claims["jti"], read.token_id.as_str());
    assert!(claims["aud"] == read.audience.as_str() || claims["aud"] == serde_json::json!([read.audience.as_str()]));
    assert_eq!((claims["exp"].as_i64(), claims["iat"].as_i64()), (Some(read.expires_at), Some(read.issued_at)));
    assert!(read.issued_at < read.expires_at && read.expires_at - read.issued_at <= 3600);
    assert!(NOW < read.expires_at + 60 && read.issued_at <= NOW + 60 && read.not_before.unwrap_or(0) <= NOW + 60);
    assert!(!read.scope.is_empty());
    // These go into headers as they are.
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    assert!(plain(&read.subject) && plain(read.client_id.as_str()) && plain(read.audience.as_str()));
    assert!(read.scope.to_string().bytes().all(|byte| (0x20..0x7f).contains(&byte)));
    assert_eq!(text == token(), read.audience.as_str() == AUDIENCE && text == token());
}

fn spoilt_ones_are_refused(text: &str) {
    let (message, signature) = text.rsplit_once('.').expect("three parts");
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).expect("a signature");
    bytes[17] ^= 4;
    let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode(&bytes));
    let cut = &text[..text.len() - 1];
    let padded = format!("{text}=");
    let longer = format!("{text}.AA");
    for spoilt in [&*forged, cut, &*padded, &*longer, &text.replacen('.', "..", 1)] {
        assert!(read(spoilt).is_err(), "{spoilt}");
    }
}
