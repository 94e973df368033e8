//! What is said of a ScopePolicy.
//!
//! Flows in: the Directory's view of it: what of it is in force, and what is wrong with the rest. Flows out: its status.

use std::sync::Arc;

use countersign_api::ScopePolicy;
use countersign_api::scopepolicy::{PolicyProblem, ScopePolicyStatus};
use countersign_core::directory::{PolicyView, reason};
use countersign_core::policy::{Mode, Problem};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions::{self, ACCEPTED, Finding, Status};
use super::reported::Reported;
use super::wiring::Wired;
use crate::objects::Key;
use crate::snapshot::Snapshot;

/// The most problems status names.
const PROBLEMS_MAX: usize = 64;
/// The most a message names.
const NAMED: usize = 3;

impl Reported for ScopePolicy {
    const NAME: &'static str = "scope_policy";

    fn issuer(&self) -> &str {
        &self.spec.issuer
    }

    type Beside = Wired;

    fn reported(&self, key: &Key, (snapshot, wired): (&Snapshot, &Wired), now: Timestamp) -> Option<Self> {
        let view = snapshot.directory.policy(&key.object_ref().ok()?)?;
        let same = view.object.generation == self.metadata.generation.unwrap_or_default()
            && self.metadata.uid.as_deref() == Some(view.object.uid.as_str());
        let old = self.status.clone().unwrap_or_default();
        same.then(|| Self { status: Some(status(view, &old, wired, (self.issuer(), now))), ..self.clone() })
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn affected(now: &Snapshot, before: &Snapshot) -> Vec<Key> {
        let policies = now.directory.policies();
        let same = |policy: &Arc<PolicyView>| {
            let then = before.directory.policy(&policy.object.object);
            then.is_some_and(|then| Arc::ptr_eq(then, policy) || then == policy)
        };
        let changed = policies.filter(|policy| !same(policy));
        changed.map(|policy| Key::from(&policy.object.object)).collect()
    }
}

fn status(
    view: &PolicyView,
    old: &ScopePolicyStatus,
    wired: &Wired,
    (issuer, now): (&str, Timestamp),
) -> ScopePolicyStatus {
    let generation = Some(view.object.generation);
    let findings = [accepted(view), partially_invalid(view), resolved_refs(view), not_enforcing(view)];
    let mut status = ScopePolicyStatus {
        observed_generation: generation,
        conditions: conditions::merge(&old.conditions, &findings, generation, now),
        rules: Some(rules_in_force(view)),
        problems: view.problems.iter().take(PROBLEMS_MAX).map(problem).collect(),
        ancestors: Vec::new(),
    };
    wired.report(&view.object, issuer, old, (&mut status, now));
    status
}

fn accepted(view: &PolicyView) -> Finding {
    if let Some(missing) = view.problems.iter().find(|problem| problem.reason == reason::NOT_IMPLEMENTED) {
        return Finding::fails(ACCEPTED, missing.reason, text(missing));
    }
    if view.accepted.audience.is_some() {
        return Finding::new(ACCEPTED, Status::True, "Accepted", "the policy is in force");
    }
    let whole = view.problems.iter().find(|problem| problem.element == "spec.audience").or(view.problems.first());
    match whole {
        Some(problem) => Finding::fails(ACCEPTED, problem.reason, text(problem)),
        None => Finding::fails(
            ACCEPTED,
            reason::INVALID,
            "the policy has no audience of its own: all it protects is denied",
        ),
    }
}

fn partially_invalid(view: &PolicyView) -> Finding {
    const KIND: &str = "PartiallyInvalid";
    let Some(first) = view.problems.first() else {
        return Finding::fails(KIND, "Valid", "every element is in force");
    };
    Finding::new(KIND, Status::True, first.reason, named(view.problems.iter()))
}

fn resolved_refs(view: &PolicyView) -> Finding {
    const KIND: &str = "ResolvedRefs";
    let mut dangling = view.problems.iter().filter(|problem| problem.reason == reason::UNKNOWN_SCOPE).peekable();
    if dangling.peek().is_none() {
        return Finding::holds(KIND, KIND);
    }
    Finding::fails(KIND, reason::UNKNOWN_SCOPE, named(dangling))
}

fn not_enforcing(view: &PolicyView) -> Finding {
    const KIND: &str = "NotEnforcing";
    match view.object.source.mode {
        Mode::Shadow => {
            let message = "the policy decides and counts but lets everything pass: set mode to Enforce once the counts look right";
            Finding::new(KIND, Status::True, "Shadow", message)
        }
        Mode::Enforce => Finding::fails(KIND, "Enforce", "what the policy denies is denied"),
    }
}

/// `12 of 13`.
fn rules_in_force(view: &PolicyView) -> String {
    let rules = view.object.compiled.rule_count();
    let whole = (0..rules).filter(|index| {
        let element = format!("spec.rules[{index}]");
        !view.problems.iter().any(|problem| problem.element.starts_with(&element))
    });
    format!("{} of {rules}", whole.count())
}

fn problem(problem: &Problem) -> PolicyProblem {
    PolicyProblem {
        element: problem.element.clone(),
        reason: problem.reason.to_owned(),
        message: conditions::cut(&problem.message),
    }
}

fn text(problem: &Problem) -> String {
    format!("{}: {}", problem.element, problem.message)
}

fn named<'a>(problems: impl Iterator<Item = &'a Problem>) -> String {
    let all: Vec<_> = problems.map(text).collect();
    let more = all.len().saturating_sub(NAMED);
    let named = all.into_iter().take(NAMED).collect::<Vec<_>>().join("; ");
    if more == 0 { named } else { format!("{named}; {more} more in status.problems") }
}

#[cfg(test)]
mod tests;
