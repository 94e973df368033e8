//! The token endpoint where a resource server exchanges the token it was called with (RFC 8693).

use std::sync::Arc;

use axum::http::{StatusCode, header};
use countersign_core::client::{Access, ClientState, GrantType};
use countersign_core::directory::{Change, PolicyObject};
use countersign_core::names::{Audience, ClientId, ObjectRef, ScopeName, Uid};
use countersign_core::oauth::{ACCESS_TOKEN_TYPE, TOKEN_EXCHANGE};
use countersign_core::policy::{Cors, Grant, Grantee, Mode, ScopeDef, Source, Unmatched};
use countersign_core::revocation::Entry;
use countersign_core::scope::ScopeSet;
use countersign_core::timings::Timings;
use countersign_core::token::{AccessToken, verify};
use serde_json::json;

use super::world::{AUDIENCE, Answer, BEGAN, ISSUER, World, at};

const STOCK: &str = "https://stock.web.svc";
const TYPE: (&str, &str) = ("subject_token_type", ACCESS_TOKEN_TYPE);

/// A policy with a scope, granted to one client, and its resource server.
fn policy(object: &str, audience: &str, scope: &str, (granted, server): (&str, &str)) -> Change {
    let object: ObjectRef = object.parse().unwrap();
    let source = Source {
        audience: Ok(Audience::new(audience).unwrap()),
        targets: Vec::new(),
        routes: Vec::new(),
        mode: Mode::Enforce,
        scopes: vec![Ok(ScopeDef { name: ScopeName::new(scope).unwrap(), description: None })],
        grants: vec![Ok(Grant {
            scopes: ScopeSet::parse(scope).unwrap(),
            to: vec![Grantee::Client(ClientId::new(granted).unwrap())],
        })],
        resource_servers: vec![Ok(ClientId::new(server).unwrap())],
        rules: Vec::new(),
        unmatched: Unmatched::Deny,
        cors_preflight: Cors::Deny,
        token_sources: Vec::new(),
        unreadable: None,
    };
    let policy = PolicyObject::new(object.clone(), Uid::new("policy-2").unwrap(), at(-50), 1, source);
    Change::Policy(object, Some(Arc::new(policy)))
}

/// `shop.orders` may exchange the tokens it is called with for ones for the stock, `web.frontend` those of the stock.
fn world() -> World {
    let world = World::new();
    world.apply(policy("shop/orders-more", AUDIENCE, "orders:more", ("shop.orders", "shop.orders")));
    world.apply(policy("web/stock", STOCK, "stock:reserve", ("shop.orders", "web.frontend")));
    for client in ["shop.orders", "web.frontend"] {
        world.change_spec(client, |spec| {
            spec.grant_types = vec![GrantType::TokenExchange];
            let audience = Audience::new(STOCK).unwrap();
            spec.access.push(Access { audience, scopes: ScopeSet::parse("stock:reserve stock:count").unwrap() });
            spec.default_audience = Some(spec.access[0].audience.clone());
        });
    }
    world
}

async fn exchange(world: &World, who: &str, subject: &str, more: &[(&str, &str)]) -> Answer {
    let form = [&[("grant_type", TOKEN_EXCHANGE), TYPE, ("subject_token", subject)], more].concat();
    world.post("/oauth2/token", (who, &world.secret(who, 0)), &form).await
}

/// The exchange that is allowed.
async fn exchanged(world: &World, subject: &str) -> Answer {
    exchange(world, "shop.orders", subject, &[("resource", STOCK)]).await
}

fn read(world: &World, answer: &Answer) -> AccessToken {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let text = answer.body["access_token"].as_str().unwrap();
    verify(text, &world.live.load().keys, ISSUER, world.clock.now(), &Timings::default()).unwrap()
}

#[tokio::test]
async fn a_resource_server_gets_a_token_for_the_next_audience_in_its_callers_name() {
    let world = world();
    let subject = world.access_token().await;
    world.clock.advance(std::time::Duration::from_mins(5));
    let answer = exchanged(&world, &subject).await;
    let token = read(&world, &answer);
    assert_eq!(answer.body["issued_token_type"], ACCESS_TOKEN_TYPE);
    assert_eq!((&answer.body["token_type"], &answer.body["expires_in"]), (&json!("Bearer"), &json!(600)));
    assert_eq!(answer.body["scope"], "stock:reserve");
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!((token.audience.as_str(), &*token.subject), (STOCK, "shop.checkout"));
    assert_eq!((token.client_id.as_str(), token.expires_at), ("shop.orders", BEGAN + 900));
    assert_eq!(token.client_uid.as_ref().map(Uid::as_str), Some("uid-shop-orders"));
    assert_eq!(token.claims["act"], json!({"sub": "shop.orders"}));
    let [earlier] = &*token.exchanged else { panic!("{:?}", token.exchanged) };
    assert_eq!((earlier.client_uid.as_str(), earlier.audience.as_str()), ("uid-shop-checkout", AUDIENCE));
    assert!(world.token(&[]).await.body.get("issued_token_type").is_none());
}

