//! Many clients: memory of verifier and issuer, and what a thousand applied at once cost.

use super::{ORDERS, Site, client, start::until};
use crate::api::between;
use crate::figures::{Report, Target};
use crate::load::checks;
use crate::scenarios::Effort;
use crate::usage::{cpu_since, cpu_time, resident};
use crate::world::check;
use std::time::Instant;

/// The verifier after some load, with a hundred clients.
pub async fn hundred(site: &mut Site, effort: Effort, report: &mut Report) {
    site.cluster.create((0..100).map(|number| client("shop", &format!("hundred-{number}"), ORDERS)).collect()).await;
    until(Instant::now(), async || site.cluster.count_true("OAuthClient", None, "Ready").await >= 101).await;
    let verifier = &site.verifiers[0];
    let idle = resident(verifier.process.id());
    let message = site.folder.join("known.grpc");
    std::fs::write(&message, check("shop/orders", ("orders.shop.svc", "/v0/42"), &site.token().await)).expect("write");
    checks(verifier.grpc, &message, (8, 32), effort.seconds, &[verifier.process.id()]);
    let loaded = resident(verifier.process.id());
    let detail = format!(
        "idle {idle:.1} MiB; the controller {:.1}, the issuer {:.1} MiB",
        resident(site.controller.process.id()),
        resident(site.issuer.process.id())
    );
    report.add("memory", "verifier, 100 clients, after load", (loaded, "MiB"), Target::AtMost(20.0), detail);
}

/// A thousand clients created as fast as the API server takes them.
pub async fn at_once(site: &mut Site, report: &mut Report) {
    let (before, cpu) = (site.cluster.requests().await, cpu_time(site.controller.process.id()));
    let begun = Instant::now();
    site.cluster.create((0..1000).map(|number| client("shop", &format!("wave-{number}"), ORDERS)).collect()).await;
    let created = begun.elapsed();
    let ready = until(begun, async || site.cluster.count_true("OAuthClient", None, "Ready").await >= 1101).await;
    let cpu = cpu_since(site.controller.process.id(), cpu).as_secs_f64();
    let asked = between(&before, &site.cluster.requests().await);
    let told = |(verb, resource): &(String, String), count: &f64| format!("{verb} {resource} {:.2}", count / 1000.0);
    let ours = |key: &(String, String)| key.1 != "oauthclients" || key.0 != "POST";
    let listed: Vec<_> =
        asked.iter().filter(|(key, count)| ours(key) && **count >= 10.0).map(|(key, count)| told(key, count)).collect();
    let writes: f64 = asked
        .iter()
        .filter(|(key, _)| ours(key) && key.0 != "LIST" && key.0 != "GET" && !key.1.contains("lease"))
        .map(|(_, count)| count)
        .sum();
    let detail = format!("created in {:.1} s; the controller's CPU {cpu:.1} s", created.as_secs_f64());
    report.add("clients", "1,000 OAuthClients at once, all Ready", (ready.as_secs_f64(), "s"), Target::None, detail);
    report.add("clients", "writes for each", (writes / 1000.0, "a client"), Target::None, listed.join(", "));
    site.cluster.create((0..900).map(|number| client("shop", &format!("more-{number}"), ORDERS)).collect()).await;
    until(Instant::now(), async || site.cluster.count_true("OAuthClient", None, "Ready").await >= 2001).await;
    let issuer = resident(site.issuer.process.id());
    let detail = format!(
        "the controller {:.1} MiB, a verifier {:.1} MiB",
        resident(site.controller.process.id()),
        resident(site.verifiers[0].process.id())
    );
    report.add("memory", "issuer, 2,000 clients", (issuer, "MiB"), Target::AtMost(30.0), detail);
}
