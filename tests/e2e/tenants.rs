//! What Kubernetes' own roles let a team do: declare clients and policies in its namespace, and nothing that bounds or serves it.

use crate::cluster::{Cluster, until};
use crate::release::Release;

/// Those who may edit a namespace, and its administrators: the chart adds to these roles of Kubernetes.
const TEAM: [(&str, &str); 2] = [("edit", "dana"), ("admin", "alex")];

#[test]
fn k8s_07_a_team_declares_clients_and_nothing_that_bounds_it() {
    let cluster = Cluster::new();
    let release = Release::install(&cluster);
    let (shop, rival) = (cluster.namespace("shop"), cluster.namespace("rival"));
    for (role, user) in TEAM {
        shop.must(&["create", "rolebinding", user, &format!("--clusterrole={role}"), &format!("--user={user}")]);
    }
    let may = |user: &str, verb: &str, what: &str, place: &str| {
        // Without the flag it would be an object of that name.
        let (what, part) = what.split_once('/').unwrap_or((what, ""));
        let part = format!("--subresource={part}");
        let output = cluster.kubectl.run(&["auth", "can-i", verb, what, &part, "--namespace", place, "--as", user]);
        String::from_utf8_lossy(&output.stdout).trim() == "yes"
    };
    for (_, user) in TEAM {
        // Kubernetes adds up the rules of aggregated roles in its own time.
        until("the team may declare clients", || may(user, "create", "oauthclients", &shop.name));
        for verb in ["get", "list", "watch", "create", "update", "patch", "delete"] {
            assert!(may(user, verb, "oauthclients", &shop.name), "{user} may not {verb} clients");
            assert!(may(user, verb, "scopepolicies", &shop.name), "{user} may not {verb} policies");
            assert!(!may(user, verb, "oauthclients", &rival.name), "{user} may {verb} another team's clients");
        }
        for what in ["oauthclients/status", "scopepolicies/status", "signingkeys", "signingkeys/status"] {
            for verb in ["create", "update", "patch", "delete"] {
                assert!(!may(user, verb, what, &shop.name), "{user} may {verb} {what}");
                assert!(!may(user, verb, what, &release.system_namespace()), "{user} may {verb} {what} of the system");
            }
        }
        for verb in ["create", "update", "patch", "delete"] {
            assert!(!may(user, verb, "namespaceallowances", ""), "{user} may {verb} what bounds the team");
        }
        for what in ["secrets", "configmaps", "leases"] {
            for part in ["", "-keys", "-replicas"] {
                let place = format!("{}{part}", release.system_namespace());
                assert!(!may(user, "get", what, &place), "{user} may read {what} of {place}");
            }
        }
    }
}
