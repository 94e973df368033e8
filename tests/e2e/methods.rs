//! Every way to prove who calls without a secret of ours, by OAuth clients other people wrote: two issuers behind one Service and
//! a Redis, all of them pods.
//!
//! ```text
//! openid-client, Authlib, Go ──► Service ──► issuer, issuer ──► Redis
//!                   └─ token ──► Envoy ──► nginx
//! ```

use crate::cluster::{Cluster, Namespace, until};
use crate::redis::Redis;
use crate::release::Release;
use crate::sidecar::Sidecar;
use crate::support::client_key::Key;
use crate::support::clients::OutsideClient::{Authlib, GoOauth2, OpenidClient};
use crate::support::clients::{OutsideClient, TokenRequest};
use crate::support::forge::decode;
use crate::support::orders::{ORDERS, client, object};
use crate::support::scratch::Scratch;
use crate::support::standalone::now;
use crate::support::tls::Certificates;
use crate::visitor::Visitor;
use serde_json::{Value, json};
use std::cell::Cell;
use std::fs;
use std::process::Command;

const NAME: &str = "spiffe://cluster.local/ns/shop/sa/checkout";
const BY_ACCOUNT: &str = "  authentication: {methods: [{type: ServiceAccount, serviceAccounts: [{name: default}]}]}\n";
/// What the clients of the orders, as resource servers, may ask for in the name of who called.
const STOCK: &str = r#"  audience: https://stock.$NS.svc
  targetRefs: [{group: "", kind: Service, name: stock}]
  scopes: [{name: "stock:read"}, {name: "stock:write"}]
  grants: [{scopes: ["stock:read"], to: [{namespaces: Same}]}]
  rules: [{name: items, matches: [{path: {type: Prefix, value: /items}}], protection: Scoped, allow: [{scopes: ["stock:read"]}]}]
"#;

/// What everybody in the namespace needs to know of the issuers, on this machine.
struct Shop<'a> {
    namespace: Namespace<'a>,
    issuer: String,
    /// `ca.crt`, and `hosts` with the Service's address.
    files: Scratch,
    key: Key,
    /// The addresses of the issuers' pods.
    pods: Vec<String>,
    assertions: Cell<u32>,
}

impl<'a> Shop<'a> {
    fn open(cluster: &'a Cluster, release: &Release<'_>) -> Self {
        let (namespace, key) = (cluster.namespace("shop"), Key::new());
        let orders = ORDERS.replace("  rules:\n", "  resourceServers: [$NS.forwarder]\n  rules:\n");
        let by_name =
            format!("  authentication: {{methods: [{{type: MutualTls, certificate: {{sanUri: \"{NAME}\"}}}}]}}\n");
        let to_stock = "  grantTypes: [TokenExchange]\n  access: [{audience: \"https://stock.$NS.svc\", scopes: [\"stock:read\"]}]\n";
        let manifests = [
            orders,
            object("ScopePolicy", "stock", STOCK),
            client("by-account", BY_ACCOUNT),
            client("by-key", &key.registered()),
            client("by-certificate", &by_name),
            object("OAuthClient", "forwarder", &[to_stock, &key.registered()].concat()),
        ];
        release.apply(&namespace.name, &manifests.concat());
        namespace.must(&["wait", "--for=condition=Ready", "--timeout=60s", "oac", "--all"]);
        let told = |entry: &str| {
            namespace.must(&["get", "configmap", "by-account-oauth", "-o", &format!("jsonpath={{.data.{entry}}}")])
        };
        let files = Scratch::new("methods");
        let service = format!("service/{}-issuer", release.name);
        let address = release.must(&["get", &service, "-o", "jsonpath={.spec.clusterIP}"]);
        fs::write(files.join("hosts"), format!("127.0.0.1 localhost\n{address} {}\n", release.host("issuer"))).unwrap();
        fs::write(files.join("ca.crt"), told(r"ca\.crt")).unwrap();
        let issuers = ["get", "pods", "--selector=app.kubernetes.io/component=issuer", "-o"];
        let addresses = release.must(&[&issuers[..], &["jsonpath={.items[*].status.podIP}"]].concat());
        let pods = addresses.split(' ').map(str::to_owned).collect();
        Self { issuer: told("issuer"), namespace, files, key, pods, assertions: Cell::new(0) }
    }

