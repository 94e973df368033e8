//! One line a request: what was asked, by whom, what came of it. The fields are an interface (docs/reference).

use std::net::IpAddr;
use std::time::Instant;

/// What a line says. Never a secret, a token or text nobody checked.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    pub endpoint: &'static str,
    pub status: u16,
    /// The RFC's error code; none where the answer is yes.
    pub error: Option<&'a str>,
    /// A client that exists. What else was presented as a client id may be a secret in the wrong field.
    pub client: Option<&'a str>,
    /// The other end of the connection.
    pub peer: Option<IpAddr>,
    pub begun: Instant,
}

impl Line<'_> {
    /// Writes the line.
    pub fn write(&self) {
        tracing::info!(
            target: "access",
            endpoint = self.endpoint,
            status = self.status,
            error = self.error,
            client = self.client,
            peer = self.peer.map(tracing::field::display),
            micros = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            "request"
        );
    }
}