#[tokio::test]
async fn each_refusal_has_the_code_of_its_rfc() {
    let world = world();
    let subject = world.access_token().await;
    // The last letter of a signature is one of four.
    let (whole, last) = subject.split_at(subject.len() - 1);
    let forged = format!("{whole}{}", if last == "A" { "Q" } else { "A" });
    let foreign = World::new().access_token().await;
    let refresh = "urn:ietf:params:oauth:token-type:refresh_token";
    let stock = ("resource", STOCK);
    for (what, subject, more, error) in [
        ("another audience", &*subject, &[("resource", "https://nowhere.example")][..], "invalid_target"),
        ("its own audience", &subject, &[("resource", AUDIENCE)], "invalid_target"),
        ("two audiences", &subject, &[stock, ("audience", AUDIENCE)], "invalid_target"),
        ("a scope not granted", &subject, &[stock, ("scope", "stock:count")], "invalid_scope"),
        ("an actor", &subject, &[stock, ("actor_token", &subject)], "invalid_request"),
        ("an actor's type", &subject, &[stock, ("actor_token_type", ACCESS_TOKEN_TYPE)], "invalid_request"),
        ("another type", &subject, &[stock, ("requested_token_type", refresh)], "invalid_request"),
        ("no token", "", &[stock], "invalid_request"),
        ("a forged token", &forged, &[stock], "invalid_request"),
        ("another issuer's token", &foreign, &[stock], "invalid_request"),
        ("no token at all", "x", &[stock], "invalid_request"),
    ] {
        assert_eq!(exchange(&world, "shop.orders", subject, more).await.error(), (400, error), "{what}");
    }
    let mut form = vec![("grant_type", TOKEN_EXCHANGE), ("subject_token", &*subject), stock];
    let who = ("shop.orders", &*world.secret("shop.orders", 0));
    assert_eq!(world.post("/oauth2/token", who, &form).await.error(), (400, "invalid_request"), "no type");
    form.push(("subject_token_type", refresh));
    assert_eq!(world.post("/oauth2/token", who, &form).await.error(), (400, "invalid_request"), "another type");
    assert_eq!(exchange(&world, "web.frontend", &subject, &[stock]).await.error(), (400, "invalid_request"));
    assert_eq!(exchange(&world, "shop.checkout", &subject, &[stock]).await.error(), (400, "unauthorized_client"));
    let wrong = world.post("/oauth2/token", ("shop.orders", "wrong"), &form).await;
    assert_eq!(wrong.error(), (401, "invalid_client"));
    assert_eq!(
        world.post("/oauth2/token", who, &[("grant_type", "client_credentials")]).await.error().1,
        "unauthorized_client"
    );
    assert_eq!(exchanged(&world, &subject).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_token_that_is_over_or_revoked_is_not_exchanged_and_guessing_is_limited() {
    let world = world();
    let subject = world.access_token().await;
    let token = verify(&subject, &world.live.load().keys, ISSUER, world.clock.now(), &Timings::default()).unwrap();
    world.learn(vec![Entry::token(&token, world.clock.now(), &Timings::default())]);
    assert_eq!(exchanged(&world, &subject).await.error(), (400, "invalid_request"));
    world.learn(Vec::new());
    world.clock.advance(std::time::Duration::from_secs(901));
    assert_eq!(exchanged(&world, &subject).await.error(), (400, "invalid_request"));
    let mut limited = 0;
    for _ in 0..1000 {
        limited += usize::from(exchanged(&world, &subject).await.status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(limited >= 700, "{limited}");
    assert_eq!(exchanged(&world, &world.access_token().await).await.status, StatusCode::OK);
}

#[tokio::test]
async fn introspection_shows_who_acts_and_ends_with_the_earlier_token() {
    let world = world();
    let answer = exchanged(&world, &world.access_token().await).await;
    let text = answer.body["access_token"].as_str().unwrap();
    let asked = || async {
        let who = ("web.frontend", &*world.secret("web.frontend", 0));
        world.post("/oauth2/introspect", who, &[("token", text)]).await.body
    };
    let body = asked().await;
    assert_eq!((&body["active"], &body["sub"]), (&json!(true), &json!("shop.checkout")));
    assert_eq!((&body["client_id"], &body["act"]), (&json!("shop.orders"), &json!({"sub": "shop.orders"})));
    let uid = Uid::new("uid-shop-checkout").unwrap();
    world.learn(vec![Entry::client(uid, None, 2, world.clock.now(), &Timings::default())]);
    assert_eq!(asked().await, json!({"active": false}), "the first client has a new epoch");
    world.learn(Vec::new());
    assert_eq!(asked().await["active"], json!(true));
    world.change_spec("shop.checkout", |spec| spec.state = ClientState::Suspended);
    assert_eq!(asked().await, json!({"active": false}), "the first client is suspended");
}

/// What the next resource server may do with it is again its own policy's to say.
#[tokio::test]
async fn an_exchanged_token_is_exchanged_again_by_whom_it_is_for() {
    let world = world();
    world.apply(policy("web/depot", "https://depot.web.svc", "depot:open", ("web.frontend", "web.frontend")));
    world.change_spec("web.frontend", |spec| {
        let audience = Audience::new("https://depot.web.svc").unwrap();
        spec.access.push(Access { audience, scopes: ScopeSet::parse("depot:open").unwrap() });
    });
    let first = exchanged(&world, &world.access_token().await).await;
    let first = first.body["access_token"].as_str().unwrap();
    let depot = [("resource", "https://depot.web.svc")];
    let token = read(&world, &exchange(&world, "web.frontend", first, &depot).await);
    assert_eq!((&*token.subject, token.client_id.as_str()), ("shop.checkout", "web.frontend"));
    assert_eq!(token.claims["act"], json!({"sub": "web.frontend", "act": {"sub": "shop.orders"}}));
    assert_eq!(
        exchange(&world, "web.frontend", first, &[("resource", AUDIENCE)]).await.error(),
        (400, "invalid_target")
    );
}
