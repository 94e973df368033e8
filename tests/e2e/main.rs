//! The end-to-end stories: Countersign's image, installed on a real Kubernetes, seen from pods.
//!
//! Flows in: the cluster whose kubeconfig `E2E_KUBECONFIG` names (`make e2e` brings one up) and the images under `E2E_IMAGES`.
//! Flows out: what a user of that cluster would see. Whatever a story makes there it deletes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    dead_code,
    reason = "a step of the harness that fails is a test that fails, and says where; each story takes what it needs"
)]

mod admission;
mod cluster;
mod deletion;
mod first_call;
mod injected;
mod load;
mod methods;
mod names;
mod permissions;
mod readme;
mod redis;
mod release;
mod restarts;
mod sidecar;
#[path = "../it/support/mod.rs"]
mod support;
mod tenants;
mod upgrade;
mod visitor;
#[path = "../soak/wire.rs"]
mod wire;
