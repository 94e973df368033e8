//! Countersign's domain as values and pure functions.
//!
//! Nothing here reads a clock, a file, a socket or a random number: `now`, randomness and the observed world are
//! arguments. What the roles of the binary do is decided here and carried out there.

pub mod bounds;
pub mod client;
pub mod directory;
pub mod names;
pub mod policy;
pub mod request;
pub mod scope;
pub mod timings;
