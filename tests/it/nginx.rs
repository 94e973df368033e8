//! A real nginx with `auth_request`, configured as docs/reference/nginx.md says.

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
    async fn start(verifier: SocketAddr, resource_server: SocketAddr) -> Self {
        let (folder, address) = (Scratch::new("nginx"), free_address());
        let page = fs::read_to_string(root().join("docs/reference/nginx.md")).unwrap();
        let (_, server) = page.split_once("```nginx\n").expect("the page shows a configuration");
        let (server, _) = server.split_once("```").expect("which ends");
        let server = server
            .replace("listen 80;", &format!("listen {address};"))
            .replace("countersign-verifier:9002", &verifier.to_string())
            .replace("orders:8080", &resource_server.to_string());
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