    fn id(&self, client: &str) -> String {
        format!("{}.{client}", self.namespace.name)
    }

    /// What an outside client answers, asked for this by the issuers' own name.
    fn ask(&self, outside: OutsideClient, client: &str, request: &TokenRequest<'_>) -> Value {
        let (client_id, key) = (self.id(client), self.key.pkcs8());
        let (authority, hosts) = (self.files.join("ca.crt"), self.files.join("hosts"));
        outside.ask(&TokenRequest {
            issuer: &self.issuer,
            client_id: &client_id,
            client_key: &key,
            authority: Some(&authority),
            hosts: Some(&hosts),
            ..request.clone()
        })
    }

    fn token(&self, outside: OutsideClient, client: &str, request: &TokenRequest<'_>) -> String {
        let answer = self.ask(outside, client, request);
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{outside:?} got no token: {answer}")).to_owned()
    }

    /// A token of `by-account`, for the token of the pod `caller`.
    fn token_of_pod(&self, outside: OutsideClient) -> String {
        let assertion = self.account_token("caller", &self.issuer);
        self.token(outside, "by-account", &TokenRequest { client_assertion: &assertion, ..by("client_assertion") })
    }

    /// The token the kubelet would put into that pod.
    fn account_token(&self, pod: &str, audience: &str) -> String {
        let uid = self.namespace.must(&["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"]);
        let bound = ["--bound-object-kind=Pod", "--bound-object-name", pod, "--bound-object-uid", &uid];
        let token = ["create", "token", "default", "--audience", audience];
        self.namespace.must(&[&token[..], &bound].concat()).trim().to_owned()
    }

    /// The status one of the issuers answers to an assertion.
    fn status(&self, pod: &str, assertion: &str) -> String {
        let authority = self.issuer.strip_prefix("https://").unwrap();
        let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "10", "--output", "/dev/null"])
            .args(["--write-out", "%{http_code}", "--noproxy", "*", "--cacert"])
            .arg(self.files.join("ca.crt"))
            .args(["--connect-to", &format!("{host}:{port}:{pod}:8443")])
            .args(["--data", "grant_type=client_credentials"])
            .args(["--data", "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"])
            .args(["--data", &format!("client_assertion={assertion}"), &format!("{}/oauth2/token", self.issuer)])
            .output()
            .expect("run curl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// An assertion of `by-key`, never used.
    fn assertion(&self) -> String {
        self.assertions.update(|count| count + 1);
        let jti = self.assertions.get().to_string();
        let (id, now) = (self.id("by-key"), now().as_second());
        let claims = json!({"iss": id, "sub": id, "aud": self.issuer, "jti": jti, "iat": now, "exp": now + 60});
        self.key.sign(&claims.to_string())
    }
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&decode(token.split('.').nth(1).expect("claims"))).expect("JSON")
}

fn refusal(code: &str) -> Value {
    json!({"error": code})
}

fn by(method: &str) -> TokenRequest<'_> {
    TokenRequest { auth_method: Some(method), ..TokenRequest::default() }
}

/// Whoever can call the orders, through their Envoy.
struct Caller<'a> {
    shop: &'a Shop<'a>,
    pod: Visitor<'a>,
}

impl Caller<'_> {
    fn call(&self, token: &str) -> String {
        let url = format!("http://orders.{}.svc/orders/7", self.shop.namespace.name);
        let answer =
            self.pod.curl(&format!("--write-out %{{http_code}} --header 'Authorization: Bearer {token}' {url}"));
        answer.replace('\n', " ")
    }

    #[track_caller]
    fn is_served(&self, token: &str, client: &str, outside: OutsideClient) {
        assert_eq!(self.call(token), format!("for {} 200", self.shop.id(client)), "{outside:?}");
    }
}

