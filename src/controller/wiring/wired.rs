//! What is known of each policy's targets, for its status.
//!
//! Flows in: words, as the wiring finds them. Flows out: the condition `Wired` and `status.ancestors`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_api::scopepolicy::{Ancestor, AncestorRef, ScopePolicyStatus};
use countersign_api::wiring::{WIRED, Word, parts};
use countersign_core::directory::PolicyObject;
use countersign_core::names::ObjectRef;
use countersign_core::policy::Target;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::controller::conditions::{self, Finding, Status, find};

/// The most places status names.
const ANCESTORS_MAX: usize = 16;

/// What is known; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Wired {
    /// Nothing is wired in this process, and nothing will be known.
    off: bool,
    words: Arc<Mutex<Words>>,
}

/// By policy and target.
type Words = HashMap<ObjectRef, Vec<(Target, Word)>>;

impl Wired {
    /// Where nothing is ever wired.
    pub fn off() -> Self {
        Self { off: true, ..Self::default() }
    }

    /// Whether this is something new.
    pub(super) fn set(&self, policy: &ObjectRef, words: Vec<(Target, Word)>) -> bool {
        let mut known = self.lock();
        if known.get(policy) == Some(&words) {
            return false;
        }
        known.insert(policy.clone(), words);
        true
    }

    pub(super) fn forget(&self, policy: &ObjectRef) {
        self.lock().remove(policy);
    }

    fn lock(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what is known of a policy to its status. What was said stays while this process has not looked yet.
    pub(in crate::controller) fn report(
        &self,
        policy: &PolicyObject,
        issuer: &str,
        old: &ScopePolicyStatus,
        (status, now): (&mut ScopePolicyStatus, Timestamp),
    ) {
        let targets = policy.source.targets.iter().filter_map(|target| target.as_ref().ok());
        let attaching: Vec<_> = targets.filter(|target| !matches!(target, Target::Service { .. })).collect();
        let known = self.lock().get(&policy.object).cloned();
        let words = match known {
            Some(words) => words,
            None if self.off => attaching.into_iter().map(|target| (target.clone(), Word::not_enabled())).collect(),
            None => match find(&old.conditions, WIRED) {
                Some(condition) => {
                    status.conditions.push(condition.clone());
                    status.ancestors.clone_from(&old.ancestors);
                    return;
                }
                None => attaching.into_iter().map(|target| (target.clone(), Word::not_read())).collect(),
            },
        };
        let generation = Some(policy.generation);
        let merged = |old: &[Condition], word: Word| conditions::merge(old, &[finding(word)], generation, now);
        let summary = Word::of_all(words.iter().map(|(target, word)| (target, word)));
        status.conditions.extend(summary.into_iter().flat_map(|word| merged(&old.conditions, word)));
        let ancestors = words.into_iter().take(ANCESTORS_MAX).map(|(target, word)| {
            let ancestor_ref = reference(policy, &target);
            let before = old.ancestors.iter().find(|ancestor| ancestor.ancestor_ref == ancestor_ref);
            let before = before.map_or(&[][..], |ancestor| &ancestor.conditions);
            let conditions = merged(before, word);
            Ancestor { ancestor_ref, controller_name: format!("countersign.dev/{issuer}"), conditions }
        });
        status.ancestors = ancestors.collect();
    }
}

fn finding(word: Word) -> Finding {
    let status = match word.holds {
        Some(true) => Status::True,
        Some(false) => Status::False,
        None => Status::Unknown,
    };
    Finding::new(WIRED, status, word.reason, word.message)
}

fn reference(policy: &PolicyObject, target: &Target) -> AncestorRef {
    let (group, kind, name) = parts(target);
    AncestorRef {
        group: (!group.is_empty()).then(|| group.to_owned()),
        kind: Some(kind.to_owned()),
        namespace: Some(policy.object.namespace.to_string()),
        name: name.to_owned(),
    }
}
