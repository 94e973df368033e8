//! Clients with keys of their own at two real issuers and a real Redis, by a client somebody else wrote. The ids are those of docs/security.md.

mod keys;

use crate::support::await_condition;
use crate::support::client_key::Key;
use crate::support::clients::{OutsideClient, TokenRequest};
use crate::support::forge::encode;
use crate::support::http::{Request, Response};
use crate::support::installation::{Installation, Replica, Role};
use crate::support::orders::{ORDERS, client};
use crate::support::redis::Redis;
use crate::support::standalone::{Standalone, now};
use crate::support::tenant::{SOON, Tenant};
use crate::support::testbed::Testbed;
use keys::{Host, answer};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Two issuers over one Redis, and the clients `first` and `second` of one tenant with one key.
struct Shop<'a> {
    tenant: Tenant<'a>,
    issuers: [Replica; 2],
    key: Key,
    _controller: Replica,
}

impl<'a> Shop<'a> {
    async fn open(testbed: &Testbed, installation: &'a Installation, redis: &Redis) -> Self {
        let tenant = Tenant::new(testbed, installation).await;
        let controller = installation.start(Role::Controller).await;
        let flags = redis.flags();
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let mut issuers = [(); 2].map(|()| installation.spawn_with(Role::Issuer, &flags));
        for issuer in &mut issuers {
            issuer.process.ready(issuer.admin).await;
        }
        let key = Key::new();
        let clients = ["first", "second"].map(|name| client(name, &key.registered()));
        tenant.apply(&[ORDERS, &clients.concat()].concat());
        tenant.wait_ready(&["first", "second"]);
        let shop = Self { tenant, issuers, key, _controller: controller };
        for issuer in [0, 1] {
            for name in ["first", "second"] {
                let look = async || shop.ask(issuer, &shop.assertion(name, &unique(), &json!({}))).await;
                await_condition("a token for either client at either issuer", SOON, look, |answer| {
                    answer.status == 200
                })
                .await;
            }
        }
        shop
    }

    fn assertion(&self, name: &str, jti: &str, other: &Value) -> String {
        let id = format!("{}.{name}", self.tenant.namespace);
        let mut claims = claims(&id, &self.tenant.installation.issuer_url(), other);
        claims["jti"] = json!(jti);
        self.key.sign(&claims.to_string())
    }

    async fn ask(&self, issuer: usize, assertion: &str) -> Response {
        ask(self.issuers[issuer].issuer, assertion).await
    }
}

/// A standalone issuer, with the client `shop.first`.
struct Alone {
    it: Standalone,
    key: Key,
}

impl Alone {
    async fn open() -> Self {
        let (it, key) = (Standalone::start().await, Key::new());
        let registered = key.registered();
        Self::of(it, key, &registered).await.known().await
    }

    /// The same, its client's keys being at that host.
    async fn by(host: &Host, key: Key) -> Self {
        let flags = host.flags();
        let it = Standalone::start_with(&flags.each_ref().map(String::as_str)).await;
        Self::of(it, key, &host.published()).await
    }

    async fn of(it: Standalone, key: Key, methods: &str) -> Self {
        let manifest = client("first", methods).replace("$NS", "shop").replace("$ISSUER", "default");
        std::fs::write(it.manifests().join("first.yaml"), manifest).expect("write a manifest");
        let written = async || exists(&it.data(), "first-oauth");
        await_condition("what the client is told", SOON, written, |written| *written).await;
        Self { it, key }
    }

    async fn known(self) -> Self {
        let look = async || self.told(&json!({})).await.0;
        await_condition("a token for the new client", SOON, look, |status| *status == 200).await;
        self
    }

    /// What is said to an assertion that is good but for this.
    async fn told(&self, change: &Value) -> (u16, String) {
        let claims = claims("shop.first", &self.it.issuer_url(), change);
        told(&ask(self.it.issuer, &self.key.sign(&claims.to_string())).await)
    }
}

/// Of an assertion by this client, with these changes: null takes a claim away.
fn claims(id: &str, audience: &str, change: &Value) -> Value {
    let now = seconds();
    let mut claims = json!({"iss": id, "sub": id, "aud": audience, "jti": unique(), "iat": now, "exp": now + 60});
    let members = claims.as_object_mut().expect("an object");
    members.extend(change.as_object().expect("an object").clone());
    members.retain(|_, value| !value.is_null());
    claims
}

async fn ask(issuer: SocketAddr, assertion: &str) -> Response {
    let fields =
        [("grant_type", "client_credentials"), ("client_assertion_type", TYPE), ("client_assertion", assertion)];
    Request::form("/oauth2/token", &fields).send(issuer).await.expect("an answer of the issuer")
}

