//! The router over a snapshot made by hand and a clock that stands still.

mod around;
mod authentication;
mod certificates;
mod documents;
mod epochs;
mod exchange;
mod grants;
mod introspection;
mod keys;
mod own_keys;
mod patience;
mod published_keys;
mod service_accounts;
mod shop;
mod sockets;
#[cfg(feature = "otlp")]
mod traces;
mod world;
