//! The cluster itself: that it is one in which a pod finds a Service by its name.

use crate::cluster::Cluster;
use crate::visitor::Visitor;

const ORDERS: &str = "
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: $NS}
spec: {selector: {app: orders}, ports: [{port: 80}]}
";

#[test]
fn a_pod_finds_a_service_by_its_name() {
    let cluster = Cluster::new();
    cluster.kubectl.must(&["wait", "--for=condition=Ready", "--timeout=60s", "nodes", "--all"]);
    let namespace = cluster.namespace("names");
    namespace.apply(ORDERS);
    let address = namespace.must(&["get", "service", "orders", "-o", "jsonpath={.spec.clusterIP}"]);
    let visitor = Visitor::start(&namespace, "visitor", None);
    let spellings = [
        "orders".to_owned(),
        format!("orders.{}", namespace.name),
        format!("orders.{}.svc", namespace.name),
        format!("orders.{}.svc.cluster.local", namespace.name),
    ];
    let found = spellings.clone().map(|name| {
        let line = visitor.sh(&format!("/bin/getent hosts {name}"));
        (name, line.split_whitespace().next().unwrap_or_default().to_owned())
    });
    assert_eq!(found, spellings.map(|name| (name, address.clone())));
    let nobody = visitor.sh("/bin/getent hosts nobody || echo unknown");
    assert_eq!(nobody, "unknown");
}
