//! Carries a plan out.
//!
//! Flows in: a plan. Flows out: writes, each on the version it was decided on. Leave to refer comes before what refers, and
//! goes after it.

use std::fmt;

use countersign_api::wiring::{covers, place};
use countersign_core::names::ObjectRef;

use super::Wirings;
use super::plan::{Changes, Plan};
use super::seen::{Managed, spec};
use crate::controller::{During, Failure};
use crate::objects::events::{Event, Severity};
use crate::objects::{Class, Key, Preconditions};

/// What was written did not stay as it was written.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the {kind} it keeps is not the one that was written: upgrade the custom resource definitions of the gateway")]
struct NotKept {
    kind: String,
}

impl Wirings {
    pub(super) async fn execute(&self, policy: &ObjectRef, plan: &Plan) -> Result<(), Failure> {
        self.write_all(policy, &plan.grants).await?;
        self.write_all(policy, &plan.security).await?;
        self.write_all(policy, &plan.authorization).await?;
        self.remove_all(&plan.security).await?;
        self.remove_all(&plan.authorization).await?;
        self.remove_all(&plan.grants).await
    }

    async fn write_all<K: Managed>(&self, policy: &ObjectRef, changes: &Changes<K>) -> Result<(), Failure> {
        const WRITE: &str = "write what connects the traffic";
        for object in &changes.write {
            let replaces = object.meta().resource_version.is_some();
            let written = if replaces {
                self.writer.replace(object).await.during(WRITE)?
            } else {
                self.writer.create(object).await.during(WRITE)?
            };
            let wanted = spec(object);
            let stays = covers(&spec(&written), &wanted);
            self.seen().wrote(&wanted, written);
            if !stays {
                let kind = K::kind(&()).into_owned();
                let source = Box::new(NotKept { kind });
                return Err(Failure { class: Class::User, category: "not_kept", action: WRITE, source });
            }
            if replaces {
                self.tell(policy, object).await;
            }
        }
        Ok(())
    }

    /// That something was put back, on the policy.
    async fn tell<K: Managed>(&self, policy: &ObjectRef, object: &K) {
        let found = self.seen().policies.get(&Key::from(policy)).cloned();
        let Some(policy) = found else { return };
        let note = Note { kind: K::kind(&()).into_owned(), at: place(object.meta()) };
        self.writer.event(Event::about(&*policy, Severity::Normal, "WiringRestored", note.to_string())).await;
    }

    async fn remove_all<K: Managed>(&self, changes: &Changes<K>) -> Result<(), Failure> {
        for object in &changes.remove {
            let exactly = Preconditions::exactly(object.meta());
            let at = place(object.meta());
            let key = Key::of(object.meta());
            self.writer.delete::<K>(&key, &exactly).await.during("remove what connected the traffic")?;
            self.seen().removed::<K>(&at);
        }
        Ok(())
    }
}

struct Note {
    kind: String,
    at: (String, String),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{} is as it shall be again", self.kind, self.at.0, self.at.1)
    }
}
