//! From start to ready, memory, and the size of the binary.

use super::{Site, namespace, policy};
use crate::asker::Asker;
use crate::figures::{Report, Target};
use crate::support::http::Request;
use crate::support::installation::{Replica, Role};
use crate::support::root;
use crate::usage::{median, resident};
use crate::world::check;
use std::time::{Duration, Instant};

const NAMESPACES: usize = 200;
const POLICIES: usize = 10;
const TIMES: usize = 5;

/// With next to nothing in the cluster.
pub async fn measure(site: &mut Site, report: &mut Report) {
    for (role, name) in [(Role::Verifier, "verifier"), (Role::Issuer, "issuer"), (Role::Controller, "controller")] {
        let mut took = Vec::new();
        for _ in 0..TIMES {
            let (_replica, millis) = ready(site, role).await;
            took.push(millis);
        }
        let detail = format!("ms, each: {}", super::super::list(took.iter().copied()));
        report.add(
            "start",
            format!("{name}, from exec to /readyz"),
            (median(&took), "ms"),
            Target::AtMost(300.0),
            detail,
        );
    }
    let binary = root().join("target/release/countersign");
    let size = std::fs::metadata(binary).expect("the release binary").len() as f64 / f64::from(1 << 20);
    report.add("start", "the release binary, stripped", (size, "MiB"), Target::AtMost(25.0), "");
}

/// Starts a role; milliseconds until it is ready.
pub async fn ready(site: &Site, role: Role) -> (Replica, f64) {
    let mut replica = site.installation.spawn(role);
    let begun = replica.process.begun;
    loop {
        let ended = replica.process.ended();
        assert!(ended.is_none(), "{}", replica.process.output());
        if Request::get("/readyz").send(replica.admin).await.is_ok_and(|answer| answer.status == 200) {
            return (replica, begun.elapsed().as_secs_f64() * 1e3);
        }
        assert!(begun.elapsed() < super::PATIENCE, "{}", replica.process.output());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// With 2,000 policies in 200 namespaces.
pub async fn with_policies(site: &mut Site, report: &mut Report) {
    let names: Vec<_> = (0..NAMESPACES).map(|number| format!("team-{number}")).collect();
    site.cluster.create(names.iter().map(|name| namespace(name)).collect()).await;
    let policies = names.iter().flat_map(|name| (0..POLICIES).map(move |at| policy(name, &format!("p{at}"), 3)));
    site.cluster.create(policies.collect()).await;
    site.served("team-199", "p9").await;
    let mut took = Vec::new();
    let mut memory = Vec::new();
    for _ in 0..TIMES {
        let (replica, millis) = ready(site, Role::Verifier).await;
        took.push(millis);
        let message = check("team-199/p9", ("p9.team-199.svc", "/public"), "none");
        assert!(Asker::new(replica.grpc).await.allows(&message).await, "ready, and yet a valid request is refused");
        memory.push(resident(replica.process.id()));
    }
    let detail = format!(
        "ms, each: {}; the first valid request after /readyz was allowed each time",
        super::super::list(took.iter().copied())
    );
    report.add(
        "start",
        "verifier, cold, 2,000 policies of 3 rules",
        (median(&took), "ms"),
        Target::AtMost(1000.0),
        detail,
    );
    let grown = resident(site.verifiers[0].process.id());
    let detail = format!("just started; one that saw them all come: {grown:.1} MiB");
    report.add("memory", "verifier, 2,000 policies of 3 rules", (median(&memory), "MiB"), Target::AtMost(30.0), detail);
}

/// Waits for one thing to be so, looking every so often; how long it took from `since`.
pub async fn until(since: Instant, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    while !holds().await {
        assert!(since.elapsed() < super::PATIENCE, "waited too long");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    since.elapsed()
}
