//! A real nginx with `auth_request`, configured as docs/reference/nginx.md says, and as ingress-nginx configures it by the
//! annotations of docs/migrate.md.

use crate::support::await_condition;
use crate::support::echo::Echo;
use crate::support::http::{Request, Response};
use crate::support::ports::free_address;
use crate::support::processes::Process;
use crate::support::scratch::Scratch;
use crate::support::standalone::{HOST, Standalone};
use crate::support::{root, tool};
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

/// nginx before a resource server.
struct Nginx {
    _process: Process,
    address: SocketAddr,
    _folder: Scratch,
}

impl Nginx {
    /// As docs/reference/nginx.md says.
    async fn start(verifier: SocketAddr, resource_server: SocketAddr) -> Self {
        let server = block("docs/reference/nginx.md", "nginx")
            .replace("countersign-verifier:9002", &verifier.to_string())
            .replace("orders:8080", &resource_server.to_string());
        Self::serve(&server).await
    }

    /// With this server, which listens on port 80 as it is written.
    async fn serve(server: &str) -> Self {
        let (folder, address) = (Scratch::new("nginx"), free_address());
        let server = server.replace("listen 80;", &format!("listen {address};"));
        let place = folder.display();
        let config = format!(
            "daemon off; master_process off; error_log stderr; pid {place}/pid; events {{ }}
http {{
  access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
  {server}
}}
"
        );
        fs::write(folder.join("nginx.conf"), config).unwrap();
        let args = ["-p".into(), folder.as_os_str().to_owned(), "-c".into(), folder.join("nginx.conf").into()];
        let mut process = Process::start("nginx", tool("nginx"), args);
        let look = async || {
            assert!(process.ended().is_none(), "nginx ended:\n{}", process.output());
            Request::get("/").send(address).await
        };
        await_condition("nginx to answer", Duration::from_secs(10), look, Result::is_ok).await.unwrap();
        Self { _process: process, address, _folder: folder }
    }

    async fn ask(&self, request: Request) -> Response {
        request.header("host", HOST).send(self.address).await.expect("nginx answers")
    }
}

/// The first block of this language on a page.
fn block(page: &str, language: &str) -> String {
    let page = fs::read_to_string(root().join(page)).unwrap();
    let (_, block) = page.split_once(&format!("```{language}\n")).expect("the page shows a configuration");
    block.split_once("```").expect("which ends").0.to_owned()
}

/// The server that ingress-nginx writes for annotations: the lines of its template that have to do with `auth-url`.
fn ingress(annotations: &str, verifier: SocketAddr, resource_server: SocketAddr) -> String {
    let annotation = |name: &str| {
        let prefix = format!("nginx.ingress.kubernetes.io/{name}: ");
        annotations.lines().find_map(|line| line.trim().strip_prefix(&prefix)).map(str::to_owned)
    };
    assert_eq!(annotation("auth-signin"), None, "a service is told 401, and is sent nowhere");
    let url = annotation("auth-url").expect("the page gives the address");
    let (_, path) = url.split_once(":9002").expect("of the verifier's HTTP port");
    let headers = annotation("auth-response-headers").expect("the page says what is passed on");
    let passed = headers.split(',').enumerate().map(|(number, name)| {
        let variable = name.to_lowercase().replace('-', "_");
        format!("auth_request_set $authHeader{number} $upstream_http_{variable}; proxy_set_header '{name}' $authHeader{number};")
    });
    let passed: Vec<_> = passed.collect();
    format!(
        "server {{
  listen 80;
  location = /_external-auth {{
    internal;
    proxy_pass_request_body off;
    proxy_set_header Content-Length \"\";
    proxy_set_header X-Forwarded-Proto \"\";
    proxy_set_header Host countersign-verifier.countersign-system.svc.cluster.local;
    proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
    proxy_set_header X-Original-Method $request_method;
    proxy_set_header X-Sent-From nginx-ingress-controller;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Auth-Request-Redirect $request_uri;
    proxy_pass_request_headers on;
    set $target http://{verifier}{path};
    proxy_pass $target;
  }}
  location / {{
    auth_request /_external-auth;
    auth_request_set $auth_cookie $upstream_http_set_cookie;
    add_header Set-Cookie $auth_cookie;
    {}
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_pass http://{resource_server};
  }}
}}",
        passed.join("\n    ")
    )
}

