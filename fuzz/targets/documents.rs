//! The documents replicas read: `K` a keyring, `C` the client-secret keyring, `J` a key set, anything else a shard of
//! revocations.

use countersign_core::client_secret::{SignerKeyring, VerifyingKeys};
use countersign_core::keyring::{KeyState, Keyring};
use countersign_core::revocation::{Entry, Revoked, Shard};
use countersign_core::timings::Timings;
use countersign_core::token::{Jwks, KeySet};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::world::now;

pub fn run(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let (Ok(whole), Ok(rest)) = (std::str::from_utf8(data), std::str::from_utf8(rest)) else { return };
    match first {
        b'K' => keyring(rest),
        b'C' => {
            let Some(signer) = round_trip::<SignerKeyring>(rest) else { return };
            let keys = VerifyingKeys::new(&signer);
            assert!(keys.is_empty() || !signer.versions.is_empty());
            assert!(
                signer
                    .versions
                    .iter()
                    .all(|version| version.version < signer.next_version() || version.version == u32::MAX)
            );
        }
        b'J' => drop(round_trip::<Jwks>(rest)),
        _ => shard(whole),
    }
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(text: &str) -> Option<T> {
    let read: T = serde_json::from_str(text).ok()?;
    let again = serde_json::to_string(&read).expect("what was read can be written");
    assert_eq!(serde_json::from_str::<T>(&again).as_ref().ok(), Some(&read), "written and read again");
    Some(read)
}

fn keyring(text: &str) {
    let Ok(ring) = Keyring::parse(text) else { return };
    let again = ring.to_json().expect("what was read can be written");
    assert_eq!(Keyring::parse(&again).as_ref().ok(), Some(&ring), "written and read again");
    assert!(ring.keys.iter().filter(|key| key.state == KeyState::Active).count() <= 1);
    let keys = KeySet::build([&ring], []);
    for key in &ring.keys {
        let serves = matches!(key.state, KeyState::Published | KeyState::Active | KeyState::Retiring);
        assert_eq!(keys.find(key.key_id()).is_ok(), serves, "only keys in service verify");
    }
    let dead = KeySet::build([&ring], ring.keys.iter().map(|key| key.key_id().clone()));
    assert!(dead.jwks().is_empty(), "a key declared dead is dead everywhere");
    assert!(!serde_json::to_string(&keys.jwks()).expect("JSON").contains("\"d\""));
}

/// Nothing that was refused before an entry came is accepted after it.
fn shard(text: &str) {
    let Some(shard) = round_trip::<Shard>(text) else { return };
    let now = now();
    let view = Revoked::build([&shard], now);
    assert_eq!(view, view.with([&shard], now), "known already");
    let mut grown = Shard::default();
    for entry in &shard.entries {
        let before: Vec<Entry> = grown.entries.clone();
        if grown.insert(entry.clone(), now, &Timings::default()).is_err() || entry.has_ended(now) {
            continue;
        }
        let covered = |entry: &Entry| entry.has_ended(now) || grown.entries.iter().any(|known| known.covers(entry));
        assert!(before.iter().all(covered) && covered(entry), "nothing is evicted");
    }
    assert!(grown.entries.len() <= Shard::MAX + 1);
}
