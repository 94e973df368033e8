//! The integration tests: one binary, a module a story.
//!
//! Flows in: the real `countersign` binary, a real API server, Envoy and clients other people wrote, all put in place by
//! `tests/setup.sh`. Flows out: what a user of the whole would see. `support` starts and ends those parts.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a step of the harness that fails is a test that fails, and says where"
)]

mod admission;
mod agent;
mod architecture;
mod certificates;
mod cli;
mod controller;
mod converged;
mod crds;
mod deletions;
mod draining;
mod exchange;
mod ext_authz;
mod fuzz_seeds;
mod gateways;
mod harness;
mod migrate;
mod mutual_tls;
mod nginx;
mod objects;
mod private_key_jwt;
mod quickstart;
mod restore;
mod rotation;
mod secret_access;
mod secure_client;
mod security_table;
mod service_accounts;
mod support;
mod tell;
mod threats_client;
mod threats_gateway;
mod threats_jwt;
mod threats_kubernetes;
mod threats_tenants;
mod threats_token;
mod verifier_tls;
mod words;
