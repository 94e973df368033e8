//! What is fuzzed, one file a target: `run` takes any bytes and panics where something that must always hold does not.
//!
//! Flows in: bytes, from libFuzzer (`make fuzz`) or from `fuzz/seeds` (`make test`). Flows out: nothing. Each target goes
//! through the door an outsider has: a token's text, a form's body, a `CheckRequest`, an `AdmissionReview`, a manifest.

pub mod basic;
pub mod check_request;
pub mod client_secret;
pub mod condition;
pub mod documents;
pub mod form;
pub mod injection;
pub mod manifests;
pub mod request;
pub mod review;
pub mod token;
mod webhook;
mod world;
