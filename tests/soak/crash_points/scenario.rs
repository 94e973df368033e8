//! What happens while the controller dies.

use crate::support::orders::{ORDERS, client, default_key};

/// One thing a person does, or has happen, to a tenant with a policy and a ready client.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    /// Nothing runs before: the first start of an installation is what happens.
    pub fresh: bool,
    /// kubectl's arguments: `$NS`, `$SYSTEM`, `$NOW`, `$KID` stand for what they say.
    pub act: &'static [&'static str],
    /// For every role.
    pub flags: &'static [&'static str],
    /// Another controller watches already; else the one that comes after learns all from what it finds.
    pub standby: bool,
}

/// A patch of the client.
const fn patch(change: &str) -> [&str; 8] {
    ["patch", "oac", "checkout", "-n", "$NS", "--type=merge", "-p", change]
}

const PLAIN: Scenario = Scenario { name: "", fresh: false, act: &[], flags: &["--offline-grace=10m"], standby: false };

pub const INSTALLED: Scenario = Scenario { name: "installation begun, client created", fresh: true, ..PLAIN };
pub const ROTATED: Scenario = Scenario {
    name: "client secret rotated",
    act: &["annotate", "oac", "checkout", "-n", "$NS", "countersign.dev/rotate-at=$NOW"],
    ..PLAIN
};
pub const SUSPENDED: Scenario =
    Scenario { name: "client suspended", act: &patch(r#"{"spec":{"state":"Suspended"}}"#), ..PLAIN };
pub const WITHDRAWN: Scenario = Scenario {
    name: "grant withdrawn",
    act: &["patch", "scp", "orders", "-n", "$NS", "--type=merge", "-p", r#"{"spec":{"grants":[]}}"#],
    ..PLAIN
};
pub const COMPROMISED: Scenario = Scenario {
    name: "client secret compromised",
    act: &patch(
        r#"{"spec":{"authentication":{"methods":[{"type":"ClientSecret","secret":{"rotation":{"overlap":"3s","retirement":"AfterOverlap"},"rejectIssuedBefore":"$NOW"}}]}}}"#,
    ),
    ..PLAIN
};
pub const RENAMED: Scenario = Scenario {
    name: "Secret renamed",
    act: &patch(
        r#"{"spec":{"authentication":{"methods":[{"type":"ClientSecret","secret":{"rotation":{"overlap":"3s","retirement":"AfterOverlap"},"name":"renamed"}}]}}}"#,
    ),
    ..PLAIN
};
pub const LOST: Scenario =
    Scenario { name: "Secret deleted by hand", act: &["delete", "secret", "checkout-oauth", "-n", "$NS"], ..PLAIN };
/// What nobody running saw go is left to its tokens' own end, so somebody watches.
pub const DELETED: Scenario =
    Scenario { name: "client deleted", act: &["delete", "oac", "checkout", "-n", "$NS"], standby: true, ..PLAIN };
/// From the swap until the old key is out of service.
pub const KEY_ROTATED: Scenario = Scenario {
    name: "signing key rotated until its predecessor ended",
    act: &["annotate", "sgk", "default", "-n", "$SYSTEM", "countersign.dev/rotate-at=$NOW"],
    flags: &["--offline-grace=3s"],
    ..PLAIN
};
pub const KEY_REVOKED: Scenario = Scenario {
    name: "signing key compromised",
    act: &["patch", "sgk", "default", "-n", "$SYSTEM", "--type=merge", "-p", r#"{"spec":{"revokedKeyIds":["$KID"]}}"#],
    ..PLAIN
};

/// The tenant. A leader that finds a value but no status takes older ones for good until an overlap has passed.
pub fn tenant() -> String {
    let rotation = "  authentication: {methods: [{type: ClientSecret, secret: {rotation: {overlap: 3s, retirement: AfterOverlap}}}]}\n";
    [&default_key("1s"), ORDERS, &client("checkout", rotation)].concat()
}
