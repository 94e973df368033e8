//! Countersign: an OAuth 2.0 authorization server, a Kubernetes operator and an authorization webhook in one binary.
//!
//! ARCHITECTURE.md says how the modules hang together and which may use which.

pub mod admission;
pub mod agent;
pub mod cli;
pub mod controller;
pub mod http;
pub mod issuer;
pub mod objects;
pub mod runtime;
pub mod snapshot;
pub mod store;
pub mod verifier;
