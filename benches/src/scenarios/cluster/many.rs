//! What is not ours must cost nothing, and what is must stay in proportion: foreign Secrets, 20,000 clients.

use super::start::ready;
use super::{ORDERS, Site, client};
use crate::figures::{Report, Target};
use crate::support::installation::Role;
use crate::usage::resident;
use serde_json::json;
use std::time::{Duration, Instant};

const FOREIGN: usize = 500;
const CLIENTS: usize = 20_000;
/// How long the controller is watched at work on them.
const AT_WORK: Duration = Duration::from_secs(40);

/// Secrets of 32 KiB that nobody labelled as ours: what a controller started after them holds more than one started before.
pub async fn foreign_secrets(site: &Site, report: &mut Report) {
    let before = started(site, Role::Controller).await;
    let secret = |number: usize| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("foreign-{number}"), "namespace": "shop"},
            "stringData": {"blob": "x".repeat(32 * 1024)},
        })
    };
    site.cluster.create((0..FOREIGN).map(secret).collect()).await;
    let after = started(site, Role::Controller).await;
    let detail = format!(
        "{FOREIGN} of them, {} MiB in all: {before:.1} MiB before, {after:.1} MiB after; the watch asks by label, so the API server \
         keeps them to itself and 30,000 cost the same",
        FOREIGN / 32
    );
    report.add(
        "memory",
        "controller, foreign Secrets of 32 KiB",
        (after - before, "MiB more"),
        Target::AtMost(20.0),
        detail,
    );
}

/// Memory a second after a role became ready.
async fn started(site: &Site, role: Role) -> f64 {
    let (replica, _) = ready(site, role).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    resident(replica.process.id())
}

/// 20,000 clients made while no controller runs, then each role started on them.
pub async fn clients(report: &mut Report) {
    let mut site = Site::start().await;
    let stopped = site.controller.process.terminate().await;
    assert!(stopped.success(), "the controller ends well");
    let small = [resident(site.issuer.process.id()), resident(site.verifiers[0].process.id())];
    site.cluster.create((0..CLIENTS).map(|number| client("shop", &format!("many-{number}"), ORDERS)).collect()).await;
    for (role, name, small) in [(Role::Issuer, "issuer", Some(small[0])), (Role::Verifier, "verifier", Some(small[1]))]
    {
        let (replica, millis) = ready(&site, role).await;
        told(report, name, millis, resident(replica.process.id()), small);
    }
    let (controller, millis) = ready(&site, Role::Controller).await;
    told(report, "controller", millis, resident(controller.process.id()), None);
    let begun = Instant::now();
    tokio::time::sleep(AT_WORK).await;
    let done = site.cluster.count_true("OAuthClient", None, "Ready").await as f64;
    let rate = done / begun.elapsed().as_secs_f64();
    let detail = format!(
        "{done:.0} in the first {} s, {:.1} MiB by then; at this rate 20,000 take {:.0} s and 100,000 {:.0} s: status writes are paced",
        AT_WORK.as_secs(),
        resident(controller.process.id()),
        20_000.0 / rate,
        100_000.0 / rate,
    );
    report.add("many", "clients made Ready a second", (rate, "a second"), Target::None, detail);
}

fn told(report: &mut Report, name: &str, millis: f64, memory: f64, small: Option<f64>) {
    let more = small.map_or(String::new(), |small| {
        let each = (memory - small) * 1024.0 / CLIENTS as f64;
        let all = small + each * 100_000.0 / 1024.0;
        format!("{small:.1} MiB with one client, so {each:.2} KiB a client; 100,000 would make it {all:.0} MiB")
    });
    let what = format!("{name}, 20,000 clients");
    report.add("many", format!("{what}, from exec to /readyz"), (millis, "ms"), Target::None, "");
    report.add("many", format!("{what}, memory then"), (memory, "MiB"), Target::None, more);
}
