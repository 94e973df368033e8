//! What the agent counts; docs/reference/metrics.md says what each means.

use std::sync::{Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::answer::Outcome;
use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::Condition;

/// Handles on every metric, and the condition that holds while every token is there.
#[derive(Debug)]
pub(crate) struct Counters {
    requests: [Counter; 5],
    reads: [Counter; 2],
    refreshes: [Counter; 3],
    pub(crate) write_failures: Counter,
    missing: Gauge,
    /// How many are missing; the gauge and the condition follow it together.
    count: Mutex<i64>,
    ready: Condition,
}

/// What became of the wish for a newer token, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    Renewed,
    Current,
    Failed,
}

impl Counters {
    pub(crate) fn register(metrics: &Metrics, ready: Condition) -> Self {
        let outcomes = ["obtained", "refused", "unreachable", "unusable", "misconfigured"];
        let requests = metrics.counters("agent_token_requests", "Requests for a token", "outcome", outcomes);
        let reads = metrics.counters(
            "agent_token_reads",
            "Tokens asked for at the socket",
            "outcome",
            ["given", "unavailable"],
        );
        let refreshes = metrics.counters(
            "agent_refreshes",
            "Newer tokens asked for at the socket",
            "outcome",
            ["renewed", "current", "failed"],
        );
        let write_failures = metrics.counter("agent_write_failures", "Files that could not be replaced or removed");
        let missing = metrics.gauge("agent_tokens_missing", "Configured tokens that are not there right now");
        Self { requests, reads, refreshes, write_failures, missing, count: Mutex::new(0), ready }
    }

    pub(crate) fn requested(&self, outcome: Outcome) {
        let [obtained, refused, unreachable, unusable, misconfigured] = &self.requests;
        match outcome {
            Outcome::Obtained => obtained.inc(),
            Outcome::Refused => refused.inc(),
            Outcome::Unreachable => unreachable.inc(),
            Outcome::Unusable => unusable.inc(),
            Outcome::Misconfigured => misconfigured.inc(),
        };
    }

    pub(crate) fn read(&self, given: bool) {
        let [yes, no] = &self.reads;
        if given {
            yes.inc()
        } else {
            no.inc()
        };
    }

    pub(crate) fn refreshed(&self, renewal: Renewal) {
        let [renewed, current, failed] = &self.refreshes;
        match renewal {
            Renewal::Renewed => renewed.inc(),
            Renewal::Current => current.inc(),
            Renewal::Failed => failed.inc(),
        };
    }

    /// One more token is missing, or one fewer.
    pub(crate) fn missing(&self, by: i64) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count += by;
        self.missing.set(*count);
        self.ready.set(*count == 0);
    }
}
