//! Signed values and their lives.

mod rotation;
mod search;
mod signer;
mod values;
mod world;
