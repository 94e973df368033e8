//! What is said of a policy whose traffic a gateway or mesh brings.

use super::Reason;
use super::rows::{NOTHING, policy};

pub(super) const WIRED: Reason =
    policy("Wired", "True", "Wired", ["the targets' traffic comes to the verifier", NOTHING]);
pub(super) const NOT_ENABLED: Reason = policy(
    "Wired",
    "False",
    "NotEnabled",
    [
        "this installation writes no objects for whoever makes the Gateway",
        "set `gateway.envoyGateway.enabled` or `gateway.istio.enabled` in the chart's values, or apply what `countersign check --wiring` prints",
    ],
);
pub(super) const NOT_INSTALLED: Reason = policy(
    "Wired",
    "False",
    "NotInstalled",
    [
        "the cluster does not have the kind that would connect the traffic",
        "install the custom resource definitions that the message names",
    ],
);
pub(super) const TARGET_NOT_FOUND: Reason = policy(
    "Wired",
    "False",
    "TargetNotFound",
    [
        "the target, its Gateway or its GatewayClass is not there; what is in place for it stays",
        "correct the name, or apply it",
    ],
);
pub(super) const TARGET_NOT_SUPPORTED: Reason = policy(
    "Wired",
    "False",
    "TargetNotSupported",
    ["whoever makes the Gateway cannot be asked to check this target alone", "the message says what to name instead"],
);
pub(super) const TARGET_HAS_POLICY: Reason = policy(
    "Wired",
    "False",
    "TargetHasPolicy",
    [
        "somebody else's policy has the target and is left alone",
        "take what the message says into that policy, or agree with its owner",
    ],
);
pub(super) const NOT_OWNED: Reason = policy(
    "Wired",
    "False",
    "NotOwned",
    ["the object of this name is somebody else's and is left alone", "delete or rename it"],
);
pub(super) const OVERRIDDEN: Reason = policy(
    "Wired",
    "False",
    "Overridden",
    [
        "somebody else's policy stands in the place of this one for some of the traffic (a route, a rule, a listener), which is not asked about",
        "name those HTTPRoutes in `targetRefs`, or have the owner remove it",
    ],
);
pub(super) const HOST_NOT_CLAIMED: Reason = policy(
    "Wired",
    "False",
    "HostNotClaimed",
    [
        "traffic comes to the verifier and is refused, since the policy does not hold its host",
        "claim the host in `spec.routes`; that needs a NamespaceAllowance",
    ],
);
pub(super) const GATEWAY_REFUSED: Reason = policy(
    "Wired",
    "False",
    "GatewayRefused",
    ["the gateway does not accept the object that connects the traffic", "the message is the gateway's own"],
);
pub(super) const PROVIDER_MISSING: Reason = policy(
    "Wired",
    "False",
    "ProviderMissing",
    [
        "the Istio mesh does not have the policy's extension provider",
        "have the mesh's owner add the entry that the message prints",
    ],
);
pub(super) const NO_WAYPOINT: Reason = policy(
    "Wired",
    "False",
    "NoWaypoint",
    [
        "the Service is in Istio's ambient mesh, and nothing there can ask",
        "make a waypoint for the namespace or the Service",
    ],
);
pub(super) const WRITE_REFUSED: Reason = policy(
    "Wired",
    "False",
    "WriteRefused",
    [
        "the API server refuses the object that connects the traffic",
        "its message says why: a quota, an admission webhook, RBAC, definitions of an older gateway",
    ],
);
pub(super) const PAUSED: Reason = policy(
    "Wired",
    "False",
    "Paused",
    ["nothing is written while the policy is paused", "remove the annotation `countersign.dev/paused`"],
);
pub(super) const NOT_READ: Reason = policy(
    "Wired",
    "Unknown",
    "NotRead",
    ["gateways and routes are not read yet", "wait; where it stays, apply `deploy/rbac.yaml` or set `rbac.create`"],
);
pub(super) const AWAITING_GATEWAY: Reason = policy(
    "Wired",
    "Unknown",
    "AwaitingGateway",
    [
        "the object is written, and the gateway has said nothing about it",
        "wait; where it stays, see whether the gateway's controller runs",
    ],
);
