#!/usr/bin/env bash
# The first process of a cluster; cluster.sh starts it in namespaces of its own. Brings the node up, says so with the file `ready`,
# and stays until its input ends, and with it everything else.
#
#   etcd ◄── kube-apiserver ◄── kube-controller-manager, kube-scheduler, kube-proxy, kubelet ──► containerd ──► pods
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?folder}
tools=$here/../../.cache/tools
address=172.20.0.1
cgroup=/$(cat "$dir/cgroup")
. "$here/../credentials.sh"
cd "$dir"

# until_true WHAT COMMAND…: tries it for a minute
until_true() {
  local what=$1; shift
  for _ in $(seq 300); do ! "$@" >/dev/null 2>&1 || { echo "$SECONDS s: $what"; return; }; sleep 0.2; done
  echo "waited in vain: $what"
  exit 1
}

start() { local name=$1; shift; "$@" </dev/null >"log/$name.log" 2>&1 & }
kubectl() { "$tools/kubectl" --kubeconfig kubeconfig --cache-dir kubectl-cache "$@"; }
api_is_ready() { [ "$(kubectl get --raw /readyz)" = ok ]; }

# The container runtime's habits, kept from the machine: what it writes here is gone with us.
hide() {
  local folder
  mount -t tmpfs run /run
  for folder in /var/lib/cni /var/lib/kubelet /var/log/containers; do mkdir -p "$folder"; mount -t tmpfs hidden "$folder"; done
}

# One end of a pair carries the node's address: not every kernel has `dummy` links. Nothing leaves this network.
network() {
  ip link set lo up
  ip link add node0 type veth peer name node1
  ip address add $address/24 dev node0
  ip link set node0 up
  ip link set node1 up
  ip route add default dev node0
  sysctl -qw net.ipv4.ip_forward=1
}

# kubelet makes its control groups below one of ours, which cluster.sh removes.
control_groups() {
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then mkdir -p "/sys/fs/cgroup$cgroup"; return; fi
  local tree
  for tree in $(awk '$3 == "cgroup" {print $2}' /proc/mounts); do mkdir -p "$tree$cgroup"; done
}

settings() {
  [ -f ca.crt ] || credentials "IP:127.0.0.1,IP:$address,IP:10.96.0.1,DNS:kubernetes.default.svc,DNS:localhost"
  signed kubelet-client /O=system:masters/CN=kube-apiserver
  administrator "https://$address:6443"
  mkdir -p cni
  local file
  for file in containerd.toml kubelet.yaml proxy.yaml pods.conflist; do
    sed "s|@DIR@|$dir|g; s|@CGROUP@|$cgroup|g" "$here/$file" >"$file"
  done
  mv pods.conflist cni/
}

control_plane() {
  start etcd "$tools/etcd" --data-dir etcd --unsafe-no-fsync --log-level warn --listen-client-urls http://127.0.0.1:2379 \
    --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
  start kube-apiserver "$tools/kube-apiserver" --etcd-servers http://127.0.0.1:2379 --advertise-address $address --secure-port 6443 \
    --tls-cert-file api.crt --tls-private-key-file api.key --client-ca-file ca.crt --cert-dir . --token-auth-file tokens.csv \
    --authorization-mode Node,RBAC --kubelet-preferred-address-types InternalIP \
    --kubelet-client-certificate kubelet-client.crt --kubelet-client-key kubelet-client.key \
    --service-account-key-file service-accounts.pub --service-account-signing-key-file service-accounts.key \
    --service-account-issuer https://kubernetes.default.svc --service-cluster-ip-range 10.96.0.0/16 --profiling=false --v 1 \
    --audit-policy-file "$here/audit.yaml" --audit-log-path audit.log --audit-log-mode blocking
  until_true "the API server is ready" api_is_ready
  start kube-controller-manager "$tools/kube-controller-manager" --kubeconfig kubeconfig --leader-elect=false \
    --service-account-private-key-file service-accounts.key --root-ca-file ca.crt --profiling=false
  start kube-scheduler "$tools/kube-scheduler" --kubeconfig kubeconfig --leader-elect=false --profiling=false
}

import() {
  until_true "containerd answers" ctr --address /run/containerd.sock version
  local archive
  for archive in images/*.tar; do ctr --address /run/containerd.sock --namespace k8s.io images import "$archive"; done
  local ours theirs
  while read -r ours theirs; do ctr --address /run/containerd.sock --namespace k8s.io images tag --force "$ours" "$theirs"; done <images/names
  echo "$SECONDS s: the images are there"
}

node() {
  start kubelet "$tools/kubelet" --config kubelet.yaml --kubeconfig kubeconfig --root-dir "$dir/kubelet" --cert-dir "$dir/kubelet-pki" \
    --hostname-override node0 --node-ip $address
  start kube-proxy "$tools/kube-proxy" --config proxy.yaml
  kubectl apply --server-side -f "$here/coredns.yaml" >/dev/null
  until_true "the node is there" kubectl get node node0
  kubectl wait --for=condition=Ready --timeout=60s node/node0
  kubectl rollout status --namespace kube-system --timeout=60s deployment/coredns
}

hide
network
control_groups
settings
start containerd containerd --config containerd.toml
control_plane
import
node
echo "$SECONDS s: ready"
touch ready
# Until the last who holds the other end is gone.
cat >/dev/null