#[tokio::test]
async fn ingress_nginx_asks_by_annotation() {
    let (mut it, echo) = (Standalone::start_with(&["--trusted-proxy=127.0.0.1"]).await, Echo::start().await);
    let nginx = Nginx::serve(&ingress(&block("docs/migrate.md", "yaml"), it.http, echo.address)).await;
    let token = it.token().await;
    let before = echo.requests();
    let forged = |request: Request| {
        request.header("X-Countersign-Subject", "admin").header("x-original-url", "http://orders.shop.svc/health")
    };
    let allowed = nginx.ask(forged(Request::get("/orders/7?a=b").bearer(&token))).await;
    assert_eq!(allowed.status, 200, "{allowed:?}");
    let seen = allowed.json();
    assert_eq!(seen["target"], "/orders/7?a=b");
    for (header, value) in
        [("subject", "shop.checkout"), ("client", "shop.checkout"), ("scope", "orders:read orders:write")]
    {
        assert_eq!(seen["headers"][format!("x-countersign-{header}")], serde_json::json!([value]));
    }
    let public = nginx.ask(forged(Request::get("/health"))).await;
    assert!(public.status == 200 && !public.json()["headers"].to_string().contains("\"admin\""), "{public:?}");
    let unknown = nginx.ask(forged(Request::get("/orders/7"))).await;
    let challenge = unknown.header("www-authenticate").unwrap_or_default();
    assert!(unknown.status == 401 && challenge.starts_with("Bearer realm="), "{unknown:?}");
    assert_eq!(nginx.ask(forged(Request::new("DELETE", "/orders/7").bearer(&token))).await.status, 403);
    it.process.kill().await;
    assert_eq!(nginx.ask(Request::get("/health")).await.status, 500, "without a verifier nothing passes");
    assert_eq!(echo.requests(), before + 2, "nothing that was refused came through");
}

#[tokio::test]
async fn nginx_asks_about_every_request_and_passes_on_who_calls() {
    let (mut it, echo) = (Standalone::start_with(&["--trusted-proxy=127.0.0.1"]).await, Echo::start().await);
    let nginx = Nginx::start(it.http, echo.address).await;
    let token = it.token().await;
    let before = echo.requests();

    let forged = |request: Request| {
        request
            .header("X-Countersign-Client", "admin")
            .header("x-countersign-subject", "admin")
            .header("x-countersign-scope", "admin")
            .header("x_countersign_scope", "admin")
            .header("x-original-url", "http://orders.shop.svc/health")
            .header("x-original-method", "OPTIONS")
    };
    let allowed = nginx.ask(forged(Request::get("/orders/7?a=b").bearer(&token))).await;
    assert_eq!(allowed.status, 200, "{allowed:?}");
    let seen = allowed.json();
    assert_eq!(seen["target"], "/orders/7?a=b");
    assert_eq!(seen["headers"]["x-countersign-client"], serde_json::json!(["shop.checkout"]));
    assert_eq!(seen["headers"]["x-countersign-scope"], serde_json::json!(["orders:read orders:write"]));
    let public = nginx.ask(forged(Request::get("/health"))).await;
    assert_eq!(public.status, 200, "{public:?}");
    assert!(!public.json()["headers"].to_string().contains("\"admin\""), "{public:?}");
    assert_eq!(echo.requests(), before + 2);

    let unknown = nginx.ask(forged(Request::get("/orders/7"))).await;
    let challenge = unknown.header("www-authenticate").unwrap_or_default();
    assert!(unknown.status == 401 && challenge.starts_with("Bearer realm="), "{unknown:?}");
    assert_eq!(nginx.ask(forged(Request::new("DELETE", "/orders/7").bearer(&token))).await.status, 403);
    for target in
        ["//health", "/orders/../health", "/health%2f", "/health;x", "/%2e/health", "/health#x", "/health?x#y"]
    {
        let answer = nginx.ask(Request::get(target).bearer(&token)).await;
        assert!((400..500).contains(&answer.status), "{target}: {answer:?}");
    }
    it.process.kill().await;
    assert_eq!(nginx.ask(Request::get("/health")).await.status, 500, "without a verifier nothing passes");
    assert_eq!(echo.requests(), before + 2, "nothing that was refused came through");
}

#[tokio::test]
async fn a_proxy_nobody_named_is_not_believed() {
    let (it, echo) = (Standalone::start().await, Echo::start().await);
    let nginx = Nginx::start(it.http, echo.address).await;
    let before = echo.requests();
    let token = it.token().await;
    assert_eq!(nginx.ask(Request::get("/orders/7").bearer(&token)).await.status, 403);
    assert_eq!(nginx.ask(Request::get("/health")).await.status, 403);
    assert_eq!(echo.requests(), before);
}