/// Whether a file of such a name lies somewhere in the folder.
fn exists(folder: &Path, name: &str) -> bool {
    std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        path.to_string_lossy().contains(name) || exists(&path, name)
    })
}

fn told(answer: &Response) -> (u16, String) {
    (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
}

fn refused() -> (u16, String) {
    (401, "invalid_client".to_owned())
}

fn seconds() -> i64 {
    now().as_second()
}

/// A name no other assertion of this test has.
fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("unique-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

#[tokio::test]
async fn cla_01_an_assertion_is_good_once_at_all_issuers_together() {
    let (testbed, redis) = (Testbed::shared(), Redis::start().await);
    let installation = Installation::new(&testbed, &["--store=shared"]);
    let shop = Shop::open(&testbed, &installation, &redis).await;
    let assertion = shop.assertion("first", "once", &json!({}));
    assert_eq!(told(&shop.ask(0, &assertion).await), (200, String::new()));
    for issuer in [0, 1] {
        assert_eq!(told(&shop.ask(issuer, &assertion).await), refused());
    }
}

#[tokio::test]
async fn cla_02_of_fifty_at_once_at_two_issuers_one_is_good() {
    let (testbed, redis) = (Testbed::shared(), Redis::start().await);
    let installation = Installation::new(&testbed, &["--store=shared"]);
    let shop = Shop::open(&testbed, &installation, &redis).await;
    let assertion = shop.assertion("first", "race", &json!({}));
    let answers = futures::future::join_all((0..50).map(|number| shop.ask(number % 2, &assertion))).await;
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
}

#[tokio::test]
async fn cla_03_a_name_one_client_used_is_free_for_another() {
    let (testbed, redis) = (Testbed::shared(), Redis::start().await);
    let installation = Installation::new(&testbed, &["--store=shared"]);
    let shop = Shop::open(&testbed, &installation, &redis).await;
    for name in ["first", "second"] {
        assert_eq!(told(&shop.ask(0, &shop.assertion(name, "same", &json!({}))).await), (200, String::new()), "{name}");
    }
}

#[tokio::test]
async fn cla_04_a_bad_assertion_uses_nothing_up() {
    let (testbed, redis) = (Testbed::shared(), Redis::start().await);
    let installation = Installation::new(&testbed, &["--store=shared"]);
    let shop = Shop::open(&testbed, &installation, &redis).await;
    let audience = json!({"aud": "https://other.example"});
    assert_eq!(told(&shop.ask(0, &shop.assertion("first", "mine", &audience)).await), refused());
    let forged = format!("{}AAAA", shop.assertion("first", "mine", &json!({})));
    assert_eq!(told(&shop.ask(0, &forged).await), refused());
    assert_eq!(told(&shop.ask(1, &shop.assertion("first", "mine", &json!({}))).await), (200, String::new()));
}

#[tokio::test]
async fn while_the_store_is_away_nobody_gets_a_token_by_an_assertion() {
    let (testbed, mut redis) = (Testbed::shared(), Redis::start().await);
    let installation = Installation::new(&testbed, &["--store=shared"]);
    let shop = Shop::open(&testbed, &installation, &redis).await;
    // Without the store nobody knows, so nobody gets a token; afterwards all goes on.
    redis.stop();
    let away = (503, "temporarily_unavailable".to_owned());
    assert_eq!(told(&shop.ask(0, &shop.assertion("first", &unique(), &json!({}))).await), away);
    redis.resume().await;
    let look = async || shop.ask(0, &shop.assertion("first", &unique(), &json!({}))).await;
    await_condition("tokens again", SOON, look, |answer| answer.status == 200).await;
}

#[tokio::test]
async fn cla_05_an_assertion_for_anything_but_this_issuer_proves_nothing() {
    let shop = Alone::open().await;
    let url = shop.it.issuer_url();
    for aud in [
        json!("https://other.example"),
        json!([url]),
        json!([url, "https://other.example"]),
        json!(format!("{url}/oauth2/token")),
        json!(format!("{url}/")),
        Value::Null,
    ] {
        assert_eq!(shop.told(&json!({"aud": aud})).await, refused(), "{aud}");
    }
    assert_eq!(shop.told(&json!({})).await, (200, String::new()));
}

#[tokio::test]
async fn cla_06_an_assertion_ends_soon_begins_now_and_has_a_name() {
    let shop = Alone::open().await;
    for change in [
        json!({"exp": null}),
        json!({"exp": seconds() + 400}),
        json!({"exp": seconds() - 120}),
        json!({"iat": seconds() + 120}),
        json!({"nbf": seconds() + 120}),
        json!({"jti": null}),
        json!({"jti": ""}),
        json!({"jti": "x".repeat(257)}),
    ] {
        assert_eq!(shop.told(&change).await, refused(), "{change}");
    }
    assert_eq!(shop.told(&json!({"iat": null})).await, (200, String::new()));
}

#[tokio::test]
async fn cla_07_an_assertion_is_its_clients_by_a_registered_key_and_algorithm() {
    let shop = Alone::open().await;
    for change in
        [json!({"iss": "shop.checkout"}), json!({"sub": "shop.checkout"}), json!({"iss": shop.it.issuer_url()})]
    {
        assert_eq!(shop.told(&change).await, refused(), "{change}");
    }
    let claims = claims("shop.first", &shop.it.issuer_url(), &json!({})).to_string();
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"HS256"}"#,
        r#"{"alg":"ES384","kid":"mine"}"#,
        r#"{"alg":"ES256","kid":"other"}"#,
    ] {
        assert_eq!(told(&ask(shop.it.issuer, &shop.key.sign_with(header, &claims)).await), refused(), "{header}");
        let unsigned = format!("{}.{}.", encode(header), encode(&claims));
        assert_eq!(told(&ask(shop.it.issuer, &unsigned).await), refused(), "{header}, not signed");
    }
    assert_eq!(told(&ask(shop.it.issuer, &Key::new().sign(&claims)).await), refused(), "another's key");
    assert_eq!(told(&ask(shop.it.issuer, &shop.key.sign(&claims)).await), (200, String::new()));
}

