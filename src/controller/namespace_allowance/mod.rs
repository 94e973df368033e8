//! What is said of a NamespaceAllowance.
//!
//! Flows in: the Directory's view of it. Flows out: its status. Who of those it allows the same thing keeps it is said on
//! the objects that claim it.

use countersign_api::NamespaceAllowance;
use countersign_api::namespaceallowance::NamespaceAllowanceStatus;
use countersign_core::bounds::AllowanceObject;
use countersign_core::names::ObjectName;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions::{self, ACCEPTED, Finding, Status};
use super::reported::Reported;
use crate::objects::Key;
use crate::snapshot::Snapshot;

impl Reported for NamespaceAllowance {
    const NAME: &'static str = "namespace_allowance";

    fn issuer(&self) -> &str {
        &self.spec.issuer
    }

    type Beside = ();

    fn reported(&self, key: &Key, (snapshot, ()): (&Snapshot, &()), now: Timestamp) -> Option<Self> {
        let allowance = snapshot.directory.allowance(&ObjectName::new(&key.name).ok()?)?;
        let generation = self.metadata.generation;
        let old = self.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let status = NamespaceAllowanceStatus {
            observed_generation: generation,
            conditions: conditions::merge(old, &[accepted(allowance)], generation, now),
        };
        let same = allowance.generation == generation.unwrap_or_default();
        same.then(|| Self { status: Some(status), ..self.clone() })
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn affected(now: &Snapshot, before: &Snapshot) -> Vec<Key> {
        let (now, before) = (&now.directory, &before.directory);
        let changed = now.allowances().filter(|allowance| before.allowance(&allowance.name) != Some(allowance));
        changed.map(|allowance| Key::cluster(allowance.name.as_str())).collect()
    }
}

fn accepted(allowance: &AllowanceObject) -> Finding {
    let Some(first) = allowance.problems.first() else {
        return Finding::new(ACCEPTED, Status::True, "Accepted", "the namespaces it selects may claim what it lists");
    };
    let more = match allowance.problems.len() - 1 {
        0 => String::new(),
        more => format!("; {more} more problems"),
    };
    let rest = if allowance.selector.is_some() { "the rest is in force" } else { "nothing of it is in force" };
    Finding::fails(ACCEPTED, first.reason, format!("{}: {}{more}; {rest}", first.element, first.message))
}
