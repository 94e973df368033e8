//! Axum pieces that every HTTP role shares: reading forms, who the client says it is, OAuth errors, limits, the access log.
//!
//! Flows in: requests. Flows out: parsed parameters and presented credentials, nothing decided; and answers.

pub mod access_log;
pub mod body;
pub mod credentials;
pub mod error;
pub mod form;
pub mod limiter;
