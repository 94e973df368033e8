//! Puts an agent into a pod that asks for one by annotation.
//!
//! ```text
//! Pod ─► wish: its annotations ─► slots: where in it there is room ─► a JSON patch (RFC 6902) of parts
//! ```
//! Flows in: a Pod that is created, what every agent here is like, the Directory. Flows out: what is added to it; warnings
//! about what it will wait for; or a refusal with what to write instead. What the pod has of its own is never replaced, a pod
//! that asks for nothing or has its agent already is left as it is.

mod advice;
mod parts;
mod patch;
mod slots;
#[cfg(test)]
mod tests;
mod wish;

use std::net::SocketAddr;

use countersign_core::directory::Directory;
use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use serde::Deserialize as _;
use serde_json::Value;

use self::wish::{Refusal, Wish};
use super::judge::Verdict;
use super::review::Review;

/// What every agent that is injected is like.
#[derive(Clone, Debug)]
pub struct Settings {
    pub image: String,
    pub resources: ResourceRequirements,
    /// Where it serves `/livez`, `/readyz` and `/metrics`; a pod may choose another port.
    pub admin: SocketAddr,
}

/// What is said of a pod, and added to it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Injection {
    pub(super) verdict: Verdict,
    /// Operations of RFC 6902; none: it stays as it is.
    pub(super) patch: Vec<Value>,
}

pub(super) fn inject(review: &Review, settings: Option<&Settings>, directory: &Directory) -> Injection {
    match injected(review, settings, directory) {
        Ok(Some((patch, warnings))) => Injection { verdict: Verdict { refusal: None, warnings }, patch },
        Ok(None) => Injection::default(),
        Err(refusal) => Injection { verdict: Verdict::refuse(refusal.to_string()), patch: Vec::new() },
    }
}

type Added = (Vec<Value>, Vec<String>);

fn injected(review: &Review, settings: Option<&Settings>, directory: &Directory) -> Result<Option<Added>, Refusal> {
    let Review { group, kind, operation, .. } = review;
    if !group.is_empty() || kind != "Pod" || operation != "CREATE" {
        return Err(Refusal::NotAPod);
    }
    let object = review.object.as_ref().ok_or(Refusal::NoObject)?;
    let pod = Pod::deserialize(object).map_err(Refusal::Unreadable)?;
    let annotations = pod.metadata.annotations.as_ref();
    let Some(wish) = annotations.map_or(Ok(None), |annotations| Wish::read(annotations, directory.settings()))? else {
        return Ok(None);
    };
    let spec = pod.spec.as_ref().ok_or(Refusal::NoSpec)?;
    if wish.is_fulfilled && slots::has_agent(spec) {
        return Ok(None);
    }
    let settings = settings.ok_or(Refusal::NoAgents)?;
    let patch = patch::patch(spec, &wish, settings, &directory.settings().issuer_url)?;
    let warnings = advice::advice(directory, review.namespace.as_deref(), spec, &wish.client);
    Ok(Some((patch, warnings)))
}