#[test]
fn other_peoples_clients_prove_who_they_are_in_every_way_without_a_secret() {
    let cluster = Cluster::new();
    let release = Release::install(&cluster);
    let redis = Redis::start(&cluster, &release);
    let authorities = Certificates::new(&["DNS:unused"]);
    let authority = format!("--from-file=ca.crt={}", authorities.authority().display());
    release.must(&["create", "secret", "generic", "clients", &authority]);
    let values = format!("{},issuer.clientCa.secretName=clients", redis.values());
    release.upgrade(&["--set", &values]);
    release.rolled_out();
    let shop = Shop::open(&cluster, &release);
    let caller = Caller { shop: &shop, pod: Visitor::start(&shop.namespace, "caller", None) };
    Sidecar::trusting(&release, &shop.namespace, "configMap: {name: by-account-oauth");

    by_the_token_of_its_pod(&caller);
    by_keys_of_its_own(&caller);
    by_a_certificate(&caller, &authorities);
    in_the_name_of_who_called(&shop);
    without_the_redis(&caller, &redis);
    assert_eq!(shop.namespace.must(&["get", "secrets", "--output", "name"]), "", "nobody holds a secret");
}

fn by_the_token_of_its_pod(caller: &Caller<'_>) {
    let shop = caller.shop;
    for outside in OutsideClient::ALL {
        caller.is_served(&shop.token_of_pod(outside), "by-account", outside);
    }
    let elsewhere = shop.account_token("caller", "https://elsewhere.example");
    let elsewhere = TokenRequest { client_assertion: &elsewhere, ..by("client_assertion") };
    assert_eq!(shop.ask(OpenidClient, "by-account", &elsewhere), refusal("invalid_client"));
}

fn by_keys_of_its_own(caller: &Caller<'_>) {
    let shop = caller.shop;
    for outside in [OpenidClient, Authlib] {
        caller.is_served(&shop.token(outside, "by-key", &by("private_key_jwt")), "by-key", outside);
    }
    let [here, there] = &shop.pods[..] else { panic!("two issuers: {:?}", shop.pods) };
    let once = shop.assertion();
    assert_eq!([here, there, here].map(|pod| shop.status(pod, &once)), ["200", "401", "401"], "each is good once");
}

fn by_a_certificate(caller: &Caller<'_>, authorities: &Certificates) {
    let shop = caller.shop;
    let identity = |file, name| authorities.client(file, "/CN=checkout", Some(&format!("URI:{name}")));
    let (own, anothers) = (identity("own", NAME), identity("cart", "spiffe://cluster.local/ns/shop/sa/cart"));
    let with = |identity| TokenRequest { identity: Some(identity), ..TokenRequest::default() };
    for outside in [Authlib, GoOauth2] {
        let bound = shop.token(outside, "by-certificate", &with(&own));
        assert!(claims(&bound)["cnf"]["x5t#S256"].is_string(), "{outside:?}: {}", claims(&bound));
        assert!(caller.call(&bound).ends_with("401"), "a bound token is nothing without its certificate");
    }
    assert_eq!(shop.ask(Authlib, "by-certificate", &with(&anothers)), refusal("invalid_client"));
}

fn in_the_name_of_who_called(shop: &Shop<'_>) {
    let subject = shop.token_of_pod(GoOauth2);
    let stock = format!("https://stock.{}.svc", shop.namespace.name);
    let exchange = TokenRequest { subject_token: Some(&subject), resource: Some(&stock), ..by("private_key_jwt") };
    for outside in [OpenidClient, Authlib] {
        let said = claims(&shop.token(outside, "forwarder", &exchange));
        let expected = (json!(shop.id("by-account")), json!(shop.id("forwarder")), json!(stock));
        assert_eq!((said["sub"].clone(), said["act"]["sub"].clone(), said["aud"].clone()), expected, "{outside:?}");
    }
    let more = TokenRequest { scope: Some("stock:write"), ..exchange };
    assert_eq!(shop.ask(OpenidClient, "forwarder", &more), refusal("invalid_scope"));
}

/// Nobody can tell whether an assertion was used; what needs no store goes on.
fn without_the_redis(caller: &Caller<'_>, redis: &Redis<'_>) {
    let shop = caller.shop;
    let all = |status| shop.pods.iter().all(|pod| shop.status(pod, &shop.assertion()) == status);
    redis.scale(0);
    until("no use is noted any more", || all("503"));
    caller.is_served(&shop.token_of_pod(GoOauth2), "by-account", GoOauth2);
    redis.scale(1);
    until("uses are noted again", || all("200"));
}
