//! The list of reasons itself.

use super::rows::{NOTHING, client, key, of, other, policy};
use super::{Place, Reason, wired};

impl Reason {
    /// The list.
    pub const ALL: [Self; 86] = [
        client("Ready", "True", "Ready", ["the client can get tokens", NOTHING]),
        client(
            "Ready",
            "True",
            "Suspended",
            [
                "all is in place, and `spec.state` alone keeps the client from tokens",
                "set `state: Active` when it may have them",
            ],
        ),
        client(
            "Ready",
            "False",
            "NothingGranted",
            ["none of the scopes it asks for is granted", "see `status.refused`"],
        ),
        client("Accepted", "True", "Accepted", ["the spec is well-formed and within the namespace's bounds", NOTHING]),
        client("CredentialsReady", "True", "Written", ["the Secret holds the credentials", NOTHING]),
        client(
            "CredentialsReady",
            "True",
            "Rotating",
            ["the Secret holds the newest value, older ones are still good", NOTHING],
        ),
        client(
            "CredentialsReady",
            "True",
            "OldValueInUse",
            [
                "an older value is still used past `maxOverlap`",
                "find who still uses it (the access log of the issuer that the message names, at the time it names), or set `atDeadline: Reject`",
            ],
        ),
        client(
            "CredentialsReady",
            "True",
            "RotateAtInvalid",
            [
                "the annotation `countersign.dev/rotate-at` asks for nothing; the value works on",
                "the message says what to write instead",
            ],
        ),
        client("CredentialsReady", "True", "Referenced", ["the Secret holds a value of someone else's", NOTHING]),
        client(
            "CredentialsReady",
            "True",
            "NoSecret",
            ["the client proves itself without a Secret; its ConfigMap says to whom", NOTHING],
        ),
        client(
            "CredentialsReady",
            "False",
            "ConfigMapNotOwned",
            [
                "the ConfigMap `<metadata.name>-oauth` is not this client's, and is left alone",
                "delete it, or give the client another `metadata.name`",
            ],
        ),
        client(
            "CredentialsReady",
            "False",
            "ConfigMapContested",
            [
                "somebody keeps deleting or changing the ConfigMap; it is put back less and less often",
                "have whom the message names leave it alone",
            ],
        ),
        client(
            "CredentialsReady",
            "False",
            "NoCluster",
            ["`standalone` can check neither ServiceAccount tokens nor client certificates", "use ClientSecret there"],
        ),
        client(
            "CredentialsReady",
            "False",
            "SecretNotFound",
            ["`mode: Reference`, and the Secret is not there", "make it, with the annotation `countersign.dev/client`"],
        ),
        client(
            "CredentialsReady",
            "False",
            "SecretNotOwned",
            [
                "the Secret of this name is not this client's, and is left alone",
                "choose another `secret.name`, delete that Secret, or `mode: Adopt` with the annotation `countersign.dev/client`",
            ],
        ),
        client(
            "CredentialsReady",
            "False",
            "SecretAccessDenied",
            [
                "the controller may not read or write Secrets in this namespace",
                "bind the ClusterRole for its Secrets: the message has the command; it is seen within 30 s",
            ],
        ),
        client(
            "CredentialsReady",
            "False",
            "SecretNameConflict",
            ["an older client of the namespace writes this Secret", "choose another `secret.name`"],
        ),
        client(
            "CredentialsReady",
            "False",
            "KeyNotFound",
            [
                "the Secret has no text under the key",
                "write the value under the key that `secret.keys.clientSecret` names",
            ],
        ),
        client(
            "CredentialsReady",
            "False",
            "SecretTooWeak",
            ["the value could be guessed", "use a random value of 32 characters or more"],
        ),
        client(
            "CredentialsReady",
            "False",
            "SecretContested",
            ["something keeps changing or deleting the Secret", "have it leave the Secret alone"],
        ),
        client(
            "CredentialsReady",
            "False",
            "RejectIssuedBeforeTooFarAhead",
            ["no value is good before `rejectIssuedBefore` has come", "write a time that has passed"],
        ),
        client(
            "CredentialsReady",
            "False",
            "Paused",
            ["nothing is written while the client is paused", "remove the annotation `countersign.dev/paused`"],
        ),
        client(
            "CredentialsReady",
            "False",
            "NoSigner",
            ["the key that signs client secrets is not there yet", "wait: the controller is making it"],
        ),
        client(
            "CredentialsReady",
            "False",
            "WriteRefused",
            ["the API server refuses the write", "its message says why: a quota, an admission webhook, RBAC"],
        ),
        client(
            "CredentialsReady",
            "False",
            "NotAccepted",
            ["nothing is written for a client that is not accepted", "see `Accepted`"],
        ),
        client(
            "CredentialsReady",
            "Unknown",
            "NotAccepted",
            ["nothing is written for a client that is not accepted", "see `Accepted`"],
        ),
        client("ResolvedRefs", "True", "ResolvedRefs", ["everything it names exists", NOTHING]),
        client(
            "ResolvedRefs",
            "False",
            "UnknownSigningKey",
            ["there is no SigningKey of this name in the system namespace", "name another in `tokens.signingKey`"],
        ),
        client("FullyGranted", "True", "Granted", ["every scope it asks for is granted", NOTHING]),
        client(
            "FullyGranted",
            "True",
            "NothingAsked",
            ["it asks for no scope", "name audiences and scopes in `spec.access`"],
        ),
        client("FullyGranted", "False", "SomeRefused", ["some scopes are not granted", "see `status.refused`"]),
        client(
            "FullyGranted",
            "False",
            "NothingGranted",
            ["none of the scopes it asks for is granted", "see `status.refused`"],
        ),
        client("FullyGranted", "Unknown", "NotAccepted", ["grants count for accepted clients only", "see `Accepted`"]),
        policy("Accepted", "True", "Accepted", ["the policy is in force", NOTHING]),
        policy("PartiallyInvalid", "False", "Valid", ["every element is in force", NOTHING]),
        policy("ResolvedRefs", "True", "ResolvedRefs", ["every scope that is named is defined", NOTHING]),
        policy(
            "NotEnforcing",
            "True",
            "Shadow",
            [
                "the policy decides and counts and lets everything pass",
                "set `mode: Enforce` once the counts look right",
            ],
        ),
        policy("NotEnforcing", "False", "Enforce", ["what the policy denies is denied", NOTHING]),
        wired::WIRED,
        wired::NOT_ENABLED,
        wired::NOT_INSTALLED,
        wired::TARGET_NOT_FOUND,
        wired::TARGET_NOT_SUPPORTED,
        wired::TARGET_HAS_POLICY,
        wired::NOT_OWNED,
        wired::OVERRIDDEN,
        wired::HOST_NOT_CLAIMED,
        wired::GATEWAY_REFUSED,
        wired::PROVIDER_MISSING,
        wired::NO_WAYPOINT,
        wired::WRITE_REFUSED,
        wired::PAUSED,
        wired::NOT_READ,
        wired::AWAITING_GATEWAY,
        key("Ready", "True", "Ready", ["a key signs and the next one is published", NOTHING]),
        key("Ready", "False", "NoActiveKey", ["no key signs", "see the other conditions"]),
        key("Ready", "False", "NotAccepted", ["a key signs, and the spec is not followed", "see `Accepted`"]),
        key("Accepted", "True", "Accepted", ["the spec is followed", NOTHING]),
        key(
            "Accepted",
            "False",
            "TimingsRefused",
            [
                "the times of `rotation` do not fit the installation's",
                "make `rotation.period` at least twice the longest access-token lifetime, and longer than a key is published before it signs",
            ],
        ),
        key(
            "RotationBlocked",
            "True",
            "WaitingForReplicas",
            [
                "a replica has not seen the next key",
                "look at the log of the one that the message names; one that is gone stops counting by itself",
            ],
        ),
        key(
            "NoStandby",
            "True",
            "NoKeyMaySign",
            [
                "no key may sign, so issuers answer 503",
                "wait until every live verifier has the new key; look for one that is behind",
            ],
        ),
        key(
            "KeyringLost",
            "True",
            "BegunAnew",
            [
                "the keyring was lost and begun anew; tokens signed before are refused by verifiers started since",
                NOTHING,
            ],
        ),
        key(
            "RollbackDetected",
            "True",
            "OlderThanRemembered",
            [
                "the keyring is older than one that replicas remember",
                "check what was restored, then set the annotation `countersign.dev/accept-restore` to the present time",
            ],
        ),
        key(
            "WriteRefused",
            "True",
            "Refused",
            [
                "the API server refuses a write of the ring",
                "its message says why: apply `deploy/rbac.yaml` again, or have the quota or admission webhook let it pass",
            ],
        ),
        of(
            "NamespaceAllowance",
            "Accepted",
            "True",
            "Accepted",
            ["the namespaces it selects may claim what it lists", NOTHING],
        ),
        other(
            Place::Element,
            "Invalid",
            ["the element is malformed, or contradicts another", "the message says what to write instead"],
        ),
        other(
            Place::Element,
            "InvalidCondition",
            [
                "`when` is no usable CEL expression; the rule denies",
                "correct it: variables are `token`, `request`, `path` and `client`",
            ],
        ),
        other(
            Place::Element,
            "NotImplemented",
            [
                "this version does not have it, or does not know the word or field",
                "choose another, or upgrade every replica first",
            ],
        ),
        other(
            Place::Element,
            "NeedsSharedStore",
            [
                "issuers must note together which assertions were used, and have nowhere to",
                "give them a store (`--store`, docs/reference/private-key-jwt.md), or use another method",
            ],
        ),
        other(
            Place::Element,
            "RegisteredClaim",
            ["the private claim has a name with a registered meaning", "choose another name"],
        ),
        other(
            Place::Element,
            "NotAllowed",
            [
                "the namespace may not claim this",
                "claim a name of the namespace's own Services, or ask the platform team for a NamespaceAllowance",
            ],
        ),
        other(Place::Element, "Reserved", ["it is the issuer's or the API server's own", "choose another"]),
        other(
            Place::Element,
            "Conflict",
            [
                "an older object of another namespace holds it; in files, where nothing has an age, another object claims it too",
                "choose another, or agree with its owner",
            ],
        ),
        other(
            Place::Element,
            "SecretNameConflict",
            ["another client of the namespace writes the Secret of this name", "choose another `secret.name`"],
        ),
        other(
            Place::Element,
            "AmbiguousRule",
            ["two rules have the same path and method, and both deny", "merge them"],
        ),
        other(
            Place::Element,
            "UnknownScope",
            ["no policy of the audience defines the scope", "define it in `scopes`, or correct its name"],
        ),
        other(
            Place::Scope,
            "UnknownAudience",
            ["no ScopePolicy of this namespace serves the audience", "correct the name, or write the policy"],
        ),
        other(
            Place::Scope,
            "UnknownScope",
            ["the audience's policies define no such scope", "correct the name, or add it to `spec.scopes` there"],
        ),
        other(
            Place::Scope,
            "NotGranted",
            [
                "no policy grants this scope to this client",
                "ask the audience's owner to add it to `spec.grants` of the ScopePolicy",
            ],
        ),
        other(
            Place::Note,
            "NeverReached",
            [
                "no request can reach the element",
                "correct the path, or claim the host and path prefix in `spec.routes`",
            ],
        ),
        other(
            Place::Note,
            "NoGrantee",
            ["nobody that is known can use the grant", "correct the client id or the labels, or remove it"],
        ),
        other(
            Place::Note,
            "NeverExchanges",
            [
                "no token is ever exchanged by the client",
                "name it in `resourceServers` of a ScopePolicy beside it, and `TokenExchange` in its `grantTypes`; or neither",
            ],
        ),
        other(
            Place::Note,
            "CallersWord",
            [
                "the condition rests on a header that any caller may set",
                "decide by `token` or `path`, or have the proxy set the header",
            ],
        ),
        other(
            Place::Note,
            "UnknownAudience",
            [
                "none of the manifests at hand serves the audience",
                "check the client together with the policies of its audiences, or correct the name",
            ],
        ),
        other(
            Place::Note,
            "UnknownSigningKey",
            [
                "none of the manifests at hand is the SigningKey it names",
                "check both together, or correct `tokens.signingKey`",
            ],
        ),
        other(
            Place::Note,
            "NotEnforcing",
            ["refusals are counted and not enforced", "set `mode: Enforce` once the counts look right"],
        ),
    ];
}
