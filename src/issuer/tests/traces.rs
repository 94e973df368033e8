//! What a collector sees of the calls.

use super::world::{AUDIENCE, World, basic, encode};
use crate::runtime::traces::tests::{PARENT, SERVER, Seen, assert_told, attributes, received, traceparent};

const TRACE: &str = "15500000000000000000000000000001";
const GRANT: (&str, &str) = ("grant_type", "client_credentials");

/// Calls as a part of that trace; returns the status.
async fn call(world: &World, path: &str, who: (&str, &str), form: &[(&str, &str)]) -> u16 {
    let mut request = basic(path, who, encode(form));
    request.headers_mut().insert("traceparent", traceparent(TRACE).parse().unwrap());
    world.send(request, "192.0.2.1").await.status.as_u16()
}

fn told(name: &str, failed: bool, rest: &[(&str, &str)]) -> (String, String, bool, Vec<(String, String)>) {
    let attributes = attributes(&[&[("endpoint", name)], rest].concat());
    (name.to_owned(), PARENT.to_owned(), failed, attributes.into_iter().collect())
}

fn read(span: &Seen) -> (String, String, bool, Vec<(String, String)>) {
    assert_eq!(span.kind, SERVER);
    (span.name.clone(), span.parent.clone(), span.failed, span.attributes.clone().into_iter().collect())
}

#[tokio::test]
async fn a_call_is_a_span_of_its_callers_trace_and_tells_no_secret() {
    let (received, world) = (received(), World::new());
    let secret = world.secret("shop.checkout", 0);
    let (id, good) = ("shop.checkout", ("shop.checkout", secret.as_str()));
    let token = world.access_token().await;
    assert_eq!(call(&world, "/oauth2/token", good, &[GRANT]).await, 200);
    assert_eq!(call(&world, "/oauth2/token", good, &[GRANT, ("scope", "no:such-scope")]).await, 400);
    assert_eq!(call(&world, "/oauth2/token", ("typed-in-the-wrong-field", "wrong"), &[GRANT]).await, 401);
    assert_eq!(call(&world, "/oauth2/introspect", good, &[("token", &token)]).await, 200);
    assert_eq!(call(&world, "/oauth2/introspect", good, &[]).await, 400);
    *world.sink.fails.lock().unwrap() = true;
    assert_eq!(call(&world, "/oauth2/revoke", good, &[("token", &token)]).await, 503);
    *world.sink.fails.lock().unwrap() = false;
    assert_eq!(call(&world, "/oauth2/revoke", good, &[("token", &token)]).await, 200);

    let spans = received.trace(TRACE).await;
    let unavailable = [("status", "503"), ("error", "temporarily_unavailable"), ("client", id)];
    let expected = [
        told("token", false, &[("status", "200"), ("client", id), ("audience", AUDIENCE)]),
        told("token", false, &[("status", "400"), ("error", "invalid_scope"), ("client", id)]),
        told("token", false, &[("status", "401"), ("error", "invalid_client")]),
        told("introspect", false, &[("status", "200"), ("client", id)]),
        told("introspect", false, &[("status", "400"), ("error", "invalid_request"), ("client", id)]),
        told("revoke", true, &unavailable),
        told("revoke", false, &[("status", "200"), ("client", id), ("audience", AUDIENCE)]),
    ];
    assert_eq!(spans.iter().map(read).collect::<Vec<_>>(), expected);
    for name in ["token", "introspect", "revoke"] {
        assert_told(name, &spans);
    }
    for text in [secret.as_str(), &token, "typed-in-the-wrong-field", "no:such-scope", "192.0.2.1"] {
        assert!(!received.holds(text).await, "{text} reached the collector");
    }
    assert!(received.holds(id).await, "what is there is found");
}

#[tokio::test]
async fn a_malformed_traceparent_is_no_parent() {
    let (received, world) = (received(), World::new());
    let secret = world.secret("shop.checkout", 0);
    let mut request = basic("/oauth2/token", ("shop.checkout", &secret), encode(&[GRANT]));
    let malformed = traceparent("15500000000000000000000000000002").to_uppercase();
    request.headers_mut().insert("traceparent", malformed.parse().unwrap());
    request.headers_mut().insert("x-seen-by-nobody", "1".parse().unwrap());
    assert_eq!(world.send(request, "192.0.2.1").await.status.as_u16(), 200);
    assert_eq!(received.trace("15500000000000000000000000000002").await, []);
    let roots = received.all().await.into_iter().filter(|span| span.name == "token" && span.parent.is_empty());
    assert!(roots.count() > 0, "a trace of its own");
}
