//! Signed values and their lives.

mod rotation;
mod values;
