//! The allowances, found by the namespace they can concern.
//!
//! Flows in: allowances. Flows out: those a namespace has to be held against, and the namespaces a change concerns. Most
//! name one namespace by its label; only the others are held against every namespace.

use std::sync::Arc;

use crate::bounds::{AllowanceObject, NAME_LABEL};
use crate::directory::map::Ordered;
use crate::names::{Namespace, ObjectName};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Allowances {
    all: Ordered<ObjectName, Arc<AllowanceObject>>,
    pinned: Ordered<(Namespace, ObjectName), Arc<AllowanceObject>>,
    general: Ordered<ObjectName, Arc<AllowanceObject>>,
}

/// The namespaces a change of an allowance concerns.
pub(super) enum Concerned {
    These(Vec<Namespace>),
    All,
}

/// Where an allowance is kept.
enum Place {
    Nowhere,
    Pinned(Namespace),
    General,
}

impl Allowances {
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<AllowanceObject>> {
        self.all.values()
    }

    pub(super) fn get(&self, name: &ObjectName) -> Option<&Arc<AllowanceObject>> {
        self.all.get(name)
    }

    /// Those that may select the namespace.
    pub(super) fn candidates<'a>(&'a self, namespace: &'a Namespace) -> impl Iterator<Item = &'a Arc<AllowanceObject>> {
        let pinned = self.pinned.from(|(probe, _)| probe.cmp(namespace).then(std::cmp::Ordering::Greater));
        let pinned = pinned.take_while(move |((probe, _), _)| probe == namespace).map(|(_, allowance)| allowance);
        self.general.values().chain(pinned)
    }

    pub(super) fn set(&mut self, name: &ObjectName, allowance: Option<Arc<AllowanceObject>>) -> Concerned {
        let old = match &allowance {
            Some(allowance) => self.all.insert(name.clone(), allowance.clone()),
            None => self.all.remove(name),
        };
        let (before, after) = (place(old.as_deref()), place(allowance.as_deref()));
        match &before {
            Place::Nowhere => {}
            Place::Pinned(namespace) => drop(self.pinned.remove(&(namespace.clone(), name.clone()))),
            Place::General => drop(self.general.remove(name)),
        }
        match (&after, allowance) {
            (Place::Pinned(namespace), Some(allowance)) => {
                drop(self.pinned.insert((namespace.clone(), name.clone()), allowance));
            }
            (Place::General, Some(allowance)) => drop(self.general.insert(name.clone(), allowance)),
            _ => {}
        }
        match (before, after) {
            (Place::General, _) | (_, Place::General) => Concerned::All,
            (a, b) => Concerned::These([a, b].into_iter().filter_map(Place::namespace).collect()),
        }
    }
}

impl Place {
    fn namespace(self) -> Option<Namespace> {
        if let Self::Pinned(namespace) = self { Some(namespace) } else { None }
    }
}

fn place(allowance: Option<&AllowanceObject>) -> Place {
    let Some(selector) = allowance.and_then(|allowance| allowance.selector.as_ref()) else { return Place::Nowhere };
    match selector.match_labels.get(NAME_LABEL) {
        // A name that is no namespace's selects nothing.
        Some(name) => Namespace::new(name).map_or(Place::Nowhere, Place::Pinned),
        None => Place::General,
    }
}
