//! Token exchange (RFC 8693) at the real binary: examples/token-exchange, other people's clients, both verifiers' verdicts, and
//! everything that is refused. The ids are those of docs/security.md.

use crate::support::clients::{OutsideClient, TokenRequest};
use crate::support::echo::Echo;
use crate::support::envoy::{Envoy, Wire};
use crate::support::forge::{Forge, decode};
use crate::support::http::{Request, Response};
use crate::support::standalone::{AUDIENCE, Standalone, assert_error};
use crate::support::{await_condition, root};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

const GRANT: (&str, &str) = ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const TYPE: (&str, &str) = ("subject_token_type", ACCESS_TOKEN);
const ORDERS: &str = "https://orders.store.svc";
const STOCK: &str = "https://stock.warehouse.svc";
const TO_STOCK: (&str, &str) = ("resource", STOCK);
const SOON: Duration = Duration::from_secs(15);

/// Who else there is: clients that may not do what `store.orders` may, and services after the stock, each of which may call the next.
const OTHERS: &str = r#"
apiVersion: countersign.dev/v1alpha1
kind: OAuthClient
metadata: {name: beside, namespace: store}
spec:
  grantTypes: [TokenExchange, ClientCredentials]
  access: [{audience: "https://hop2.warehouse.svc", scopes: [go]}]
"#;

/// Examples and others in one process.
struct Shop(Standalone);

impl Shop {
    async fn open() -> Self {
        let it = Standalone::start().await;
        for file in fs::read_dir(root().join("examples/token-exchange")).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), it.manifests().join(file.file_name())).unwrap();
        }
        let hops: String = (1..=7).map(hop).collect();
        fs::write(it.manifests().join("others.yaml"), format!("{OTHERS}{hops}")).unwrap();
        let all = ["store/checkout", "store/orders", "store/beside", "warehouse/hop1", "warehouse/hop7"];
        let there = async || {
            all.map(|client| it.data().join("secrets").join(format!("{client}-oauth")).join("client_secret").exists())
        };
        await_condition("the clients to have secrets", SOON, there, |there| !there.contains(&false)).await;
        let shop = Self(it);
        let granted =
            async || shop.exchange("store/orders", &shop.own("store/checkout").await, &[TO_STOCK]).await.status;
        await_condition("the exchange to be granted", SOON, granted, |status| *status == 200).await;
        shop
    }

    async fn ask(&self, client: &str, fields: &[(&str, &str)]) -> Response {
        let (namespace, name) = client.split_once('/').unwrap();
        let (id, secret) = self.0.credentials(namespace, name);
        self.0.send(Request::form("/oauth2/token", fields).basic(&id, &secret)).await
    }

    /// A token of the client in its own name.
    async fn own(&self, client: &str) -> String {
        self.ask(client, &[("grant_type", "client_credentials")]).await.access_token()
    }

    async fn exchange(&self, client: &str, subject: &str, more: &[(&str, &str)]) -> Response {
        self.ask(client, &[&[GRANT, TYPE, ("subject_token", subject)], more].concat()).await
    }

    /// Checkout's token for the orders, and the one the orders get for it.
    async fn both(&self) -> (String, String) {
        let subject = self.own("store/checkout").await;
        let exchanged = self.exchange("store/orders", &subject, &[TO_STOCK]).await.access_token();
        (subject, exchanged)
    }

    /// The verifier's verdict about a reservation at the stock.
    async fn reserve(&self, token: &str) -> Response {
        let target = "/ext-authz/policy/warehouse/stock/items/7/reservations";
        let request = Request::new("POST", target).header("host", "stock.warehouse.svc").bearer(token);
        request.send(self.0.http).await.expect("the verifier answers")
    }

    async fn place(&self, token: &str) -> Response {
        let request = Request::new("POST", "/ext-authz/policy/store/orders/orders").header("host", "orders.store.svc");
        request.bearer(token).send(self.0.http).await.expect("the verifier answers")
    }

    /// Waits until the stock refuses the token.
    async fn refused(&self, token: &str) {
        let look = async || self.reserve(token).await.status;
        await_condition("the stock to refuse the token", SOON, look, |status| *status == 401).await;
    }

    /// What introspection says to a client of the warehouse.
    async fn introspect(&self, token: &str) -> Value {
        let (id, secret) = self.0.credentials("warehouse", "hop1");
        self.0.send(Request::form("/oauth2/introspect", &[("token", token)]).basic(&id, &secret)).await.json()
    }

    /// Replaces a part of one of the manifests.
    fn edit(&self, file: &str, from: &str, to: &str) {
        let (path, draft) = (self.0.manifests().join(file), self.0.data().join("draft"));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is in {file}");
        fs::write(&draft, text.replacen(from, to, 1)).unwrap();
        fs::rename(draft, path).unwrap();
    }
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&decode(token.split('.').nth(1).unwrap())).unwrap()
}

