//! The Envoy way, with the settings of `examples/envoy-agent`: a caller and a resource server that know nothing of OAuth.
//!
//! ```text
//! caller ─► outbound Envoy ─────────────────────► inbound Envoy ─► resource server
//!              ▲ a file, replaced in place            ▼ ext_authz over TLS
//!            agent ─── TLS ───► issuer              verifier
//! ```
//! Flows in: calls without a token. Flows out: what the resource server was told, and how many calls failed. None may.

use super::Agent;
use crate::support::await_condition;
use crate::support::echo::Echo;
use crate::support::http::{Request, Response};
use crate::support::installation::{Installation, QUICK};
use crate::support::ports::free_address;
use crate::support::processes::Process;
use crate::support::scratch::Scratch;
use crate::support::tenant::{SOON, Tenant};
use crate::support::testbed::Testbed;
use crate::support::tls::Certificates;
use crate::support::{root, tool};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

/// Tokens live ten seconds, and nobody is lenient about their end.
const LIVES: [&str; 2] = ["--max-access-token-lifetime=10s", "--default-access-token-lifetime=10s"];

/// An Envoy with the settings of an example.
struct Example {
    process: Process,
    address: SocketAddr,
    _folder: Scratch,
}

impl Example {
    fn start(file: &str, address: SocketAddr, replaced: &[(String, String)]) -> Self {
        let folder = Scratch::new(file);
        let config = folder.join("envoy.yaml");
        fs::write(&config, settings(file, replaced)).unwrap();
        let args = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "--config-path"];
        let args = args.into_iter().map(Into::into).chain([config.into_os_string()]);
        Self { process: Process::start(file, tool("envoy"), args), address, _folder: folder }
    }

    fn outbound(namespace: &str, tokens: &Path, inbound: SocketAddr) -> Self {
        let (address, tokens) = (free_address(), tokens.display().to_string());
        let replaced = [
            (place("127.0.0.1", 9080), socket(address)),
            (place("0.0.0.0", 9902), socket(free_address())),
            (place("orders.shop.svc", 80), socket(inbound)),
            (
                "host_rewrite_literal: orders.shop.svc".to_owned(),
                format!("host_rewrite_literal: orders.{namespace}.svc"),
            ),
            ("/run/tokens".to_owned(), tokens),
        ];
        Self::start("outbound.yaml", address, &replaced)
    }

    /// One that reads in this folder who vouches for the verifier.
    fn inbound(namespace: &str, verifier: SocketAddr, folder: &Path, resource_server: SocketAddr) -> Self {
        let (address, host) = (free_address(), "countersign-verifier.countersign-system.svc");
        let authorities = folder.join("authorities.yaml");
        let name = format!("san_type: DNS, matcher: {{exact: {host}}}");
        let named = [
            ("/etc/countersign".to_owned(), folder.display().to_string()),
            (name, "san_type: IP_ADDRESS, matcher: {exact: 127.0.0.1}".to_owned()),
        ];
        fs::write(&authorities, settings("authorities.yaml", &named)).unwrap();
        let replaced = [
            (place("0.0.0.0", 8080), socket(address)),
            (place("127.0.0.1", 8081), socket(resource_server)),
            (place(host, 9001), socket(verifier)),
            ("/etc/envoy/authorities.yaml".to_owned(), authorities.display().to_string()),
            ("countersign.dev/policy: shop/orders".to_owned(), format!("countersign.dev/policy: {namespace}/orders")),
        ];
        Self::start("inbound.yaml", address, &replaced)
    }

    async fn get(&self, request: Request) -> std::io::Result<Response> {
        request.send(self.address).await
    }

    /// Waits until it answers with this status.
    async fn until(&mut self, request: &Request, status: u16) -> Response {
        let look = async || {
            let ended = self.process.ended();
            assert!(ended.is_none(), "Envoy ended:\n{}", self.process.output());
            request.clone().send(self.address).await
        };
        let wanted = |answer: &std::io::Result<Response>| answer.as_ref().is_ok_and(|answer| answer.status == status);
        await_condition(&format!("{status} through Envoy"), SOON, look, wanted).await.expect("accepted with a status")
    }
}

/// A file of the example, in which only places and names differ.
fn settings(file: &str, replaced: &[(String, String)]) -> String {
    let settings = fs::read_to_string(root().join("examples/envoy-agent").join(file)).unwrap();
    replaced.iter().fold(settings, |settings, (from, to)| {
        assert!(settings.contains(from), "{file} does not say {from:?}");
        settings.replace(from, to)
    })
}

fn place(host: &str, port: u16) -> String {
    format!("socket_address: {{address: {host}, port_value: {port}}}")
}

fn socket(address: SocketAddr) -> String {
    place(&address.ip().to_string(), address.port())
}

/// Callers that never rest.
struct Load {
    ends: Arc<AtomicBool>,
    answers: Arc<AtomicU32>,
    failures: Arc<Mutex<Vec<String>>>,
    lanes: JoinSet<()>,
}

