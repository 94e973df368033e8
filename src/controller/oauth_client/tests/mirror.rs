//! The snapshot as its feed would have it.

use super::*;

impl Process {
    /// What the feed of the snapshot does.
    pub(super) fn mirror(&mut self, revoked: Revoked, keys: VerifyingKeys) {
        let (mut moved, old) = (Vec::new(), self.live.load_full());
        while let Some(Some(change)) = self.watches.mirrored.next().now_or_never() {
            moved.extend(each(change).map(|(key, client)| {
                let key = key.object_ref().unwrap();
                let held = old.directory.client_of(&key).map_or(0, |client| client.object.epoch);
                let client = client.map(|client| {
                    let client = ClientObject::try_from(&client).unwrap();
                    Arc::new(ClientObject { epoch: client.epoch.max(held), ..client })
                });
                Moved::Client(key, client)
            }));
        }
        while let Some(Some(change)) = self.watches.policies.next().now_or_never() {
            moved.extend(each(change).map(|(key, policy)| {
                let policy = policy.map(|policy| Arc::new(PolicyObject::try_from(&policy).unwrap()));
                Moved::Policy(key.object_ref().unwrap(), policy)
            }));
        }
        self.live.publish(Snapshot {
            directory: Arc::new(old.directory.apply(moved)),
            revoked: Arc::new(revoked),
            client_secret_keys: Arc::new(keys),
            ..(*old).clone()
        });
    }
}

fn each<K: crate::objects::Object>(change: Change<K>) -> impl Iterator<Item = (Key, Option<K>)> {
    let (there, gone) = match change {
        Change::Reset(objects, _) => (objects, None),
        Change::Apply(object) => (vec![object], None),
        Change::Delete(gone) => (Vec::new(), Some(gone.key)),
        Change::Malformed(malformed) => (Vec::new(), Some(malformed.key)),
    };
    let there = there.into_iter().map(|object| (Key::of(object.meta()), Some(object)));
    there.chain(gone.map(|key| (key, None)))
}