/// A service whose tokens its client may exchange for those of the next; the first for those of the stock as well.
fn hop(number: usize) -> String {
    let (host, next) = (format!("hop{number}.warehouse.svc"), number + 1);
    format!(
        r#"---
apiVersion: countersign.dev/v1alpha1
kind: ScopePolicy
metadata: {{name: hop{number}, namespace: warehouse}}
spec:
  audience: https://{host}
  scopes: [{{name: go}}]
  grants: [{{scopes: [go], to: [{{namespaces: All}}]}}]
  resourceServers: [warehouse.hop{number}]
---
apiVersion: countersign.dev/v1alpha1
kind: OAuthClient
metadata: {{name: hop{number}, namespace: warehouse}}
spec:
  grantTypes: [TokenExchange, ClientCredentials]
  access: [{{audience: "https://{host}", scopes: [go]}}, {{audience: "https://hop{next}.warehouse.svc", scopes: [go]}}]
  defaultAudience: https://{host}
"#
    )
}

#[tokio::test]
async fn exc_10_each_hop_takes_its_own_token_and_not_the_others() {
    let shop = Shop::open().await;
    let (subject, exchanged) = shop.both().await;
    assert_eq!((shop.place(&subject).await.status, shop.place(&exchanged).await.status), (200, 401));
    assert_eq!(shop.reserve(&subject).await.status, 401);
    let answer = shop.reserve(&exchanged).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("x-countersign-subject"), Some("store.checkout"));
    assert_eq!(answer.header("x-countersign-client"), Some("store.orders"));
    assert_eq!(answer.header("x-countersign-scope"), Some("stock:reserve"));
    let echo = Echo::start().await;
    let wire = |policy: &str| Wire::Grpc { verifier: shop.0.grpc, policy: Some(policy.to_owned()) };
    let envoy = Envoy::start(&[wire("store/orders"), wire("warehouse/stock")], echo.address).await;
    for (listener, host, path, token, status) in [
        (0, "orders.store.svc", "/orders", &subject, 200),
        (0, "orders.store.svc", "/orders", &exchanged, 401),
        (1, "stock.warehouse.svc", "/items/7/reservations", &exchanged, 200),
        (1, "stock.warehouse.svc", "/items/7/reservations", &subject, 401),
        (1, "stock.warehouse.svc", "/items/7/count", &exchanged, 403),
    ] {
        let method = if path.ends_with("count") { "PUT" } else { "POST" };
        let request = Request::new(method, path).header("host", host).bearer(token);
        let answer = request.send(envoy.listener(listener)).await.expect("Envoy answers");
        assert_eq!(answer.status, status, "{host}{path}: {answer:?}");
    }
}

#[tokio::test]
async fn other_peoples_clients_exchange_tokens() {
    let shop = Shop::open().await;
    let subject = shop.own("store/checkout").await;
    let (issuer, (id, secret)) = (shop.0.issuer_url(), shop.0.credentials("store", "orders"));
    let request = TokenRequest {
        issuer: &issuer,
        client_id: &id,
        client_secret: &secret,
        resource: Some(STOCK),
        subject_token: Some(&subject),
        ..TokenRequest::default()
    };
    for client in OutsideClient::ALL {
        let answer = client.ask(&request);
        assert_eq!(shop.reserve(answer["access_token"].as_str().unwrap()).await.status, 200, "{client:?}: {answer}");
        for (resource, scope, token, error) in [
            (STOCK, Some("stock:count"), &*subject, "invalid_scope"),
            (ORDERS, None, &subject, "invalid_target"),
            (STOCK, None, "x", "invalid_request"),
        ] {
            let bad = TokenRequest { resource: Some(resource), scope, subject_token: Some(token), ..request.clone() };
            assert_eq!(client.ask(&bad)["error"], error, "{client:?}");
        }
    }
    let metadata = shop.0.send(Request::get("/.well-known/oauth-authorization-server")).await.json();
    assert_eq!(metadata["grant_types_supported"], json!(["client_credentials", GRANT.1]));
}

