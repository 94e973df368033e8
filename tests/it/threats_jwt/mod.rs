//! Attacks on the checks of access tokens, tried at the verifier and at introspection. The ids are those of docs/security.md.
//!
//! Every case starts from a good token; where only the signature would give a forgery away, it is signed with the real key.

mod claims;
mod headers;
mod keys;
mod signatures;
mod structure;

use crate::support::await_condition;
use crate::support::standalone::Standalone;
use serde_json::json;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(15);

/// Both places refuse every one of these.
async fn all_refused(it: &Standalone, tokens: impl IntoIterator<Item = (&'static str, String)>) {
    for (what, token) in tokens {
        let answer = it.check(&token).await;
        let refused = answer.status == 401
            && answer.header("www-authenticate").is_some_and(|value| value.contains(r#"error="invalid_token""#));
        // What HTTP itself cannot carry, or no scheme allows in a credential, may be told as malformed.
        let malformed = matches!(answer.status, 400 | 431);
        assert!(refused || malformed, "{what}: {answer:?}");
        let answer = it.introspection(&token).await;
        let inactive = answer.status == 200 && answer.json() == json!({"active": false});
        assert!(inactive || answer.status == 413, "{what}: {answer:?}");
    }
    let good = it.token().await;
    assert_eq!(it.check(&good).await.status, 200, "a good token still passes");
}

/// Both places take every one of these.
async fn all_accepted(it: &Standalone, tokens: impl IntoIterator<Item = (&'static str, String)>) {
    for (what, token) in tokens {
        let answer = it.check(&token).await;
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
        // A client that asked about many tokens that were none may have to wait a moment.
        let look = async || it.introspection(&token).await;
        let answer = await_condition("introspection", SOON, look, |answer| answer.status != 429).await;
        assert_eq!(answer.json()["active"], true, "{what}: {answer:?}");
    }
}
