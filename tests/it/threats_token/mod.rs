//! Attacks on the endpoints of the issuer, at the real binary. The ids are those of docs/security.md.

mod clients;
mod grants;
mod introspection;
mod requests;

use crate::support::http::Response;
use std::time::Duration;

const GRANT: (&str, &str) = ("grant_type", "client_credentials");
const FORM: &str = "application/x-www-form-urlencoded";
const SOON: Duration = Duration::from_secs(15);

fn scopes(answer: &Response) -> Vec<String> {
    let json = answer.json();
    let mut scopes: Vec<_> = json["scope"].as_str().unwrap_or_default().split(' ').map(str::to_owned).collect();
    scopes.sort();
    scopes
}

/// An answer without what the clock puts into it.
fn undated(mut answer: Response) -> Response {
    answer.headers.retain(|(name, _)| name != "date");
    answer
}
