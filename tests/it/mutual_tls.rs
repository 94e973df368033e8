//! Method `MutualTls` (RFC 8705): other people's clients with certificates, tokens bound to them, and a real Envoy that tells the
//! verifier who calls.

use crate::secure_client::SecureClient;
use crate::support::await_condition;
use crate::support::clients::{OutsideClient, TokenRequest};
use crate::support::echo::Echo;
use crate::support::envoy::{Envoy, Wire};
use crate::support::forge::{decode, encode};
use crate::support::http::Request;
use crate::support::installation::{Installation, Replica, Role};
use crate::support::orders::{ORDERS, client, question};
use crate::support::tenant::{SOON, Tenant};
use crate::support::testbed::Testbed;
use crate::support::tls::{Certificates, Identity};
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

const GRANT: (&str, &str) = ("grant_type", "client_credentials");
const URI: &str = "spiffe://cluster.local/ns/shop/sa/checkout";

/// An installation whose issuer takes client certificates of one authority.
struct World {
    installation: Installation,
    /// Who makes client certificates.
    clients: Certificates,
    testbed: Testbed,
}

impl World {
    fn new() -> Self {
        let testbed = Testbed::shared();
        let installation = Installation::new(&testbed, &[]).with_tls();
        Self { installation, clients: Certificates::new(&["DNS:unused"]), testbed }
    }

    async fn start(&self) -> [Replica; 3] {
        let authority = format!("--client-ca={}", self.clients.authority().display());
        let mut replicas = [
            self.installation.spawn(Role::Controller),
            self.installation.spawn_with(Role::Issuer, &[&authority]),
            self.installation.spawn(Role::Verifier),
        ];
        for replica in &mut replicas {
            replica.process.ready(replica.admin).await;
        }
        replicas
    }

    fn identity(&self, name: &str, alternative: Option<&str>) -> Identity {
        self.clients.client(name, "/C=DE/O=shop/CN=checkout", alternative)
    }

    /// Answers of the issuer to whoever shows this certificate.
    fn client(&self, identity: Option<&Identity>) -> SecureClient {
        SecureClient::new(&self.installation.issuer_authority(), identity)
    }
}

/// A client whose certificate has this name.
fn certified(name: &str, certificate: &str) -> String {
    client(name, &format!("  authentication: {{methods: [{{type: MutualTls, certificate: {{{certificate}}}}}]}}\n"))
}

fn manifests() -> String {
    let named = [
        certified("checkout", &format!("sanUri: \"{URI}\"")),
        certified("by-dns", "sanDns: checkout.shop.svc"),
        certified("by-subject", "subjectDn: \"CN=checkout,O=shop,C=DE\""),
        client("secret", ""),
    ];
    [ORDERS, &named.concat()].concat()
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&decode(token.split('.').nth(1).expect("claims"))).expect("JSON")
}

/// `x5t#S256` of a certificate.
fn thumbprint(identity: &Identity) -> String {
    encode(digest(&SHA256, &identity.der()))
}

async fn opened(world: &World) -> Tenant<'_> {
    let tenant = Tenant::new(&world.testbed, &world.installation).await;
    tenant.apply(&manifests());
    tenant.wait_ready(&["checkout", "by-dns", "by-subject", "secret"]);
    tenant
}

