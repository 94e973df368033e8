//! What an agent takes, of which there is one beside every workload: three tokens over TLS, in files and on a socket.
//!
//! Flows in: a real issuer before a real API server; renewals and reads for some minutes. Flows out: the agent's resident memory, and
//! the size of the image it comes in.

use super::cluster::{ORDERS, client, namespace, orders};
use crate::api::Cluster;
use crate::figures::{Report, Target};
use crate::support::http::{Request, raw_unix};
use crate::support::installation::Installation;
use crate::support::ports::free_address;
use crate::support::processes::Process;
use crate::support::scratch::Scratch;
use crate::support::testbed::Testbed;
use crate::support::{await_condition, root};
use crate::usage::resident;
use std::path::Path;
use std::time::Duration;

const NAMES: [&str; 3] = ["one", "two", "three"];
/// Times each token is renewed: an agent gives a token younger than ten seconds as it is.
const RENEWALS: usize = 15;
const APART: Duration = Duration::from_secs(11);
/// Reads of each token between two renewals.
const READS: usize = 100;

pub async fn measure(report: &mut Report) {
    let testbed = Testbed::own();
    let cluster = Cluster::new(&testbed).await;
    let installation = Installation::named(&testbed, "default", &[]).with_tls();
    cluster.create(vec![namespace("shop")]).await;
    cluster.create(vec![orders(0), client("shop", "checkout", ORDERS)]).await;
    let _roles = installation.start_all().await;
    let folder = mounted(&installation).await;
    let (place, admin) = (folder.display(), free_address());
    let mut flags = vec![
        format!("--credentials={place}"),
        format!("--token-dir={place}"),
        format!("--envoy-dir={place}"),
        format!("--socket={place}/agent.sock"),
        format!("--admin-listen={admin}"),
    ];
    flags.extend(NAMES.map(|name| format!("--token={name}={ORDERS} orders:read")));
    let mut agent = Process::start("agent", root().join("target/release/countersign-agent"), flags);
    agent.ready(admin).await;
    let begun = resident(agent.id());
    for _ in 0..RENEWALS {
        tokio::time::sleep(APART).await;
        for name in NAMES {
            use_once(&folder.join("agent.sock"), name).await;
        }
    }
    let used = resident(agent.id());
    let counted = Request::get("/metrics").send(admin).await.expect("the agent answers").text();
    let renewed = r#"countersign_agent_refreshes_total{outcome="renewed"} "#;
    let renewed = counted.lines().find_map(|line| line.strip_prefix(renewed)).expect("a count").to_owned();
    assert_eq!(renewed, (RENEWALS * NAMES.len()).to_string(), "each was a renewal");
    let detail = format!(
        "{begun:.2} MiB when ready; then {renewed} renewals over TLS, {} reads",
        READS * NAMES.len() * RENEWALS
    );
    report.add("memory", "agent, three tokens, after minutes", (used, "MiB"), Target::AtMost(8.0), detail);
    image(report);
}

/// The files of the client's Secret, as a pod has them.
async fn mounted(installation: &Installation) -> Scratch {
    let there =
        async || installation.kubectl.run(&["get", "secret", "checkout-oauth", "--namespace=shop"]).status.success();
    await_condition("a Secret", super::cluster::PATIENCE, there, |there| *there).await;
    let folder = Scratch::new("mounted");
    for key in ["client_id", "client_secret", "token_endpoint", "ca.crt"] {
        std::fs::write(folder.join(key), installation.secret_value("shop", "checkout-oauth", key)).expect("write");
    }
    folder
}

/// What a workload does with a token: reads it often, and has it renewed after a 401.
async fn use_once(socket: &Path, name: &str) {
    let ask = async |method: &str, path: &str| {
        let line = format!("{method} {path}?name={name} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n");
        let answer = raw_unix(socket, line.as_bytes()).await.expect("the agent answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    ask("POST", "/token/refresh").await;
    for _ in 0..READS {
        ask("GET", "/token").await;
    }
}

/// Of the image that `make image` wrote, if it did: nearly all of the archive is its one layer, compressed.
fn image(report: &mut Report) {
    let archive = root().join("target/image/countersign.tar");
    let Ok(found) = std::fs::metadata(archive) else {
        println!("no image: `make image` writes it");
        return;
    };
    let size = found.len() as f64 / f64::from(1 << 20);
    report.add("start", "the image, compressed", (size, "MiB"), Target::AtMost(20.0), "as `make image` writes it");
}
