//! Which pods count as there.

use k8s_openapi::api::core::v1::Pod;

use super::*;
use crate::runtime::readiness::Beginning;
use crate::snapshot::pods::{Pods, Presence};

/// Looks until it is so.
async fn until(pods: &Pods, uid: &Uid, presence: Presence) {
    let shop = Namespace::new("shop").unwrap();
    for _ in 0..500 {
        if pods.look(&shop, uid) == presence {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the pod is {:?}, not {presence:?}", pods.look(&shop, uid));
}

async fn pod(world: &World, namespace: &str, name: &str) -> Uid {
    let pod = json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"containers": []}});
    let pod: Pod = world.objects.create(&serde_json::from_value(pod).unwrap()).await.unwrap();
    pod.metadata.uid.unwrap().parse().unwrap()
}

fn follow(world: &World, pods: &Pods, beginning: Beginning) {
    let follow = pods.clone().follow(world.objects.clone(), world.live.clone(), beginning, world.shutdown.clone());
    tokio::spawn(follow);
}

#[tokio::test]
async fn a_pod_counts_from_its_making_to_its_end_where_a_client_asks_for_it() {
    let world = World::start(Role::Issuer);
    let (pods, readiness) = (Pods::new(&Metrics::new()), Readiness::new());
    let [listed, listing] = ["first-listing", "pods"].map(|name| readiness.condition(name));
    follow(&world, &pods, Beginning::new(listed.clone(), listing.clone()));
    let first = pod(&world, "shop", "first").await;
    let elsewhere = pod(&world, "web", "elsewhere").await;
    let client = json!({
        "apiVersion": "countersign.dev/v1alpha1", "kind": "OAuthClient",
        "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"authentication": {"methods": [{"type": "ServiceAccount", "serviceAccounts": [{"name": "cart"}]}]}},
    });
    let client: OAuthClient = serde_json::from_value(client).unwrap();
    until(&pods, &first, Presence::Unknown).await;
    world.objects.create(&client).await.unwrap();
    until(&pods, &first, Presence::There).await;
    assert!(!listing.holds(), "there may be more clients");
    listed.ready();
    for _ in 0..500 {
        if listing.holds() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(listing.holds());
    assert_eq!(pods.look(&Namespace::new("web").unwrap(), &elsewhere), Presence::Unknown, "no client asks there");
    until(&pods, &elsewhere, Presence::Gone).await;
    let second = pod(&world, "shop", "second").await;
    until(&pods, &second, Presence::There).await;
    let key = Key::namespaced("shop", "first");
    world.objects.delete::<Pod>(&key, &Preconditions::default()).await.unwrap();
    until(&pods, &first, Presence::Gone).await;
    let again = pod(&world, "shop", "first").await;
    until(&pods, &again, Presence::There).await;
    until(&pods, &first, Presence::Gone).await;
    world.objects.delete::<OAuthClient>(&Key::namespaced("shop", "cart"), &Preconditions::default()).await.unwrap();
    until(&pods, &second, Presence::Unknown).await;
}

#[tokio::test]
async fn a_pod_whose_token_is_faster_than_its_news_is_waited_for() {
    let world = World::start(Role::Issuer);
    let (pods, readiness) = (Pods::new(&Metrics::new()), Readiness::new());
    follow(&world, &pods, Beginning::new(readiness.condition("first-listing"), readiness.condition("pods")));
    let shop = Namespace::new("shop").unwrap();
    let unknown = Uid::new("6f1f2f3f-0000-4000-8000-000000000000").unwrap();
    let soon = tokio::time::Instant::now() + Duration::from_millis(10);
    assert_eq!(pods.wait_for(&shop, &unknown, soon).await, Presence::Unknown);
    let client = json!({
        "apiVersion": "countersign.dev/v1alpha1", "kind": "OAuthClient",
        "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"authentication": {"methods": [{"type": "ServiceAccount", "serviceAccounts": [{"name": "cart"}]}]}},
    });
    let uid = pod(&world, "shop", "late").await;
    world.objects.create::<OAuthClient>(&serde_json::from_value(client).unwrap()).await.unwrap();
    let later = tokio::time::Instant::now() + Duration::from_secs(20);
    assert_eq!(pods.wait_for(&shop, &uid, later).await, Presence::There);
}
