//! What a SigningKey that is gone leaves behind.
//!
//! Flows in: a ring without a SigningKey. Flows out: a keyring in which nothing signs, and once the last token has ended,
//! nothing: no private half, no keyring. `default` never comes here, it is made again.

use std::sync::PoisonError;

use countersign_api::SigningKey;
use countersign_core::keyring::{Departed, Keyring, wind_down};
use countersign_core::names::ObjectName;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;

use super::execute::read_keyring;
use super::{MOST_STEPS, Parts, SigningKeys, Stored};
use crate::controller::{During, Failure, ORPHAN_GRACE};
use crate::objects::{Class, Key, Preconditions};

const ACTION: &str = "wind down a ring";

impl SigningKeys {
    /// Brings the ring nearer to its end; when to look again.
    pub(super) async fn wind_down(&self, name: &ObjectName) -> Result<Option<Timestamp>, Failure> {
        let Parts { writer, layout, clock, timings, .. } = &self.parts;
        let Some(map) = writer.get::<ConfigMap>(&layout.keyring(name.as_str())).await.during(ACTION)? else {
            return Ok(None);
        };
        // The watch may lag behind a SigningKey just made; it will tell.
        let key = Key::namespaced(layout.system_namespace(), name.as_str());
        if writer.get::<SigningKey>(&key).await.during(ACTION)?.is_some() {
            return Ok(None);
        }
        if let Some(due) = self.not_before(name, &map).filter(|due| *due > clock.now()) {
            return Ok(Some(due));
        }
        let mut stored = Stored { ring: Some(read_keyring(&map)?), map: Some(map) };
        for _ in 0..MOST_STEPS {
            let Some(ring) = &stored.ring else { return Ok(None) };
            let next = wind_down(ring, &self.departed(name, ring), clock.now(), timings);
            self.delete_private_halves(name, &next.delete_private_halves).await?;
            if let Some(ring) = &next.ring {
                stored = self.write_keyring(stored, ring).await?;
            } else if next.over {
                self.remove_ring(name, &stored).await?;
                return Ok(None);
            } else {
                return Ok(next.wake_at);
            }
        }
        let source = format!("it still asks for more after {MOST_STEPS} steps").into();
        Err(Failure { class: Class::Bug, category: "keyring", action: ACTION, source })
    }

    /// When the end may begin, where that is not at once.
    fn not_before(&self, name: &ObjectName, map: &ConfigMap) -> Option<Timestamp> {
        if self.gone.lock().unwrap_or_else(PoisonError::into_inner).contains(name) {
            return None;
        }
        map.metadata.creation_timestamp.as_ref()?.0.checked_add(ORPHAN_GRACE).ok()
    }

    fn departed(&self, name: &ObjectName, stored: &Keyring) -> Departed {
        let Parts { clock, timings, replicas, snapshot, .. } = &self.parts;
        let seen = snapshot.load().rings.get(name).map(|ring| (**ring).clone());
        let remembered = self.remember(name, [seen, Some(stored.clone())]);
        let replicas = replicas.witnesses();
        Departed {
            witnesses: replicas.of_ring(name.as_str(), clock.now(), timings),
            known_serial: replicas.highest_serial(name.as_str()),
            remembered,
        }
    }

    async fn remove_ring(&self, name: &ObjectName, stored: &Stored) -> Result<(), Failure> {
        let (Some(map), Some(ring)) = (&stored.map, &stored.ring) else { return Ok(()) };
        // What a crashed attempt at a next key may have left.
        self.delete_private_halves(name, &[ring.next_key]).await?;
        let exactly = Preconditions::exactly(&map.metadata);
        self.parts.writer.delete::<ConfigMap>(&Key::of(&map.metadata), &exactly).await.during(ACTION)?;
        tracing::info!(ring = %name, "the last token of a ring without a SigningKey has ended; the ring is removed");
        Ok(())
    }
}
