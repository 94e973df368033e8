//! Which clients may stand differently than before.
//!
//! Flows in: two Directories. Flows out: the clients that changed themselves, or whose grants may have. What both share is
//! recognized by its pointer, so the cost is that of the namespaces, and of the clients where an audience changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::directory::view::NamespaceView;
use crate::directory::{ClientView, Directory};
use crate::names::{Audience, ObjectRef};

impl Directory {
    /// The clients that are not in `before` as they are here, and those whose grants may differ. A client that went is not
    /// among them.
    pub fn affected_clients(&self, before: &Self) -> Vec<ObjectRef> {
        let (mut affected, mut audiences) = (BTreeSet::new(), BTreeSet::new());
        for (name, now) in self.namespaces.iter() {
            let then = before.namespaces.get(name.as_str());
            if then.is_some_and(|then| Arc::ptr_eq(then, now)) {
                continue;
            }
            audiences.extend(changed_audiences(then.map(|then| &**then), Some(now)));
            let relabelled = then.is_none_or(|then| then.labels() != now.labels());
            let clients = now.clients.values().filter(|client| relabelled || !is_in(then.map(|then| &**then), client));
            affected.extend(clients.map(|client| client.object.object.clone()));
        }
        for (_, then) in before.namespaces.iter().filter(|(name, _)| self.namespaces.get(name.as_str()).is_none()) {
            audiences.extend(changed_audiences(Some(then), None));
        }
        if !audiences.is_empty() {
            let asks = |client: &&Arc<ClientView>| {
                client
                    .accepted()
                    .is_some_and(|spec| spec.access.iter().any(|access| audiences.contains(&access.audience)))
            };
            affected.extend(self.clients().filter(asks).map(|client| client.object.object.clone()));
        }
        affected.into_iter().collect()
    }
}

fn is_in(then: Option<&NamespaceView>, client: &Arc<ClientView>) -> bool {
    let same = then.and_then(|then| then.clients.get(&client.object.object.name));
    same.is_some_and(|same| Arc::ptr_eq(same, client) || same == client)
}

/// The audiences one of the two defines differently, or not at all.
fn changed_audiences(then: Option<&NamespaceView>, now: Option<&NamespaceView>) -> Vec<Audience> {
    let names = [then, now].into_iter().flatten().flat_map(|view| view.audiences.iter().map(|(name, _)| name));
    let of = |view: Option<&NamespaceView>, name: &Audience| view.and_then(|view| view.audiences.get(name).cloned());
    names.filter(|name| of(then, name) != of(now, name)).cloned().collect()
}