#[tokio::test]
async fn exc_01_only_the_resource_server_of_the_tokens_audience_exchanges_it() {
    let shop = Shop::open().await;
    let (subject, exchanged) = shop.both().await;
    for (client, token) in [
        ("store/beside", &subject),
        ("warehouse/hop1", &subject),
        // What it has itself got is no token it was called with.
        ("store/orders", &exchanged),
    ] {
        let answer = shop.exchange(client, token, &[("resource", "https://hop2.warehouse.svc")]).await;
        assert_error(&answer, 400, "invalid_request");
    }
    shop.edit("2-store.yaml", "resourceServers: [store.orders]", "resourceServers: [warehouse.hop1]");
    let look = async || shop.exchange("store/orders", &subject, &[TO_STOCK]).await;
    let answer = await_condition("the policy to name another", SOON, look, |answer| answer.status == 400).await;
    assert_error(&answer, 400, "invalid_request");
    let foreign = shop.exchange("warehouse/hop1", &subject, &[("resource", "https://hop2.warehouse.svc")]).await;
    assert_error(&foreign, 400, "invalid_request");
}

#[tokio::test]
async fn exc_02_the_grant_type_has_to_be_the_clients() {
    let shop = Shop::open().await;
    let subject = shop.own("store/checkout").await;
    assert_error(&shop.exchange("store/checkout", &subject, &[TO_STOCK]).await, 400, "unauthorized_client");
    let own = shop.ask("store/orders", &[("grant_type", "client_credentials")]).await;
    assert_error(&own, 400, "unauthorized_client");
}

#[tokio::test]
async fn exc_03_scopes_are_the_exchanging_clients_own() {
    let shop = Shop::open().await;
    let subject = shop.own("store/checkout").await;
    for scope in ["stock:count", "stock:reserve stock:count", "orders:place", "a\"b"] {
        let answer = shop.exchange("store/orders", &subject, &[TO_STOCK, ("scope", scope)]).await;
        assert_error(&answer, 400, "invalid_scope");
    }
    let answer = shop.exchange("store/orders", &subject, &[TO_STOCK, ("scope", "stock:reserve")]).await.json();
    assert_eq!((&answer["scope"], &answer["issued_token_type"]), (&json!("stock:reserve"), &json!(ACCESS_TOKEN)));
}

#[tokio::test]
async fn exc_04_no_audience_comes_twice() {
    let shop = Shop::open().await;
    let subject = shop.own("store/checkout").await;
    for bad in [ORDERS, AUDIENCE, "https://nowhere.example", "stock"] {
        let answer = shop.exchange("store/orders", &subject, &[("resource", bad)]).await;
        assert_error(&answer, 400, "invalid_target");
    }
    let two = [TO_STOCK, ("audience", "https://hop1.warehouse.svc")];
    assert_error(&shop.exchange("store/orders", &subject, &two).await, 400, "invalid_target");
    let first = shop.own("warehouse/hop1").await;
    let second =
        shop.exchange("warehouse/hop1", &first, &[("resource", "https://hop2.warehouse.svc")]).await.access_token();
    for back in ["https://hop1.warehouse.svc", "https://hop2.warehouse.svc"] {
        assert_error(&shop.exchange("warehouse/hop2", &second, &[("resource", back)]).await, 400, "invalid_target");
    }
}

#[tokio::test]
async fn exc_05_other_tokens_and_other_actors_are_not_taken() {
    let shop = Shop::open().await;
    let subject = shop.own("store/checkout").await;
    for kind in ["refresh_token", "id_token", "saml1", "saml2", "jwt", "nonsense"] {
        let kind = format!("urn:ietf:params:oauth:token-type:{kind}");
        let answer = shop.exchange("store/orders", &subject, &[TO_STOCK, ("requested_token_type", &kind)]).await;
        assert_error(&answer, 400, "invalid_request");
        let fields = [GRANT, TO_STOCK, ("subject_token", &subject), ("subject_token_type", &kind)];
        assert_error(&shop.ask("store/orders", &fields).await, 400, "invalid_request");
    }
    for more in [[("actor_token", &*subject), ("actor_token_type", ACCESS_TOKEN)], [("actor_token", "x"), ("x", "y")]] {
        assert_error(
            &shop.exchange("store/orders", &subject, &[&[TO_STOCK][..], &more].concat()).await,
            400,
            "invalid_request",
        );
    }
    for fields in [vec![GRANT, TYPE], vec![GRANT, ("subject_token", &*subject)], vec![GRANT], vec![GRANT, TYPE, TYPE]] {
        assert_error(&shop.ask("store/orders", &fields).await, 400, "invalid_request");
    }
    let asked = shop.exchange("store/orders", &subject, &[TO_STOCK, ("requested_token_type", ACCESS_TOKEN)]).await;
    assert_eq!(asked.status, 200, "{asked:?}");
}

