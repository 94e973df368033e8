//! Where in a pod there is room for an agent.
//!
//! Flows in: the pod's spec, a wish. Flows out: the containers that get the tokens, and where among the init containers the
//! agent starts; or what of the pod's own is in the way.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::parts::{AGENT, ASSERTION, CLIENT, TOKENS};
use super::wish::{Refusal, Wish};

/// Where things go.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slots {
    /// Its place among the init containers: right before the first of them that gets tokens, else last. Others that start before
    /// the programs, such as a mesh's, may be what it reaches the issuer through.
    pub(super) agent: usize,
    pub(super) tokens: Vec<Slot>,
}

/// A container that gets the tokens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Where it is in the pod as it was sent.
    pub(super) list: &'static str,
    pub(super) index: usize,
    /// Whether it has a list of mounts.
    pub(super) has_mounts: bool,
}

/// Whether there is a native sidecar called like ours.
pub(super) fn has_agent(spec: &PodSpec) -> bool {
    spec.init_containers.iter().flatten().any(|container| container.name == AGENT)
}

pub(super) fn slots(spec: &PodSpec, wish: &Wish) -> Result<Slots, Refusal> {
    refuse_taken(spec)?;
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let lists = [("initContainers", init), ("containers", spec.containers.as_slice())];
    let mut tokens = Vec::new();
    for (list, containers) in lists {
        for (index, container) in containers.iter().enumerate() {
            let gets = match &wish.containers {
                Some(names) => names.contains(&container.name),
                None => list == "containers",
            };
            if gets {
                refuse_path(container, &wish.mount_path)?;
                tokens.push(Slot { list, index, has_mounts: container.volume_mounts.is_some() });
            }
        }
    }
    if tokens.is_empty() || wish.containers.as_ref().is_some_and(|names| names.len() != tokens.len()) {
        return Err(Refusal::Containers);
    }
    let first = tokens.iter().find(|slot| slot.list == "initContainers");
    Ok(Slots { agent: first.map_or(init.len(), |slot| slot.index), tokens })
}

/// No port of the pod is the agent's.
pub(super) fn refuse_port(spec: &PodSpec, port: u16) -> Result<(), Refusal> {
    let mut ports = all(spec).flat_map(|container| container.ports.iter().flatten());
    if ports.any(|each| each.container_port == i32::from(port)) { Err(Refusal::PortTaken(port)) } else { Ok(()) }
}

fn all(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

fn refuse_taken(spec: &PodSpec) -> Result<(), Refusal> {
    if all(spec).any(|container| container.name == AGENT) {
        return Err(Refusal::Taken { what: "container", name: AGENT });
    }
    let is_there = |name: &&str| spec.volumes.iter().flatten().any(|volume| volume.name == *name);
    match [TOKENS, CLIENT, ASSERTION].into_iter().find(is_there) {
        Some(name) => Err(Refusal::Taken { what: "volume", name }),
        None => Ok(()),
    }
}

/// Nothing is mounted at the path or below it, and what is mounted around it can hold a mount.
fn refuse_path(container: &Container, path: &str) -> Result<(), Refusal> {
    for mount in container.volume_mounts.iter().flatten() {
        let theirs = mount.mount_path.trim_end_matches('/');
        let told = || (container.name.clone(), path.to_owned());
        if is_at_or_below(theirs, path) {
            let (container, path) = told();
            return Err(Refusal::PathTaken { container, path });
        }
        if is_at_or_below(path, theirs) && mount.read_only == Some(true) {
            let (container, path) = told();
            return Err(Refusal::PathReadOnly { container, path });
        }
    }
    Ok(())
}

fn is_at_or_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