#[tokio::test(flavor = "multi_thread")]
async fn other_peoples_clients_prove_who_they_are_by_a_certificate() {
    let world = World::new();
    let [_controller, issuer, _verifier] = world.start().await;
    let tenant = opened(&world).await;
    let authority = world.installation.issuer_authority();
    let by_uri = world.identity("uri", Some(&format!("URI:{URI}")));
    let by_dns = world.identity("dns", Some("DNS:checkout.shop.svc"));
    let by_subject = world.identity("subject", None);
    let id = |name: &str| format!("{}.{name}", tenant.namespace);
    for (name, identity) in [("checkout", &by_uri), ("by-dns", &by_dns), ("by-subject", &by_subject)] {
        let secure = world.client(Some(identity));
        let form = [GRANT, ("client_id", &id(name))];
        let look = async || secure.send(&Request::form("/oauth2/token", &form), issuer.issuer).await.map(|a| a.status);
        await_condition("the client to be known", SOON, look, |status| matches!(status, Ok(200))).await.unwrap();
        for outside in [OutsideClient::Authlib, OutsideClient::GoOauth2] {
            let request = TokenRequest {
                issuer: &world.installation.issuer_url(),
                client_id: &id(name),
                identity: Some(identity),
                authority: Some(&authority),
                ..TokenRequest::default()
            };
            let token = outside.token(&request);
            assert_eq!(claims(&token)["cnf"], json!({"x5t#S256": thumbprint(identity)}), "{outside:?}");
        }
    }
    let document = Request::get("/.well-known/oauth-authorization-server");
    let metadata = world.client(None).send(&document, issuer.issuer).await.unwrap().json();
    assert!(metadata["token_endpoint_auth_methods_supported"].to_string().contains("\"tls_client_auth\""));
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], json!(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_the_clients_proves_nothing() {
    let world = World::new();
    let [_controller, issuer, _verifier] = world.start().await;
    let tenant = opened(&world).await;
    let good = world.identity("uri", Some(&format!("URI:{URI}")));
    let status = async |identity: Option<&Identity>, name: &str, more: &[(&str, &str)]| {
        let id = format!("{}.{name}", tenant.namespace);
        let form = [&[GRANT, ("client_id", &*id)], more].concat();
        let answer = world.client(identity).send(&Request::form("/oauth2/token", &form), issuer.issuer).await?;
        std::io::Result::Ok((answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned()))
    };
    let look = async || status(Some(&good), "checkout", &[]).await;
    await_condition("the client to be known", SOON, look, |seen| matches!(seen, Ok((200, _)))).await.unwrap();
    let refused = || (401, "invalid_client".to_owned());
    for (what, alternative) in [
        ("another's", "URI:spiffe://cluster.local/ns/shop/sa/cart"),
        ("a longer one", "URI:spiffe://cluster.local/ns/shop/sa/checkout/x"),
        ("in capitals", "URI:spiffe://cluster.local/ns/shop/sa/CHECKOUT"),
        ("the same words as a DNS name", "DNS:checkout.shop.svc"),
        ("a wildcard", "DNS:*.shop.svc"),
    ] {
        let identity = world.identity("other", Some(alternative));
        assert_eq!(status(Some(&identity), "checkout", &[]).await.unwrap(), refused(), "{what}");
    }
    let wildcard = world.identity("wildcard", Some("DNS:*.shop.svc"));
    assert_eq!(status(Some(&wildcard), "by-dns", &[]).await.unwrap(), refused());
    let subject = world.clients.client("subject", "/C=DE/O=shop/CN=checkout/CN=admin", None);
    assert_eq!(status(Some(&subject), "by-subject", &[]).await.unwrap(), refused());
    assert_eq!(status(None, "checkout", &[]).await.unwrap(), refused(), "no certificate");
    assert_eq!(status(Some(&good), "nobody", &[]).await.unwrap(), refused(), "no such client");
    assert_eq!(status(Some(&good), "secret", &[]).await.unwrap(), refused(), "a client with another method");
    let both = status(Some(&good), "checkout", &[("client_secret", "x")]).await.unwrap();
    assert_eq!(both, refused(), "a secret counts where one is presented");
    // One whose authority the issuer does not trust, and one that is for servers, do not even get a connection.
    let strangers = Certificates::new(&["DNS:unused"]);
    let stranger = strangers.client("uri", "/CN=checkout", Some(&format!("URI:{URI}")));
    let server = world.clients.with_usage("server", &format!("URI:{URI}"), "serverAuth");
    for identity in [&stranger, &server] {
        assert!(status(Some(identity), "checkout", &[]).await.is_err());
    }
    // Nor does a header say anything.
    let forwarded = format!("Hash={};URI={URI}", thumbprint(&good));
    let form = Request::form("/oauth2/token", &[GRANT, ("client_id", &format!("{}.checkout", tenant.namespace))]);
    let request = form.header("x-forwarded-client-cert", &forwarded).header("client-cert", ":MIIB:");
    assert_eq!(world.client(None).send(&request, issuer.issuer).await.unwrap().status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn cla_09_a_bound_token_passes_with_its_certificate_alone() {
    let world = World::new();
    let [_controller, issuer, verifier] = world.start().await;
    let tenant = opened(&world).await;
    let own = world.identity("uri", Some(&format!("URI:{URI}")));
    let other = world.identity("other", Some("URI:spiffe://cluster.local/ns/shop/sa/cart"));
    let id = format!("{}.checkout", tenant.namespace);
    let ask = Request::form("/oauth2/token", &[GRANT, ("client_id", &id)]);
    let secure = world.client(Some(&own));
    let look = async || secure.send(&ask, issuer.issuer).await.map(|answer| answer.status);
    await_condition("the client to be known", SOON, look, |status| matches!(status, Ok(200))).await.unwrap();
    let bound = secure.send(&ask, issuer.issuer).await.unwrap().access_token();
    let plain = plain_token(&world, &tenant, &issuer).await;

    let echo = Echo::start().await;
    let (policy, front) = (format!("{}/orders", tenant.namespace), Certificates::new(&["IP:127.0.0.1"]));
    let wires = [
        Wire::Grpc { verifier: verifier.grpc, policy: Some(policy.clone()) },
        Wire::Http { verifier: verifier.http, prefix: format!("/ext-authz/policy/{policy}") },
    ];
    let envoy = Envoy::start_mtls(&wires, echo.address, &front, &world.clients.authority()).await;
    let (host, _) = question(&tenant.namespace, "");
    let forwarded = format!("Hash={};URI={URI}", thumbprint(&own));
    let call = async |wire: usize, identity: Option<&Identity>, token: &str| {
        let request = Request::get("/orders/7").header("host", &host).bearer(token);
        let request = request.header("x-forwarded-client-cert", &forwarded);
        let answer =
            SecureClient::new(&front.authority(), identity).send(&request, envoy.listener(wire)).await.unwrap();
        (answer.status, answer.header("www-authenticate").unwrap_or_default().contains("invalid_token"))
    };
    let look = async || call(0, None, &plain).await;
    await_condition("the verifier to know the policy", SOON, look, |seen| seen.0 == 200).await;
    assert_eq!(call(0, Some(&own), &bound).await, (200, false), "its own certificate");
    assert_eq!(call(0, Some(&other), &bound).await, (401, true), "another certificate");
    assert_eq!(call(0, None, &bound).await, (401, true), "no certificate");
    // Over HTTP nobody says who calls.
    for identity in [Some(&own), Some(&other), None] {
        assert_eq!(call(1, identity, &bound).await, (401, true));
    }
    for (wire, identity) in [(0, Some(&own)), (0, Some(&other)), (1, Some(&other)), (1, None)] {
        assert_eq!(call(wire, identity, &plain).await, (200, false), "a token that is not bound");
    }
    introspected(&world, &tenant, &issuer, &bound, &own).await;
}

/// A token of the client with a secret.
async fn plain_token(world: &World, tenant: &Tenant<'_>, issuer: &Replica) -> String {
    let (id, secret) = credentials(world, tenant);
    let request = Request::form("/oauth2/token", &[GRANT]).basic(&id, &secret);
    world.client(None).send(&request, issuer.issuer).await.unwrap().access_token()
}

fn credentials(world: &World, tenant: &Tenant<'_>) -> (String, String) {
    let value = |key| world.installation.secret_value(&tenant.namespace, "secret-oauth", key);
    (value("client_id"), value("client_secret"))
}

/// A resource server that asks learns what the token is bound to (RFC 8705 section 3.2).
async fn introspected(world: &World, tenant: &Tenant<'_>, issuer: &Replica, bound: &str, own: &Identity) {
    let (id, secret) = credentials(world, tenant);
    let request = Request::form("/oauth2/introspect", &[("token", bound)]).basic(&id, &secret);
    let answer = world.client(None).send(&request, issuer.issuer).await.unwrap().json();
    assert_eq!((&answer["active"], &answer["cnf"]), (&json!(true), &json!({"x5t#S256": thumbprint(own)})));
}