#[tokio::test]
async fn exc_06_only_a_token_that_is_good_now_is_exchanged() {
    let shop = Shop::open().await;
    let subject = shop.own("store/checkout").await;
    let forge = Forge::new(&shop.0).await;
    let parts: Vec<_> = subject.split('.').collect();
    let unsigned = format!("{}.{}.", parts[0], parts[1]);
    let mut over = claims(&subject);
    (over["iat"], over["exp"]) = (json!(1_700_000_000), json!(1_700_000_600));
    let over = forge.sign(&forge.header.to_string(), &over.to_string());
    let another = format!("{}.{}.{}", parts[0], parts[1], forge.token.rsplit_once('.').unwrap().1);
    for bad in ["x", "a.b.c", &unsigned, &another, &over, &format!("{subject}=")] {
        assert_error(&shop.exchange("store/orders", bad, &[TO_STOCK]).await, 400, "invalid_request");
    }
    let (id, secret) = shop.0.credentials("store", "checkout");
    let revoked = shop.0.send(Request::form("/oauth2/revoke", &[("token", &subject)]).basic(&id, &secret)).await;
    assert_eq!(revoked.status, 200);
    let look = async || shop.exchange("store/orders", &subject, &[TO_STOCK]).await;
    let answer = await_condition("the revocation to be known", SOON, look, |answer| answer.status != 200).await;
    assert_error(&answer, 400, "invalid_request");
}

#[tokio::test]
async fn exc_07_four_clients_act_in_a_row_at_most() {
    let shop = Shop::open().await;
    let mut token = shop.own("store/beside").await;
    let exchange = async |hop: usize, token: &str| {
        let next = format!("https://hop{}.warehouse.svc", hop + 1);
        shop.exchange(&format!("warehouse/hop{hop}"), token, &[("resource", &next)]).await
    };
    for hop in 2..=5 {
        token = exchange(hop, &token).await.access_token();
    }
    let hop = |number: usize, before: Value| {
        let mut act = json!({"sub": format!("warehouse.hop{number}")});
        if !before.is_null() {
            act["act"] = before;
        }
        act
    };
    let described = shop.introspect(&token).await;
    let acts = hop(5, hop(4, hop(3, hop(2, Value::Null))));
    assert_eq!((&described["sub"], &described["act"]), (&json!("store.beside"), &acts));
    assert_error(&exchange(6, &token).await, 400, "invalid_request");
}

#[tokio::test]
async fn exc_08_no_token_outlives_the_one_it_came_from() {
    let shop = Shop::open().await;
    let (subject, exchanged) = shop.both().await;
    let exp = |token: &str| claims(token)["exp"].as_i64().unwrap();
    assert!(exp(&exchanged) <= exp(&subject));
    shop.edit("2-store.yaml", "spec:\n  access", "spec:\n  tokens: {accessTokenLifetime: 5s}\n  access");
    let look = async || shop.both().await;
    let brief = |(_, exchanged): &(String, String)| exp(exchanged) - claims(exchanged)["iat"].as_i64().unwrap() <= 5;
    let (brief, _) = await_condition("shorter tokens", SOON, look, brief).await;
    let look = async || shop.exchange("store/orders", &brief, &[TO_STOCK]).await;
    let answer = await_condition("the token to end", SOON, look, |answer| answer.status != 200).await;
    assert_error(&answer, 400, "invalid_request");
}

#[tokio::test]
async fn exc_09_what_ends_the_first_token_ends_the_one_it_was_exchanged_for() {
    let shop = Shop::open().await;
    let (subject, exchanged) = shop.both().await;
    assert_eq!(
        (shop.reserve(&exchanged).await.status, &shop.introspect(&exchanged).await["active"]),
        (200, &json!(true))
    );
    let (id, secret) = shop.0.credentials("store", "checkout");
    shop.0.send(Request::form("/oauth2/revoke", &[("token", &subject)]).basic(&id, &secret)).await;
    shop.refused(&exchanged).await;
    assert_eq!(shop.introspect(&exchanged).await, json!({"active": false}));

    let (_, exchanged) = shop.both().await;
    assert_eq!(shop.reserve(&exchanged).await.status, 200);
    shop.edit("2-store.yaml", "spec:\n  access", "spec:\n  state: Suspended\n  access");
    shop.refused(&exchanged).await;
    assert_eq!(shop.introspect(&exchanged).await, json!({"active": false}));
}