impl Load {
    fn begin(request: &Request, to: SocketAddr) -> Self {
        let (ends, answers, failures) = (Arc::default(), Arc::default(), Arc::default());
        let mut it = Self { ends, answers, failures, lanes: JoinSet::new() };
        for _ in 0..4 {
            let (request, ends) = (request.clone(), Arc::clone(&it.ends));
            let (answers, failures) = (Arc::clone(&it.answers), Arc::clone(&it.failures));
            it.lanes.spawn(async move {
                while !ends.load(Ordering::Relaxed) {
                    match request.send(to).await {
                        Ok(answer) if answer.status == 200 => drop(answers.fetch_add(1, Ordering::Relaxed)),
                        other => failures.lock().unwrap().push(format!("{other:?}")),
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
        it
    }

    /// How many calls were answered; none may have failed.
    async fn end(self) -> u32 {
        self.ends.store(true, Ordering::Relaxed);
        self.lanes.join_all().await;
        let failures = self.failures.lock().unwrap();
        assert!(failures.is_empty(), "{} calls failed: {:#?}", failures.len(), &failures[..failures.len().min(3)]);
        self.answers.load(Ordering::Relaxed)
    }
}

/// Tokens the agent obtained so far.
async fn obtained(agent: &Agent) -> u32 {
    let text = Request::get("/metrics").send(agent.admin).await.unwrap().text();
    let name = r#"countersign_agent_token_requests_total{outcome="obtained"} "#;
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_that_know_no_oauth_talk_through_envoy_and_fail_no_call_for_minutes() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[&QUICK[..], &LIVES].concat()).with_tls().with_verifier_tls();
    let tenant = Tenant::new(&testbed, &installation).await;
    let [_controller, issuer, verifier] = installation.start_all().await;
    tenant.open(&["checkout"]);

    // The agent has no credentials yet, so there is no token; Envoy starts all the same, and lets nothing out.
    let (mounted, echo) = (Scratch::new("mounted"), Echo::start().await);
    let agent = Agent::start(&[format!("--credentials={}", mounted.display()), "--token=orders".to_owned()]);
    await_condition("Envoy's file", SOON, async || agent.envoy_file().exists(), |there| *there).await;
    let (vouching, stranger) = (Scratch::new("authorities"), Certificates::new(&["IP:127.0.0.1"]));
    fs::copy(stranger.authority(), vouching.join("ca.crt")).unwrap();
    let mut inbound = Example::inbound(&tenant.namespace, verifier.grpc, &vouching, echo.address);
    let mut outbound = Example::outbound(&tenant.namespace, &agent.folder, inbound.address);
    let call = Request::get("/orders/7");
    outbound.until(&call, 401).await;
    let direct = call.clone().header("host", &format!("orders.{}.svc", tenant.namespace));
    // Nobody answers for a verifier whose authority is unknown; Envoy takes over the one that follows.
    inbound.until(&direct, 503).await;
    fs::copy(installation.verifier_authority(), vouching.join("next")).unwrap();
    fs::rename(vouching.join("next"), vouching.join("ca.crt")).unwrap();
    let refused = inbound.until(&direct, 401).await;
    assert_eq!(refused.header("www-authenticate"), Some(r#"Bearer realm="countersign""#), "{refused:?}");
    assert_eq!(echo.requests(), 0);

    // The Secret is mounted.
    for key in ["client_id", "client_secret", "token_endpoint", "ca.crt"] {
        let value = installation.secret_value(&tenant.namespace, "checkout-oauth", key);
        fs::write(mounted.join(key), value).unwrap();
    }
    let told = outbound.until(&call, 200).await.json();
    assert_eq!(told["headers"]["x-countersign-subject"][0], format!("{}.checkout", tenant.namespace));
    // Whatever the caller says of itself is replaced.
    let claims = call.clone().bearer("my-own").header("x-countersign-subject", "somebody");
    let answer = outbound.get(claims).await.unwrap();
    assert_eq!(answer.json()["headers"]["x-countersign-subject"], told["headers"]["x-countersign-subject"]);

    // Through many renewals, in place, under load.
    let load = Load::begin(&call, outbound.address);
    let enough = obtained(&agent).await + 8;
    let patience = Duration::from_mins(2);
    await_condition("eight renewals", patience, async || obtained(&agent).await, |count| *count >= enough).await;
    assert!(load.end().await > 100);

    // The issuer hangs for longer than a token: nothing leaves any more, and then everything does again.
    issuer.process.signal("STOP");
    outbound.until(&call, 401).await;
    let before = echo.requests();
    assert_eq!(outbound.get(call.clone()).await.unwrap().status, 401);
    assert_eq!(echo.requests(), before);
    issuer.process.signal("CONT");
    outbound.until(&call, 200).await;
}
