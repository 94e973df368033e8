//! The whole of Countersign in one process over `shop.yaml`: what the threats are tried at.

use super::http::{Request, Response};
use super::ports::free_address;
use super::processes::{self, Process};
use super::scratch::Scratch;
use super::{await_condition, root};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub const AUDIENCE: &str = "https://orders.shop.svc";
pub const HOST: &str = "orders.shop.svc";
pub const POLICY: &str = "shop/orders";

pub struct Standalone {
    pub process: Process,
    pub issuer: SocketAddr,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub admin: SocketAddr,
    folder: Scratch,
}

impl Standalone {
    /// Ready, with the objects of `shop.yaml`.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(flags: &[&str]) -> Self {
        let folder = Scratch::new("standalone");
        let manifests = folder.join("manifests");
        fs::create_dir(&manifests).expect("make the folder of manifests");
        fs::copy(root().join("tests/it/support/shop.yaml"), manifests.join("shop.yaml")).expect("copy the manifests");
        let (issuer, grpc, http, admin) = (free_address(), free_address(), free_address(), free_address());
        let mut args = vec![
            format!("--manifests={}", manifests.display()),
            format!("--data={}", folder.join("data").display()),
            format!("--issuer-url=http://{issuer}"),
            format!("--listen={issuer}"),
            format!("--grpc-listen={grpc}"),
            format!("--http-listen={http}"),
            format!("--admin-listen={admin}"),
        ];
        args.extend(flags.iter().map(|&flag| flag.to_owned()));
        let mut process = processes::start("standalone", args);
        process.ready(admin).await;
        let it = Self { process, issuer, grpc, http, admin, folder };
        it.settled().await;
        it
    }

    /// Waits until what `shop.yaml` asks for is there: the Secrets of its clients, both rings of keys, the policies.
    async fn settled(&self) {
        let look = async || {
            let secrets = [("shop", "checkout"), ("shop", "orders"), ("rival", "spy")];
            let secrets =
                secrets.map(|(namespace, client)| self.secret_file(namespace, client, "client_secret").exists());
            let kinds = self.send(Request::get("/oauth2/jwks")).await.json();
            let kinds = ["EC", "RSA"].map(|kind| kinds["keys"].to_string().contains(&format!(r#""kty":"{kind}""#)));
            (secrets, kinds, self.verdict("GET", "/health", |request| request).await.status)
        };
        let whole = |seen: &([bool; 3], [bool; 2], u16)| *seen == ([true; 3], [true; 2], 200);
        await_condition("shop.yaml to take effect", Duration::from_secs(15), look, whole).await;
    }

    fn secret_file(&self, namespace: &str, client: &str, key: &str) -> PathBuf {
        self.data().join("secrets").join(namespace).join(format!("{client}-oauth")).join(key)
    }

    pub fn issuer_url(&self) -> String {
        format!("http://{}", self.issuer)
    }

    /// The folder watched for manifests: what is written here takes effect.
    pub fn manifests(&self) -> PathBuf {
        self.folder.join("manifests")
    }

    /// Replaces a part of `shop.yaml`, in one step.
    pub fn edit(&self, from: &str, to: &str) {
        let (file, draft) = (self.manifests().join("shop.yaml"), self.folder.join("draft.yaml"));
        let text = fs::read_to_string(&file).expect("read the manifests");
        assert!(text.contains(from), "{from} is in shop.yaml");
        fs::write(&draft, text.replace(from, to)).expect("write a draft");
        fs::rename(draft, file).expect("put the draft in place");
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The value of a key of a client's Secret.
    pub fn secret_value(&self, namespace: &str, client: &str, key: &str) -> String {
        let file = self.secret_file(namespace, client, key);
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// A client's id and secret.
    pub fn credentials(&self, namespace: &str, client: &str) -> (String, String) {
        let value = |key| self.secret_value(namespace, client, key);
        (value("client_id"), value("client_secret"))
    }

    /// A form for an endpoint of the issuer, authenticated as `shop.checkout`.
    pub fn form(&self, endpoint: &str, fields: &[(&str, &str)]) -> Request {
        let (id, secret) = self.credentials("shop", "checkout");
        Request::form(endpoint, fields).basic(&id, &secret)
    }

    /// The answer to a token request of `shop.checkout` with these further fields.
    pub async fn ask(&self, fields: &[(&str, &str)]) -> Response {
        let fields = [&[("grant_type", "client_credentials")], fields].concat();
        self.send(self.form("/oauth2/token", &fields)).await
    }

    /// The issuer's answer.
    pub async fn send(&self, request: Request) -> Response {
        request.send(self.issuer).await.expect("the issuer answers")
    }

    /// A token of `shop.checkout` with all its scopes.
    pub async fn token(&self) -> String {
        self.ask(&[]).await.access_token()
    }

    /// What introspection says to a client of the resource server's namespace.
    pub async fn introspect(&self, token: &str) -> Value {
        let answer = self.introspection(token).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    pub async fn introspection(&self, token: &str) -> Response {
        let (id, secret) = self.credentials("shop", "orders");
        self.send(Request::form("/oauth2/introspect", &[("token", token)]).basic(&id, &secret)).await
    }

    /// The verdict of the verifier's HTTP port about a request for the policy `shop/orders`, as Envoy would ask.
    pub async fn verdict(&self, method: &str, path: &str, add: impl FnOnce(Request) -> Request) -> Response {
        let request = Request::new(method, &format!("/ext-authz/policy/{POLICY}{path}")).header("host", HOST);
        add(request).send(self.http).await.expect("the verifier answers")
    }

    /// The verdict about `GET /orders/7` with this token.
    pub async fn check(&self, token: &str) -> Response {
        self.verdict("GET", "/orders/7", |request| request.bearer(token)).await
    }

    /// Waits until this token is no longer accepted, and returns the answer.
    pub async fn refused(&self, token: &str) -> Response {
        let look = async || self.check(token).await;
        await_condition("the token to be refused", Duration::from_secs(10), look, |answer| answer.status != 200).await
    }
}

/// Requires an OAuth error of this status and code.
pub fn assert_error(answer: &Response, status: u16, code: &str) {
    assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(code)), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
}

/// Requires a refusal for the token itself: 401 and `invalid_token`.
pub fn assert_invalid_token(answer: &Response) {
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert!(answer.status == 401 && challenge.contains(r#"error="invalid_token""#), "{answer:?}");
}

/// This machine's time, which the process under test has too.
#[expect(clippy::disallowed_methods, reason = "a test plays the outside world")]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
