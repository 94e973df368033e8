//! What the verifier counts: handles taken once, so that a request looks nothing up by label.
//!
//! Flows in: one call per verdict. Flows out: `/metrics`; docs/reference/verifier-metrics.md says what each means.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use countersign_core::policy::{Reason, Status};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::runtime::metrics::Metrics;

/// How a proxy asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// Envoy's `ext_authz` over gRPC.
    Grpc,
    /// Envoy's `ext_authz` over HTTP.
    Http,
    /// Traefik, Caddy.
    ForwardAuth,
    /// nginx.
    AuthRequest,
}

const WIRES: [Wire; 4] = [Wire::Grpc, Wire::Http, Wire::ForwardAuth, Wire::AuthRequest];
const OUTCOMES: [&str; 5] = ["allow", "bad_request", "unauthorized", "forbidden", "unavailable"];
/// Denials that are logged, a second.
const LOGGED: u32 = 100;
/// Seconds between two warnings of the same thing.
const QUIET: i64 = 60;

type Labelled = Family<[(&'static str, &'static str); 2], Counter>;

#[derive(Debug)]
pub(super) struct Counters {
    verdicts: [[Counter; OUTCOMES.len()]; WIRES.len()],
    reasons: HashMap<&'static str, Counter>,
    policy_not_enforced: Counter,
    rule_would_allow: Counter,
    rule_would_deny: Counter,
    pub(super) cache_hits: Counter,
    pub(super) cache_misses: Counter,
    pub(super) key_waits: Counter,
    second: AtomicI64,
    logged: AtomicU32,
    pub(super) strangers: Rarely,
    pub(super) incomplete: Rarely,
}

/// Something that is said once a minute at most, however often it happens.
#[derive(Debug)]
pub(super) struct Rarely(AtomicI64);

// === impl Rarely ===

impl Rarely {
    fn new() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }

    /// Whether to say it now.
    pub(super) fn may_say(&self, now_seconds: i64) -> bool {
        let due = |said: i64| (now_seconds >= said.saturating_add(QUIET)).then_some(now_seconds);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
    }
}

// === impl Wire ===

impl Wire {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "ext_authz_grpc",
            Self::Http => "ext_authz_http",
            Self::ForwardAuth => "forward_auth",
            Self::AuthRequest => "auth_request",
        }
    }
}

// === impl Counters ===

impl Counters {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let verdicts = Labelled::default();
        metrics.register("verifier_verdicts", "Verdicts by wire and outcome", verdicts.clone());
        let verdict =
            |wire: Wire, outcome| verdicts.get_or_create_owned(&[("wire", wire.name()), ("outcome", outcome)]);
        let reasons = Family::<[(&'static str, &'static str); 1], Counter>::default();
        metrics.register("verifier_reasons", "Verdicts by reason", reasons.clone());
        let reason = |name| reasons.get_or_create_owned(&[("reason", name)]);
        let [rule_would_allow, rule_would_deny] = metrics.counters(
            "verifier_shadow_rules",
            "What Shadow rules would have answered",
            "outcome",
            ["would_allow", "would_deny"],
        );
        let [cache_hits, cache_misses] =
            metrics.counters("verifier_token_cache", "Look-ups of verified tokens", "outcome", ["hit", "miss"]);
        Self {
            verdicts: WIRES.map(|wire| OUTCOMES.map(|outcome| verdict(wire, outcome))),
            reasons: Reason::names().map(|name| (name, reason(name))).collect(),
            policy_not_enforced: metrics
                .counter("verifier_not_enforced", "Refusals let pass because the policy is in Shadow mode"),
            rule_would_allow,
            rule_would_deny,
            cache_hits,
            cache_misses,
            key_waits: metrics.counter("verifier_key_waits", "Requests that waited for a key not yet known"),
            second: AtomicI64::new(0),
            logged: AtomicU32::new(0),
            strangers: Rarely::new(),
            incomplete: Rarely::new(),
        }
    }

    /// Counts an answer and the reason for it.
    pub(super) fn verdict(&self, wire: Wire, refused: Option<Status>, reason: Reason) {
        let row = WIRES.iter().position(|known| *known == wire).and_then(|at| self.verdicts.get(at));
        if let Some(counter) = row.and_then(|row| row.get(outcome(refused))) {
            counter.inc();
        }
        if let Some(counter) = self.reasons.get(reason.name()) {
            counter.inc();
        }
    }

    pub(super) fn not_enforced(&self) {
        self.policy_not_enforced.inc();
    }

    pub(super) fn shadow_rule(&self, refused: bool) {
        if refused {
            self.rule_would_deny.inc()
        } else {
            self.rule_would_allow.inc()
        };
    }

    /// Whether a denial may be logged: the first hundred of each second.
    pub(super) fn may_log(&self, now_seconds: i64) -> bool {
        if self.second.swap(now_seconds, Ordering::Relaxed) != now_seconds {
            self.logged.store(0, Ordering::Relaxed);
        }
        self.logged.fetch_add(1, Ordering::Relaxed) < LOGGED
    }
}

/// The place of an answer among the outcomes.
const fn outcome(refused: Option<Status>) -> usize {
    match refused {
        None => 0,
        Some(Status::BadRequest) => 1,
        Some(Status::Unauthorized) => 2,
        Some(Status::Forbidden) => 3,
        Some(Status::Unavailable) => 4,
    }
}

/// What an answer is called as an outcome.
pub(super) fn outcome_name(refused: Option<Status>) -> &'static str {
    OUTCOMES.get(outcome(refused)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PAGE: &str = include_str!("../../docs/reference/verifier-metrics.md");

    /// What stands between backticks.
    fn words(text: &str) -> impl Iterator<Item = &str> {
        text.split('`').skip(1).step_by(2)
    }

    #[test]
    fn the_reference_names_exactly_the_reasons_there_are() {
        let (_, reasons) = PAGE.split_once("\n## Reasons\n").expect("a part about reasons");
        let (reasons, _) = reasons.split_once("\n## ").expect("a part behind it");
        let told: Vec<_> = reasons.lines().filter_map(|row| words(row.strip_prefix("| ")?).next()).collect();
        let names: BTreeSet<_> = Reason::names().collect();
        assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), names);
        assert_eq!((told.len(), Reason::names().count()), (names.len(), names.len()), "each once");
    }

    #[test]
    fn the_reference_names_the_other_labels_too() {
        let row = PAGE.lines().find(|line| line.starts_with("| `verifier_verdicts_total`")).expect("a row");
        let labels = row.split('|').nth(2).expect("a column of labels");
        let told: Vec<_> = words(labels).filter(|word| !["wire", "outcome"].contains(word)).collect();
        let names: Vec<_> = WIRES.iter().map(|wire| wire.name()).chain(OUTCOMES).collect();
        assert_eq!(told, names);
    }
}
