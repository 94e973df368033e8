//! Rings whose SigningKey was deleted, over a store in memory.

use std::time::Duration;

use countersign_api::signingkey::SigningKeySpec;
use countersign_core::keyring::KeyState::{self, Active, Published, Removed, Retiring};
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Secret;

use super::tests::Bed;
use super::*;
use crate::objects::Preconditions;

fn other() -> ObjectName {
    ObjectName::new("other").unwrap()
}

impl Bed {
    fn key_of_other(&self) -> Key {
        Key::namespaced(self.layout.system_namespace(), "other")
    }

    fn watch(&self) -> BoxStream<'static, Change<SigningKey>> {
        self.objects.watch(Selection::namespace(self.layout.system_namespace()))
    }

    /// Makes the SigningKey `other`, and follows the watch until the kind has seen it.
    async fn make_other(&self) -> BoxStream<'static, Change<SigningKey>> {
        let spec = SigningKeySpec { issuer: self.layout.issuer_name().to_string(), ..SigningKeySpec::default() };
        let mut object = SigningKey::new("other", spec);
        object.metadata.namespace = Some(self.layout.system_namespace().to_owned());
        self.objects.create(&object).await.unwrap();
        let mut watch = self.watch();
        assert!(self.kind.see(watch.next().await.unwrap()).contains(&other()));
        self.kind.reconcile(&other()).await.unwrap();
        watch
    }

    async fn delete_other(&self) {
        self.objects.delete::<SigningKey>(&self.key_of_other(), &Preconditions::default()).await.unwrap();
    }

    /// The states of the keys of `other`, none if its keyring is gone; and how many private halves there are.
    async fn other(&self) -> (Option<Vec<KeyState>>, usize) {
        let map: Option<ConfigMap> = self.objects.get(&self.layout.keyring("other")).await.unwrap();
        let states = map.map(|map| read_keyring(&map).unwrap().keys.iter().map(|key| key.state).collect());
        let mut halves = 0;
        for serial in 1..5 {
            let half: Option<Secret> = self.objects.get(&self.layout.signing_key("other", serial)).await.unwrap();
            halves += usize::from(half.is_some());
        }
        (states, halves)
    }
}

#[tokio::test]
async fn a_ring_that_is_deleted_signs_no_more_and_goes_with_its_last_token() {
    let bed = Bed::new();
    let mut watch = bed.make_other().await;
    assert_eq!(bed.other().await, (Some(vec![Active, Published]), 2));
    bed.delete_other().await;
    while bed.kind.objects().get(&bed.key_of_other()).is_some() {
        bed.kind.see(watch.next().await.unwrap());
    }
    let wake_at = bed.kind.reconcile(&other()).await.unwrap();
    assert_eq!(bed.other().await, (Some(vec![Retiring, Removed]), 0), "no issuer lives that might sign");
    let end = bed.clock.now() + Timings::default().retiring_for(Timings::default().max_access_token_lifetime);
    assert!(wake_at.is_some_and(|wake_at| wake_at <= end), "{wake_at:?}");
    bed.clock.advance(Duration::from_hours(24));
    assert_eq!(bed.kind.reconcile(&other()).await.unwrap(), None);
    assert_eq!(bed.other().await, (None, 0));
}

#[tokio::test]
async fn a_young_keyring_whose_signing_key_was_not_seen_to_go_waits_for_it() {
    let bed = Bed::new();
    drop(bed.make_other().await);
    bed.delete_other().await;
    let bed = Bed { kind: Bed::leader(&bed.objects, &bed.layout, &bed.clock), ..bed };
    bed.kind.see(bed.watch().next().await.unwrap());
    assert!(bed.kind.reconcile(&other()).await.unwrap().is_some_and(|wake_at| wake_at > bed.clock.now()));
    assert_eq!(bed.other().await, (Some(vec![Active, Published]), 2));
    bed.clock.advance(Duration::from_hours(1));
    bed.kind.reconcile(&other()).await.unwrap();
    assert_eq!(bed.other().await.0, Some(vec![Retiring, Removed]));
}
