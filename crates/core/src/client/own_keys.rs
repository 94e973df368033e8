//! The public keys a client registered to prove itself by assertions (RFC 7523).
//!
//! Flows in: the keys of a spec. Flows out: what is wrong with them.

use std::collections::BTreeSet;

use super::RegisteredKeys;
use super::check::invalid;
use crate::policy::Problem;

/// The most registered keys of a client.
const KEYS_MAX: usize = 16;

/// Whether those that are listed are few, and each there once. A URL is checked as it is read.
pub(super) fn check(element: &str, keys: &RegisteredKeys, found: &mut Vec<Problem>) {
    let RegisteredKeys::Listed(keys) = keys else { return };
    let element = format!("{element}.keys.jwks.keys");
    if keys.is_empty() || keys.len() > KEYS_MAX {
        found.push(invalid(&element, format!("register 1 to {KEYS_MAX} public keys")));
    }
    let mut thumbprints = BTreeSet::new();
    for (index, _) in keys.iter().enumerate().filter(|(_, key)| !thumbprints.insert(key.thumbprint())) {
        found.push(invalid(format!("{element}[{index}]"), "register each key once"));
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;
    use crate::token::{Algorithm, ClientKey, PublicJwk};

    #[test]
    fn keys_are_registered_once_each() {
        let registered = |keys: &[ClientKey]| {
            let mut found = Vec::new();
            check("method", &RegisteredKeys::Listed(keys.to_vec()), &mut found);
            found.into_iter().map(|problem| problem.element).collect::<Vec<_>>().join(" ")
        };
        let element = "method.keys.jwks.keys";
        let keys: Vec<_> = (1..=17).map(key).collect();
        assert_eq!(registered(&keys[..16]), "");
        assert_eq!(registered(&[]), element);
        assert_eq!(registered(&keys), element);
        let twice = [keys[0].clone(), keys[1].clone(), keys[0].clone()];
        assert_eq!(registered(&twice), format!("{element}[2]"));
    }

    /// A key of its own for each number.
    fn key(number: u8) -> ClientKey {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[number; 32]).expect("a key");
        let jwk = PublicJwk::from_public_key(Algorithm::EdDSA, pair.public_key().as_ref()).expect("a key");
        let Ok(serde_json::Value::Object(members)) = serde_json::to_value(jwk) else { panic!("no object") };
        ClientKey::read(members).expect("a key")
    }
}
