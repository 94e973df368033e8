//! Tokens somebody brought, and what is told of them.

use base64::Engine as _;
use clap::Parser as _;

use super::{Line, World};
use crate::cli::colour::Colour;
use crate::cli::explain::print;

/// A token of a client for the orders, with a signature that does not hold.
fn token_of(client: &str) -> String {
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let header = format!(r#"{{"alg":"ES256","kid":"{}","typ":"at+jwt"}}"#, "k".repeat(43));
    let claims = format!(
        r#"{{"iss":"https://i.example","sub":"{client}","aud":"https://orders.shop.svc","exp":1800000600,"iat":1800000000,"jti":"t1","client_id":"{client}","scope":"read"}}"#
    );
    format!("{}.{}.{}", encode(&header), encode(&claims), encode("signature-of-the-token"))
}

#[test]
fn what_nobody_checked_of_a_token_is_a_condition_of_the_answer() {
    let world = World::new();
    let said = |client: &str, path: &str| {
        let account = world.explain(&format!("--token {} https://orders.shop.svc{path}", token_of(client)));
        let text = print::text(&account, Colour::none());
        let json = serde_json::to_value(&account).unwrap();
        (
            text.lines().next().unwrap().to_owned(),
            json["onlyIf"].to_string(),
            json["caller"]["signatureChecked"].clone(),
        )
    };
    for (client, path, headline, only_if) in [
        (
            "shop.checkout",
            "/orders/7",
            "ALLOWED, if the signature holds and it is not revoked  Scoped: ",
            r#"["SignatureHolds","NotRevoked"]"#,
        ),
        (
            "shop.nobody",
            "/orders/7",
            "ALLOWED, if the signature holds and there is such a client and it is not revoked  Scoped: ",
            r#"["SignatureHolds","ClientExists","NotRevoked"]"#,
        ),
        ("shop.asleep", "/orders/7", "DENIED 401  OldEpoch: the client's tokens were revoked", "[]"),
        ("shop.checkout", "/health", "ALLOWED  Public: ", "[]"),
    ] {
        let (first, conditions, checked) = said(client, path);
        assert!(first.starts_with(headline), "{client} {path}: {first}");
        assert_eq!((conditions.as_str(), checked), (only_if, serde_json::Value::Bool(false)), "{client} {path}");
    }
    let next = world.next(&format!("--token {} https://orders.shop.svc/orders/7", token_of("shop.asleep")));
    assert!(next[0].starts_with("Set spec.state: Active in OAuthClient shop/asleep (world.yaml:40)"), "{next:?}");
    let unknown = world.explain(&format!("--token {} https://orders.shop.svc/orders/7", token_of("shop.nobody")));
    assert!(print::text(&unknown, Colour::none()).contains("the manifests have no client shop.nobody in force"));
}

#[test]
fn of_a_refused_token_no_scope_is_called_missing() {
    let world = World::new();
    let good = token_of("shop.checkout");
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let (header, rest) = good.split_once('.').unwrap();
    let unsigned = format!("{}.{rest}", encode(r#"{"alg":"none","typ":"at+jwt"}"#));
    let claims = rest.split_once('.').unwrap().0;
    let late = encode(
        r#"{"iss":"https://i.example","sub":"a","aud":"https://orders.shop.svc","exp":1700000600,"iat":1700000000,"jti":"t1","client_id":"a","scope":"read"}"#,
    );
    for token in [unsigned, format!("{header}.{late}.e30"), format!("e30.{claims}.e30"), "a.b.c".to_owned()] {
        let account = world.explain(&format!("--token {token} https://orders.shop.svc/orders/7"));
        let text = print::text(&account, Colour::none());
        assert!(account.caller.refusal.is_some(), "{text}");
        assert!(
            text.contains("scopes read: not judged, since the token is refused; when") && !text.contains("missing"),
            "{text}"
        );
        let json = serde_json::to_value(&account).unwrap();
        assert_eq!(json["rule"]["allow"][0]["missing"], serde_json::Value::Null);
    }
    let nobody = serde_json::to_value(world.explain("https://orders.shop.svc/orders/7")).unwrap();
    assert_eq!(nobody["rule"]["allow"][0]["missing"][0], "read");
}

#[test]
fn a_token_is_told_without_its_signature() {
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let header = format!(r#"{{"alg":"ES256","kid":"{}","typ":"at+jwt"}}"#, "k".repeat(43));
    let claims = r#"{"iss":"https://i.example","sub":"shop.checkout","aud":"https://orders.shop.svc","exp":1800000600,"iat":1800000000,"jti":"t1","client_id":"shop.checkout","scope":"read"}"#;
    let signature = "c2lnbmF0dXJlLW9mLXRoZS10b2tlbg";
    let token = format!("{}.{}.{signature}", encode(&header), encode(claims));
    let world = World::new();
    let account = world.explain(&format!("--token {token} https://orders.shop.svc/orders/7"));
    assert_eq!((account.allowed, account.caller.seconds_left), (true, Some(600)));
    assert_eq!(account.caller.key_id, Some("k".repeat(43)));
    let shown = format!("{}\n{}", print::text(&account, Colour::none()), serde_json::to_string(&account).unwrap());
    assert!(!shown.contains(signature) && !shown.contains(&encode(claims)), "{shown}");
    assert!(shown.contains("signature not checked") && shown.contains("10 min"), "{shown}");
    let other = token.replace(&encode(claims), &encode(&claims.replace("orders.shop", "carts.shop")));
    let next = world.next(&format!("--token {other} https://orders.shop.svc/orders/7"));
    assert!(next[0].starts_with("Get a token for https://orders.shop.svc (resource="), "{next:?}");
}

#[test]
fn a_token_of_another_key_is_told_to_have_no_known_key() {
    let world = World::new();
    let keys = world.folder.path().join("jwks.json");
    let key = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","alg":"EdDSA","use":"sig","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}"#;
    std::fs::write(&keys, format!(r#"{{"keys":[{key}]}}"#)).unwrap();
    let line = ["explain", "-f", "x", "--jwks", keys.to_str().unwrap(), "--token", "a.b.c", "https://a/"];
    assert!(Line::try_parse_from(line).is_err(), "a folder that is not there is wrong usage");
    let text = std::fs::read(&keys).unwrap();
    let jwks: countersign_core::token::Jwks = serde_json::from_slice(&text).unwrap();
    assert!(!countersign_core::token::KeySet::of_jwks(&jwks).is_empty());
}

#[test]
fn an_exchanged_token_ends_with_the_clients_before_and_an_audience_names_who_may_exchange() {
    let world = World::new();
    let good = token_of("shop.checkout");
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let exchanged = |first: &str| {
        let kid = "k".repeat(43);
        let claims = format!(
            r#"{{"iss":"https://i.example","sub":"{first}","aud":"https://orders.shop.svc","exp":1800000600,"iat":1800000000,"jti":"t2","client_id":"shop.checkout","scope":"read","cuid":"u2","cep":0,"act":{{"sub":"shop.checkout"}},"exchanged":[{{"jti":"t1","client_id":"{first}","cuid":"u1","cep":0,"aud":"https://front.shop.svc","kid":"{kid}"}}]}}"#
        );
        format!("{}.{}.e30", good.split_once('.').unwrap().0, encode(&claims))
    };
    let ask = |token: &str| format!("--token {token} https://orders.shop.svc/orders/7");
    assert_eq!(world.answer(&ask(&exchanged("shop.checkout"))), "200 Scoped read-one");
    assert_eq!(world.answer(&ask(&exchanged("shop.asleep"))), "401 OldEpoch read-one");
    let next = world.next(&ask(&exchanged("shop.asleep")));
    assert!(next[0].starts_with("Set spec.state: Active in OAuthClient shop/asleep"), "{next:?}");

    let front = "apiVersion: countersign.dev/v1alpha1\nkind: ScopePolicy\nmetadata: {name: front, namespace: shop}\nspec: {audience: 'https://front.shop.svc', resourceServers: [shop.checkout]}\n";
    std::fs::write(world.folder.path().join("front.yaml"), front).unwrap();
    let claims = good.split('.').nth(1).unwrap();
    let text = String::from_utf8(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let other = good.replace(claims, &encode(&text.replace("orders.shop", "front.shop")));
    let next = world.next(&ask(&other));
    assert!(next[1].starts_with("Or have shop.checkout exchange this one for it"), "{next:?}");
}