#[tokio::test]
async fn a_client_somebody_else_wrote_proves_itself_by_its_key() {
    let (testbed, redis) = (Testbed::shared(), Redis::start().await);
    let installation = Installation::new(&testbed, &["--store=shared"]);
    let shop = Shop::open(&testbed, &installation, &redis).await;
    let (issuer, id, key) = (installation.issuer_url(), format!("{}.first", shop.tenant.namespace), shop.key.pkcs8());
    let request = TokenRequest {
        issuer: &issuer,
        client_id: &id,
        auth_method: Some("private_key_jwt"),
        client_key: &key,
        ..TokenRequest::default()
    };
    for client in [OutsideClient::OpenidClient, OutsideClient::OpenidClient, OutsideClient::Authlib] {
        assert!(client.token(&request).len() > 100, "{client:?}");
    }
    assert_eq!(shop.tenant.run(&["get", "secrets", "-o", "name"]), "");
}

#[tokio::test]
async fn without_a_store_such_a_client_is_told_what_is_missing() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let [_controller, issuer, _verifier] = installation.start_all().await;
    tenant.apply(&[ORDERS, &client("first", &Key::new().registered())].concat());
    let look = async || tenant.reason("first", "Accepted");
    await_condition("the reason", SOON, look, |reason| reason == "NeedsSharedStore").await;
    let metadata = Request::get("/.well-known/oauth-authorization-server").send(issuer.issuer).await.unwrap().json();
    assert!(!metadata.to_string().contains("private_key_jwt"), "{metadata}");
}

#[tokio::test]
async fn a_client_somebody_else_wrote_publishes_its_keys_at_a_url() {
    let key = Key::new();
    let host = Host::that_says(answer("200 OK", "", &json!({"keys": [key.public()]}).to_string())).await;
    let shop = Alone::by(&host, key).await.known().await;
    let (issuer, client_key) = (shop.it.issuer_url(), shop.key.pkcs8());
    let request = TokenRequest {
        issuer: &issuer,
        client_id: "shop.first",
        auth_method: Some("private_key_jwt"),
        client_key: &client_key,
        ..TokenRequest::default()
    };
    assert!(OutsideClient::OpenidClient.token(&request).len() > 100);
    assert_eq!(host.asked(), 1, "no request fetches keys");
}

#[tokio::test]
async fn cla_08_redirects_and_endless_answers_bring_no_keys() {
    let key = Key::new();
    let set = json!({"keys": [key.public()]}).to_string();
    let good = Host::that_says(answer("200 OK", "", &set)).await;
    let endless = "HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n".to_owned() + &"x".repeat(1 << 20);
    let elsewhere = format!("location: https://{}/jwks\r\n", good.address);
    for (says, key) in [(answer("302 Found", &elsewhere, ""), key), (endless, Key::new())] {
        let host = Host::that_says(says).await;
        let shop = Alone::by(&host, key).await;
        await_condition("the host to be asked", SOON, async || host.asked(), |asked| *asked > 0).await;
        assert_eq!(shop.told(&json!({})).await, (503, "temporarily_unavailable".to_owned()));
    }
    assert_eq!(good.asked(), 0);
}
