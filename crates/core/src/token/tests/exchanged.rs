//! Tokens that were exchanged: what they say of those they come from, and what becomes of them when those are revoked.

use super::*;
use crate::names::Uid;
use crate::revocation::{Entry, Revoked, Shard};

const KID: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

fn earlier(number: usize) -> Value {
    json!({
        "jti": format!("e{number}"), "client_id": format!("c{number}"), "cuid": format!("u{number}"), "cep": 7,
        "aud": format!("https://a{number}.example"), "kid": KID,
    })
}

/// Claims of a token that comes from so many.
fn exchanged(count: usize) -> Value {
    let act = (0..count.saturating_sub(1)).rev().fold(None::<Value>, |before, number| {
        let mut actor = json!({"sub": format!("c{number}")});
        if let Some(before) = before {
            actor["act"] = before;
        }
        Some(actor)
    });
    let mut outer = json!({"sub": "shop.checkout"});
    if let Some(before) = act {
        outer["act"] = before;
    }
    let mut claims = with("exchanged", (0..count).map(earlier).collect());
    claims["act"] = outer;
    claims["sub"] = json!("somebody");
    claims
}

#[test]
fn a_token_says_what_it_was_exchanged_from_and_who_acts() {
    for count in 1..=MAX_EXCHANGES {
        let token = judge(&exchanged(count)).expect("a good token");
        let ids: Vec<_> = token.exchanged.iter().map(|earlier| earlier.token_id.to_string()).collect();
        assert_eq!(ids, (0..count).map(|number| format!("e{number}")).collect::<Vec<_>>());
        let client_id = "shop.checkout".parse().expect("a client id");
        let written = serde_json::to_value(Delegation::new(&client_id, &token.exchanged, 3)).expect("claims");
        assert_eq!(written, json!({"sep": 3, "act": token.claims["act"], "exchanged": token.claims["exchanged"]}));
        let again = Earlier::after(&token).expect("one more");
        assert_eq!((again.len(), again[0].token_id.as_str(), again[0].client_epoch), (count + 1, "t1", 3));
    }
    let client_id = "shop.checkout".parse().expect("a client id");
    assert_eq!(serde_json::to_value(Delegation::new(&client_id, &[], 0)).expect("claims"), json!({}));
}

#[test]
fn exc_07_what_no_issuer_would_write_is_refused() {
    let change = |change: fn(&mut Value)| {
        let mut claims = exchanged(2);
        change(&mut claims);
        claims
    };
    for (what, claims) in [
        ("no actor", with("exchanged", json!([earlier(0)]))),
        ("an actor of nothing", with("act", json!({"sub": "shop.checkout"}))),
        ("another actor", change(|claims| claims["act"]["sub"] = json!("c0"))),
        ("an actor more", change(|claims| claims["act"]["act"]["act"] = json!({"sub": "c1"}))),
        ("an actor of another issuer", change(|claims| claims["act"]["iss"] = json!("https://else.example"))),
        ("nothing exchanged", change(|claims| claims["exchanged"] = json!([]))),
        ("too many", exchanged(MAX_EXCHANGES + 1)),
        ("no list", change(|claims| claims["exchanged"] = earlier(0))),
        ("a member too few", change(|claims| drop(claims["exchanged"][1].as_object_mut().map(|o| o.remove("kid"))))),
        ("a member too many", change(|claims| claims["exchanged"][1]["exp"] = json!(1))),
        ("an epoch that is text", change(|claims| claims["exchanged"][1]["cep"] = json!("7"))),
        ("an epoch that is a fraction", change(|claims| claims["exchanged"][1]["cep"] = json!(7.0))),
        ("a key id that is none", change(|claims| claims["exchanged"][1]["kid"] = json!("k"))),
        ("its own audience before", change(|claims| claims["exchanged"][1]["aud"] = claims["aud"].clone())),
        ("an audience twice", change(|claims| claims["exchanged"][1]["aud"] = json!("https://a0.example"))),
    ] {
        assert_eq!(judge(&claims), Err(TokenRefusal::BadClaims), "{what}");
    }
    let mut anonymous = exchanged(1);
    let members = anonymous.as_object_mut().expect("an object");
    members.retain(|name, _| name != "cuid" && name != "cep");
    assert_eq!(judge(&anonymous), Err(TokenRefusal::MissingClaim));
}

#[test]
fn exc_09_what_ends_an_earlier_token_ends_those_that_came_of_it() {
    let now = Timestamp::from_second(NOW).expect("a time");
    let key = key(Algorithm::ES256);
    let mut claims = exchanged(2);
    for number in 0..2 {
        claims["exchanged"][number]["kid"] = json!(key.kid());
    }
    let token = judge(&claims).expect("a good token");
    let timings = Timings::default();
    let uid = |number: usize| Uid::new(&format!("u{number}")).expect("a uid");
    let check = |entries: Vec<Entry>| {
        let revoked = Revoked::build([&Shard { entries }], now);
        token.check(&key_set(), &revoked, NOW, 60)
    };
    assert_eq!(check(Vec::new()), Ok(()));
    for number in 0..2 {
        let audience = |text: &str| Some(text.parse().expect("an audience"));
        let own = audience(&format!("https://a{number}.example"));
        for (audience, epoch, expected) in [
            (None, 7, Ok(())),
            (None, 8, Err(TokenRefusal::OldEpoch)),
            (own, 8, Err(TokenRefusal::OldEpoch)),
            (audience("https://orders.shop.svc"), 8, Ok(())),
        ] {
            assert_eq!(check(vec![Entry::client(uid(number), audience, epoch, now, &timings)]), expected, "{number}");
        }
        let one = AccessToken { token_id: format!("e{number}").parse().expect("a jti"), ..token.clone() };
        assert_eq!(check(vec![Entry::token(&one, now, &timings)]), Err(TokenRefusal::Revoked));
    }
    let only = KeySet::build([&ring([(key.jwk.clone(), KeyState::Active)])], []);
    assert_eq!(token.check(&only, &Revoked::default(), NOW, 60), Ok(()));
    let mut foreign = token.clone();
    foreign.exchanged[1].key_id = a_kid();
    let dead = KeySet::build([&ring([(key.jwk.clone(), KeyState::Active)])], [a_kid()]);
    assert_eq!(foreign.check(&dead, &Revoked::default(), NOW, 60), Err(TokenRefusal::KeyRevoked));
}
