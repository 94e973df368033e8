//! Signed values and their lives.

mod rotation;
mod search;
mod values;
mod world;
