//! Boundaries of time: exact, with one leeway for all of them.

use std::time::Duration;

use super::*;

const LEEWAY: i64 = 60;

fn at(changes: &[(&str, i64)]) -> Result<(), TokenRefusal> {
    let mut claims = good();
    for (name, value) in changes {
        claims[*name] = json!(value);
    }
    judge(&claims).map(drop)
}

#[test]
fn jwt_14_each_boundary_is_exact() {
    assert_eq!(at(&[("iat", NOW - 600), ("exp", NOW - LEEWAY + 1)]), Ok(()));
    assert_eq!(at(&[("iat", NOW - 600), ("exp", NOW - LEEWAY)]), Err(TokenRefusal::Expired));
    assert_eq!(at(&[("iat", NOW - 600), ("exp", NOW - LEEWAY - 1)]), Err(TokenRefusal::Expired));
    assert_eq!(at(&[("nbf", NOW + LEEWAY - 1)]), Ok(()));
    assert_eq!(at(&[("nbf", NOW + LEEWAY)]), Ok(()));
    assert_eq!(at(&[("nbf", NOW + LEEWAY + 1)]), Err(TokenRefusal::NotYetValid));
    assert_eq!(at(&[("iat", NOW + LEEWAY)]), Ok(()));
    assert_eq!(at(&[("iat", NOW + LEEWAY + 1)]), Err(TokenRefusal::NotYetValid));
    assert_eq!(at(&[("exp", NOW + 3600)]), Ok(()));
    assert_eq!(at(&[("exp", NOW + 3601)]), Err(TokenRefusal::LivesTooLong));
    assert_eq!(at(&[("exp", NOW)]), Err(TokenRefusal::BadClaims));
    assert_eq!(at(&[("iat", 0), ("exp", NOW + 1)]), Err(TokenRefusal::LivesTooLong));
}

#[test]
fn a_token_of_a_key_from_more_generous_times_is_good_to_its_end() {
    let es256 = key(Algorithm::ES256);
    let mut generous = ring([(es256.jwk.clone(), KeyState::Retiring)]);
    generous.keys[0].longest_lifetime = SignedDuration::from_hours(2);
    let keys = KeySet::build([&generous], []);
    let text = es256.token(&es256.header(), &with("exp", json!(NOW + 7200)));
    let now = Timestamp::from_second(NOW).expect("a time");
    assert!(verify(&text, &keys, ISSUER, now, &Timings::default()).is_ok());
    let short = Timings { max_access_token_lifetime: Duration::from_mins(1), ..Timings::default() };
    assert!(verify(&text, &keys, ISSUER, now, &short).is_ok());
}

#[test]
fn a_cached_token_ends_on_the_same_second_as_a_fresh_one() {
    let cached = judge(&good()).expect("a good token");
    let (keys, revoked) = (key_set(), crate::revocation::Revoked::default());
    for (now, expected) in [
        (NOW - LEEWAY - 1, Err(TokenRefusal::NotYetValid)),
        (NOW - LEEWAY, Ok(())),
        (NOW + 600 + LEEWAY - 1, Ok(())),
        (NOW + 600 + LEEWAY, Err(TokenRefusal::Expired)),
    ] {
        assert_eq!(cached.check(&keys, &revoked, now, LEEWAY), expected);
    }
}
