//! How the controller gets at the Secrets of clients, and what to say where it may not.
//!
//! ```text
//! ClusterWide    a watch of what carries our label ─► the table of Secrets
//! else           a read by name, again after a while ─► the same table, as if a watch had told
//! ```
//! Flows in: what the flags say, refusals of the API server. Flows out: whether to watch or how often to read; for a refusal by
//! RBAC the finding with what to apply.

use std::time::Duration;

use countersign_core::names::Namespace;

use super::credentials::CREDENTIALS_READY;
use crate::controller::Failure;
use crate::controller::conditions::Finding;
use crate::objects::Error as StoreError;

pub(super) const SECRET_ACCESS_DENIED: &str = "SecretAccessDenied";

/// How the controller gets at the Secrets of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretAccess {
    /// How long a Secret that was read counts as it was; none: a watch tells of each change, in every namespace.
    pub reread: Option<Duration>,
    /// The ClusterRole a namespace must bind; none: the controller may in every namespace.
    pub role: Option<String>,
}

impl SecretAccess {
    /// By a watch of the whole store.
    pub const WATCHED: Self = Self { reread: None, role: None };

    pub(super) fn is_watched(&self) -> bool {
        self.reread.is_none()
    }

    /// What to say of a failure, if it is that RBAC keeps the controller from a Secret of the namespace.
    pub(super) fn denied(&self, namespace: &Namespace, failure: &Failure) -> Option<Finding> {
        let StoreError::Forbidden { verb, message, .. } = failure.source.downcast_ref()? else { return None };
        let user = denied_user(message)?;
        let may_not = format!("the controller may not {verb} Secrets in namespace {namespace}");
        let message = match &self.role {
            Some(role) => {
                let who = subject(user);
                format!(
                    "{may_not}; let it: kubectl create rolebinding {role} -n {namespace} --clusterrole={role} {who}"
                )
            }
            None => format!("{may_not}: apply the chart, or deploy/rbac.yaml, with the secret access it is run with"),
        };
        Some(Finding::fails(CREDENTIALS_READY, SECRET_ACCESS_DENIED, message))
    }
}

/// Whom RBAC refused; none where it was a quota, an admission webhook or a namespace that ends.
fn denied_user(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("User \"")?;
    let (user, rest) = rest.split_once('"')?;
    (rest.starts_with(" cannot ") && rest.contains("resource \"secrets\"")).then_some(user)
}

/// The flag by which kubectl names a subject.
fn subject(user: &str) -> String {
    let account = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    account
        .map_or_else(|| format!("--user='{user}'"), |(namespace, name)| format!("--serviceaccount={namespace}:{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::During as _;
    use crate::objects::Key;

    fn refusal(message: &str) -> Failure {
        let key = Key::namespaced("shop", "checkout-oauth");
        let error = StoreError::Forbidden { verb: "get", kind: "Secret".to_owned(), key, message: message.to_owned() };
        Err::<(), _>(error).during("read the client's Secret").unwrap_err()
    }

    fn said(access: &SecretAccess, message: &str) -> Option<String> {
        let namespace = Namespace::new("shop").unwrap();
        access.denied(&namespace, &refusal(message)).map(|finding| finding.message)
    }

    const BY_RBAC: &str = "secrets \"checkout-oauth\" is forbidden: User \"system:serviceaccount:cs:ctl\" cannot get resource \
                           \"secrets\" in API group \"\" in the namespace \"shop\"";

    #[test]
    fn a_refusal_by_rbac_says_what_to_bind() {
        let bound = SecretAccess { reread: Some(Duration::from_mins(1)), role: Some("cs-secrets".to_owned()) };
        let command = "kubectl create rolebinding cs-secrets -n shop --clusterrole=cs-secrets --serviceaccount=cs:ctl";
        assert!(said(&bound, BY_RBAC).is_some_and(|said| said.ends_with(command)), "{:?}", said(&bound, BY_RBAC));
        let person = BY_RBAC.replace("system:serviceaccount:cs:ctl", "jane");
        assert!(said(&bound, &person).is_some_and(|said| said.ends_with("--user='jane'")));
        assert!(said(&SecretAccess::WATCHED, BY_RBAC).is_some_and(|said| said.contains("deploy/rbac.yaml")));
    }

    #[test]
    fn a_refusal_for_another_reason_is_none_of_rbac() {
        for message in [
            "secrets \"checkout-oauth\" is forbidden: exceeded quota: few, requested: secrets=1, used: secrets=1, limited: secrets=1",
            "admission webhook \"no.example.com\" denied the request: User \"jane\" is not liked",
            "secrets \"checkout-oauth\" is forbidden: unable to create new content in namespace shop because it is being terminated",
            "Unauthorized",
        ] {
            assert_eq!(said(&SecretAccess::WATCHED, message), None, "{message}");
        }
    }
}
