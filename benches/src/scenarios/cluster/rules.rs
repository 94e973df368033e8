//! 100,000 rules: memory a rule, the rate of checks among them, and the way of one change.

use super::{Site, changes, namespace, policy};
use crate::figures::{Report, Target};
use crate::load::{Runs, checks};
use crate::scenarios::{Effort, list};
use crate::support::installation::Role;
use crate::usage::resident;
use crate::world::check;

const NAMESPACES: usize = 39;
const POLICIES: usize = 10;
const RULES: usize = 250;

/// Checks of a known token at the first verifier.
pub async fn rate(site: &Site, effort: Effort) -> Runs {
    let message = site.folder.join("known.grpc");
    std::fs::write(&message, check("shop/orders", ("orders.shop.svc", "/v0/42"), &site.token().await)).expect("write");
    let verifier = &site.verifiers[0];
    let mut runs = Runs::default();
    for _ in 0..effort.rounds {
        runs.push(checks(verifier.grpc, &message, (8, 32), effort.seconds, &[verifier.process.id()]));
    }
    runs
}

pub async fn measure(site: &mut Site, small: Runs, effort: Effort, report: &mut Report) {
    let before = resident(site.installation.start(Role::Verifier).await.process.id());
    let names: Vec<_> = (0..NAMESPACES).map(|number| format!("big-{number}")).collect();
    site.cluster.create(names.iter().map(|name| namespace(name)).collect()).await;
    let policies = names.iter().flat_map(|name| (0..POLICIES).map(move |at| policy(name, &format!("p{at}"), RULES)));
    site.cluster.create(policies.collect()).await;
    site.served("big-38", "p9").await;
    let rules = NAMESPACES * POLICIES * RULES;
    let fresh = site.installation.start(Role::Verifier).await;
    let after = resident(fresh.process.id());
    drop(fresh);
    let detail = format!(
        "verifiers just started: {before:.1} MiB, with {rules} rules more {after:.1} MiB; one that saw them come {:.1} MiB",
        resident(site.verifiers[0].process.id())
    );
    let each = (after - before) * 1024.0 / rules as f64;
    report.add("rules", "memory a rule without `when`", (each, "KiB"), Target::AtMost(1.0), detail);
    let large = rate(site, effort).await;
    let rates = |runs: &Runs| list(runs.0.iter().map(|run| run.rate));
    let detail = format!(
        "CPU {:.1} and {:.1} µs a check; {}/s and {}/s",
        small.median(|run| run.cpu[0]),
        large.median(|run| run.cpu[0]),
        rates(&small),
        rates(&large)
    );
    let ratio = large.median(|run| run.cpu[0]) / small.median(|run| run.cpu[0]);
    report.add(
        "rules",
        "CPU a check, 103,500 rules in the cluster against 50",
        (ratio, "×"),
        Target::AtMost(1.2),
        detail,
    );
    changes::measure(site, "100,000 rules", changes::Bounds::RULES, report).await;
}
