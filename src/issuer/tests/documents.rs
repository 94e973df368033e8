//! What clients discover.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use countersign_core::token::KeySet;
use serde_json::json;

use super::world::{Answer, ISSUER, World};

async fn get(world: &World, path: &str, headers: &[(header::HeaderName, &str)]) -> Answer {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    world.send(request.body(Body::empty()).unwrap(), "192.0.2.1").await
}

#[tokio::test]
async fn the_issuer_comes_from_configuration_whatever_the_host_header_says() {
    let world = World::new();
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        let plain = get(&world, path, &[]).await;
        assert_eq!((plain.status, &plain.body["issuer"]), (StatusCode::OK, &json!(ISSUER)));
        let forwarded = header::HeaderName::from_static("x-forwarded-host");
        let spoofed = get(&world, path, &[(header::HOST, "evil.example.com"), (forwarded, "evil.example.com")]).await;
        assert_eq!(spoofed, plain);
    }
}

#[tokio::test]
async fn the_jwks_is_sorted_public_and_cacheable() {
    let world = World::new();
    let answer = get(&world, "/oauth2/jwks", &[]).await;
    assert_eq!(answer.headers[header::CACHE_CONTROL], "public, max-age=300");
    let [key] = &answer.body["keys"].as_array().unwrap()[..] else { panic!("{answer:?}") };
    let members: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    let etag = answer.headers[header::ETAG].to_str().unwrap();
    let again = get(&world, "/oauth2/jwks", &[(header::IF_NONE_MATCH, &format!("\"other\", W/{etag}"))]).await;
    assert_eq!((again.status, again.headers[header::ETAG].to_str().unwrap()), (StatusCode::NOT_MODIFIED, etag));
    let other = get(&world, "/oauth2/jwks", &[(header::IF_NONE_MATCH, "\"other\"")]).await;
    assert_eq!(other.status, StatusCode::OK);
}

#[tokio::test]
async fn an_empty_jwks_is_never_served() {
    let world = World::new();
    world.change(|snapshot| snapshot.keys = KeySet::default().into());
    let answer = get(&world, "/oauth2/jwks", &[]).await;
    assert_eq!(
        (answer.status, &answer.headers[header::CACHE_CONTROL]),
        (StatusCode::SERVICE_UNAVAILABLE, &"no-store".parse().unwrap())
    );
}
