//! Clients that prove who they are by the certificate of their connection (RFC 8705).

use axum::http::{StatusCode, header};
use countersign_core::client::{CertificateName, ClientState, Method};
use countersign_core::timings::Timings;
use countersign_core::token::{AccessToken, Thumbprint, verify};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use super::world::{Answer, ISSUER, World, basic, encode};
use crate::runtime::tls::ClientCertificate;

const CLIENT: &[u8] = include_bytes!("../../../tests/certificates/client.crt.pem");
const STRANGER: &[u8] = include_bytes!("../../../tests/certificates/one.crt.pem");
const GRANT: (&str, &str) = ("grant_type", "client_credentials");
const URI: &str = "spiffe://cluster.local/ns/shop/sa/checkout";

fn world(name: CertificateName) -> World {
    let world = World::new();
    world.change_spec("shop.checkout", |spec| spec.authentication = vec![Method::MutualTls(name)]);
    world
}

fn by_uri() -> World {
    world(CertificateName::SanUri(URI.to_owned()))
}

fn der(pem: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem).unwrap()
}

/// A form over a connection that showed this certificate, or none, without an Authorization header.
async fn ask(world: &World, certificate: Option<&[u8]>, path: &str, form: &[(&str, &str)]) -> Answer {
    let mut request = basic(path, ("", ""), encode(form));
    request.headers_mut().remove(header::AUTHORIZATION);
    if let Some(pem) = certificate {
        request.extensions_mut().insert(ClientCertificate::new(&[der(pem)]));
    }
    world.send(request, "192.0.2.1").await
}

async fn token(world: &World, certificate: Option<&[u8]>, id: &str) -> Answer {
    ask(world, certificate, "/oauth2/token", &[GRANT, ("client_id", id)]).await
}

fn read(world: &World, answer: &Answer) -> AccessToken {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let text = answer.body["access_token"].as_str().unwrap();
    verify(text, &world.live.load().keys, ISSUER, world.clock.now(), &Timings::default()).unwrap()
}

#[tokio::test]
async fn a_certificate_of_the_clients_name_gets_a_token_bound_to_it() {
    for name in [
        CertificateName::SanUri(URI.to_owned()),
        CertificateName::SanDns("checkout.shop.svc".to_owned()),
        CertificateName::SubjectDn("CN=checkout,O=shop,C=DE".parse().unwrap()),
    ] {
        let world = world(name.clone());
        let answer = token(&world, Some(CLIENT), "shop.checkout").await;
        assert_eq!(answer.body["token_type"], "Bearer");
        let token = read(&world, &answer);
        assert_eq!(token.bound_to, Some(Thumbprint::of(&der(CLIENT))), "{name}");
    }
}

#[tokio::test]
async fn nothing_but_the_certificate_proves_it() {
    let world = by_uri();
    for (what, certificate, id) in [
        ("no certificate", None, "shop.checkout"),
        ("one of another authority", Some(STRANGER), "shop.checkout"),
        ("a client with a secret", Some(CLIENT), "shop.orders"),
        ("a public client", Some(CLIENT), "shop.app"),
        ("nobody", Some(CLIENT), "shop.nobody"),
        ("no client id", Some(CLIENT), "-"),
    ] {
        let answer = token(&world, certificate, id).await;
        assert_eq!(answer.error(), (401, "invalid_client"), "{what}");
    }
    let nameless = ask(&world, Some(CLIENT), "/oauth2/token", &[GRANT]).await;
    assert_eq!(nameless.error(), (401, "invalid_client"), "RFC 8705 section 2 wants client_id");
    let secret = [GRANT, ("client_id", "shop.checkout"), ("client_secret", "x")];
    assert_eq!(ask(&world, Some(CLIENT), "/oauth2/token", &secret).await.error(), (401, "invalid_client"));
    let other = self::world(CertificateName::SanUri(format!("{URI}/x")));
    assert_eq!(token(&other, Some(CLIENT), "shop.checkout").await.error(), (401, "invalid_client"));
    world.change_spec("shop.checkout", |spec| spec.state = ClientState::Suspended);
    assert_eq!(token(&world, Some(CLIENT), "shop.checkout").await.error(), (401, "invalid_client"));
}

#[tokio::test]
async fn a_certificate_is_judged_again_on_an_old_connection() {
    let world = by_uri();
    assert_eq!(token(&world, Some(CLIENT), "shop.checkout").await.status, StatusCode::OK);
    world.clock.advance(std::time::Duration::from_hours(24 * 366 * 110));
    world.contact.touch(world.clock.now());
    assert_eq!(token(&world, Some(CLIENT), "shop.checkout").await.error(), (401, "invalid_client"), "it is over");
}

#[tokio::test]
async fn guesses_with_a_certificate_are_limited() {
    let world = by_uri();
    let mut limited = 0;
    for _ in 0..1000 {
        limited +=
            usize::from(token(&world, Some(STRANGER), "shop.checkout").await.status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(limited > 700, "{limited}");
}

#[tokio::test]
async fn a_certificate_is_taken_from_an_address_whose_failures_were_too_many() {
    let world = by_uri();
    for number in 0..1000 {
        token(&world, Some(STRANGER), &format!("shop.nobody-{}", number % 50)).await;
    }
    for certificate in [STRANGER, CLIENT, STRANGER, CLIENT] {
        let expected = if certificate == CLIENT { StatusCode::OK } else { StatusCode::TOO_MANY_REQUESTS };
        assert_eq!(token(&world, Some(certificate), "shop.checkout").await.status, expected);
    }
}

#[tokio::test]
async fn a_token_got_with_a_secret_is_bound_to_nothing_whatever_the_connection_showed() {
    let world = World::new();
    let mut request = basic("/oauth2/token", ("shop.checkout", &world.secret("shop.checkout", 0)), encode(&[GRANT]));
    request.extensions_mut().insert(ClientCertificate::new(&[der(CLIENT)]));
    assert_eq!(read(&world, &world.send(request, "192.0.2.1").await).bound_to, None);
}

#[tokio::test]
async fn introspection_and_revocation_take_a_certificate_too_and_say_what_a_token_is_bound_to() {
    let world = by_uri();
    let answer = token(&world, Some(CLIENT), "shop.checkout").await;
    let text = answer.body["access_token"].as_str().unwrap();
    let form = [("client_id", "shop.checkout"), ("token", text)];
    let body = ask(&world, Some(CLIENT), "/oauth2/introspect", &form).await.body;
    let bound_to = Thumbprint::of(&der(CLIENT)).to_string();
    assert_eq!((&body["active"], &body["cnf"]), (&json!(true), &json!({"x5t#S256": bound_to})));
    assert_eq!(ask(&world, Some(CLIENT), "/oauth2/revoke", &form).await.status, StatusCode::OK);
    assert_eq!(world.sink.entries.lock().unwrap().len(), 1);
    assert_eq!(ask(&world, None, "/oauth2/revoke", &form).await.error(), (401, "invalid_client"));
}
