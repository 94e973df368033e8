//! Countersign's domain as values and pure functions.
//!
//! Nothing here reads a clock, a file, a socket or a random number: `now`, randomness and the observed world are
//! arguments. What the roles of the binary do is decided here and carried out there.

#[macro_use]
mod closed;

pub mod bounds;
pub mod certificates;
pub mod client;
pub mod client_secret;
pub mod directory;
pub mod keyring;
pub mod names;
pub mod oauth;
pub mod policy;
pub mod request;
pub mod revocation;
pub mod scope;
#[cfg(test)]
mod tests;
pub mod timings;
pub mod token;
pub mod wanted;
