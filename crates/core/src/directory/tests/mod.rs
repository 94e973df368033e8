//! What is promised of bounds, merging, conflicts and grants, sentence by sentence; the properties of any Directory.

mod clients;
pub(crate) mod fixtures;
mod notes;
mod policies;
mod properties;
