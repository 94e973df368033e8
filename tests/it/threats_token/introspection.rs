//! What introspection says, and to whom, and what a revocation needs: INT-01, INT-02, REV-01, REV-02.

use super::{FORM, SOON};
use crate::support::await_condition;
use crate::support::forge::Forge;
use crate::support::http::{Request, Response};
use crate::support::standalone::{Standalone, assert_error, assert_invalid_token, now};
use futures::stream::{self, StreamExt};
use serde_json::json;
use std::fs;

const INTROSPECT: &str = "/oauth2/introspect";
const REVOKE: &str = "/oauth2/revoke";

/// The answer to a client about a token.
async fn told(it: &Standalone, endpoint: &str, client: (&str, &str), token: &str) -> Response {
    let (id, secret) = it.credentials(client.0, client.1);
    it.send(Request::form(endpoint, &[("token", token)]).basic(&id, &secret)).await
}

/// Everybody is told of a token that is not good, or not theirs to know, these bytes alone.
fn assert_inactive(answer: &Response, what: &str) {
    assert_eq!((answer.status, answer.body.as_slice()), (200, br#"{"active":false}"#.as_slice()), "{what}");
}

#[tokio::test]
async fn int_01_introspection_is_for_clients_of_the_tokens_audience() {
    let it = Standalone::start().await;
    let token = it.token().await;
    assert_eq!(it.introspect(&token).await["active"], true);
    let form = || Request::form(INTROSPECT, &[("token", &token)]);
    assert_error(&it.send(form()).await, 401, "invalid_client");
    assert_eq!(it.send(form().bearer(&token)).await.status, 401);
    let (id, _) = it.credentials("shop", "orders");
    assert_error(&it.send(form().basic(&id, "cs1_wrong")).await, 401, "invalid_client");
    assert_inactive(&told(&it, INTROSPECT, ("rival", "spy"), &token).await, "another team's client");

    let (id, secret) = it.credentials("shop", "orders");
    let query = format!("{INTROSPECT}?token={token}");
    assert_eq!(it.send(Request::get(&query).basic(&id, &secret)).await.status, 405);
    let empty = Request::new("POST", &query).basic(&id, &secret).body(FORM, b"");
    assert_error(&it.send(empty).await, 400, "invalid_request");
}

#[tokio::test]
async fn int_01_who_asks_in_vain_too_often_is_slowed_and_good_tokens_are_told_all_the_same() {
    let it = Standalone::start().await;
    let token = it.token().await;
    let (id, secret) = it.credentials("shop", "orders");
    let asked = (0..1000).map(|attempt| {
        let scanned = format!("{attempt}.{attempt}.{attempt}");
        it.send(Request::form(INTROSPECT, &[("token", &scanned)]).basic(&id, &secret))
    });
    // Many at a time, so that they come faster than they are forgotten on any machine.
    let answers: Vec<_> = stream::iter(asked).buffer_unordered(64).collect().await;
    let slowed = answers.into_iter().find(|answer| answer.status != 200);
    let slowed = slowed.expect("scanning is slowed");
    assert_error(&slowed, 429, "slow_down");
    assert!(slowed.header("retry-after").is_some(), "{slowed:?}");
    assert_eq!(it.introspect(&token).await["active"], true);
}

#[tokio::test]
async fn int_02_a_token_that_is_not_good_is_inactive_and_nothing_else() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let second = now().as_second();
    let (signed, _) = forge.token.rsplit_once('.').unwrap();
    let (id, secret) = it.credentials("shop", "checkout");
    let other = Standalone::start().await;
    let unchanged = forge.with_claims(|_| {});
    assert_eq!(it.introspect(&unchanged).await["active"], true, "what is changed below is all that is wrong");
    for (what, token) in [
        ("over", forge.with_claims(|claims| claims["exp"] = json!(second - 61))),
        ("not yet", forge.with_claims(|claims| claims["nbf"] = json!(second + 120))),
        ("another issuer's", forge.with_claim("iss", json!("https://elsewhere.example"))),
        ("signed by another issuer", other.token().await),
        ("of another type", forge.with_header("typ", json!("JWT"))),
        ("without a signature", format!("{signed}.")),
        ("a secret", secret),
        ("a client id", id),
        ("nothing", " ".to_owned()),
    ] {
        assert_inactive(&it.introspection(&token).await, what);
    }
    assert_eq!(told(&it, REVOKE, ("shop", "checkout"), &forge.token).await.status, 200);
    let look = async || it.introspection(&forge.token).await;
    let revoked = await_condition("the token to be inactive", SOON, look, |said| said.json()["active"] == false).await;
    assert_inactive(&revoked, "revoked");
}

#[tokio::test]
async fn rev_01_only_the_clients_own_token_is_revoked_and_nobody_is_told_otherwise() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let over = forge.with_claims(|claims| claims["exp"] = json!(now().as_second() - 61));
    for (client, token) in [
        (("rival", "spy"), &forge.token),
        (("shop", "orders"), &forge.token),
        (("shop", "checkout"), &over),
        (("shop", "checkout"), &"unknown".to_owned()),
    ] {
        let answer = told(&it, REVOKE, client, token).await;
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"{}".as_slice()), "{client:?}");
    }
    let nobody = Request::form(REVOKE, &[("token", &forge.token)]);
    assert_error(&it.send(nobody).await, 401, "invalid_client");
    // Once what was written later is in force, what those might have written is.
    let own = it.token().await;
    let hinted = it.form(REVOKE, &[("token", &own), ("token_type_hint", "nonsense")]);
    assert_eq!(it.send(hinted).await.body, b"{}");
    assert_invalid_token(&it.refused(&own).await);
    assert_eq!(it.introspect(&forge.token).await["active"], true);
}

#[tokio::test]
async fn rev_02_what_could_not_be_written_is_not_said_to_be_revoked() {
    let it = Standalone::start().await;
    let token = it.token().await;
    let (objects, aside) = (it.data().join("objects"), it.data().join("aside"));
    fs::rename(&objects, &aside).unwrap();
    // A write of somebody else's may have made the folder anew meanwhile.
    while fs::write(&objects, "no folder").is_err() {
        fs::remove_dir_all(&objects).unwrap();
    }
    assert_error(&told(&it, REVOKE, ("shop", "checkout"), &token).await, 503, "temporarily_unavailable");

    fs::remove_file(&objects).unwrap();
    while fs::rename(&aside, &objects).is_err() {
        fs::remove_dir_all(&objects).unwrap();
    }
    assert_eq!(it.check(&token).await.status, 200, "nobody was told that it is dead");
    let look = async || told(&it, REVOKE, ("shop", "checkout"), &token).await.status;
    await_condition("the revocation to be written", SOON, look, |status| *status == 200).await;
    assert_invalid_token(&it.refused(&token).await);
}
