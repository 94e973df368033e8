//! The soak: faults, one story a module, with real processes on a real API server and a proxy that fails as it is told.
//!
//! Flows in: the real `countersign` binary, built with the feature `test-clock`, and what `tests/setup.sh` put in place. Flows
//! out: figures, which `make soak` folds into docs/soak.md. Not part of `make test`: it takes its time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    dead_code,
    reason = "a step of the harness that fails is a test that fails, and says where; each story takes what it needs"
)]

mod away;
mod backup;
mod clocks;
mod crash_points;
mod hands;
mod leaders;
mod load;
mod million;
mod mutations;
mod proxy;
mod report;
mod restarts;
mod shop;
#[path = "../it/support/mod.rs"]
mod support;
mod uninstall;
mod watches;
mod wire;
