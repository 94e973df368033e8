#!/usr/bin/env bash
# A real Kubernetes API server with its etcd, on free loopback ports, for tests and for a person who wants to try something.
#
#   testbed.sh up DIR                 start both and wait until the API server is ready; DIR/kubeconfig is cluster-admin
#   testbed.sh serve DIR OWNER        the same, then stay until the process OWNER is gone, stop all and remove DIR
#   testbed.sh start|stop DIR NAME    one of etcd, kube-apiserver, with the same ports and data (faults)
#   testbed.sh save DIR FILE          a snapshot of the running etcd, for
#   testbed.sh restore DIR FILE       which the stopped etcd's data become, its revision past any that somebody has seen
#   testbed.sh down DIR               stop both and remove DIR
#
# There is no controller manager: namespaces are never finalized and nothing is garbage-collected.
set -euo pipefail
verb=${1:?verb}
mkdir -p "${2:?folder}"
tests=$(cd "$(dirname "$0")" && pwd)
tools=$tests/../.cache/tools
. "$tests/credentials.sh"
cd "$2"

# A port nobody listens on, below the range the kernel hands out to clients.
free_port() {
  local port
  while :; do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

settings() {
  [ -f ca.crt ] || credentials IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc
  read -r client peer secure < <(echo "$(free_port) $(free_port) $(free_port)")
  printf 'client=%s\npeer=%s\nsecure=%s\n' "$client" "$peer" "$secure" >ports
  administrator "https://127.0.0.1:$secure"
  webhooks
}

# What the API server shows to webhooks that ask for a certificate: one by our own authority, ca.crt.
webhooks() {
  signed caller /CN=kube-apiserver DNS:kube-apiserver
  local configuration="{apiVersion: apiserver.config.k8s.io/v1, kind: WebhookAdmissionConfiguration, kubeConfigFile: $PWD/caller.kubeconfig}"
  cat >caller.kubeconfig <<K
apiVersion: v1
kind: Config
users: [{name: "*", user: {client-certificate: $PWD/caller.crt, client-key: $PWD/caller.key}}]
K
  cat >admission.yaml <<K
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- {name: ValidatingAdmissionWebhook, configuration: $configuration}
- {name: MutatingAdmissionWebhook, configuration: $configuration}
K
}

run() {
  local name=$1; shift
  setsid "$tools/$name" "$@" </dev/null >>"$name.log" 2>&1 9>&- &
  echo $! >"$name.pid"
}

start() {
  . ./ports
  case $1 in
  etcd)
    run etcd --data-dir etcd --unsafe-no-fsync --log-level warn --listen-client-urls "http://127.0.0.1:$client" \
      --advertise-client-urls "http://127.0.0.1:$client" --listen-peer-urls "http://127.0.0.1:$peer" \
      --initial-advertise-peer-urls "http://127.0.0.1:$peer" --initial-cluster "default=http://127.0.0.1:$peer" ;;
  kube-apiserver)
    run kube-apiserver --etcd-servers "http://127.0.0.1:$client" --bind-address 127.0.0.1 --advertise-address 127.0.0.1 \
      --secure-port "$secure" --tls-cert-file api.crt --tls-private-key-file api.key --client-ca-file ca.crt \
      --admission-control-config-file admission.yaml --cert-dir . --token-auth-file tokens.csv --authorization-mode RBAC --watch-cache \
      --service-account-key-file service-accounts.pub --service-account-signing-key-file service-accounts.key \
      --service-account-issuer https://kubernetes.default.svc --service-cluster-ip-range 10.96.0.0/16 \
      --endpoint-reconciler-type none --shutdown-delay-duration 0s --profiling=false --v 1 ;;
  *) echo "no such part: $1" >&2; exit 2 ;;
  esac
}

# A zombie does not run: nobody may be there to reap a part that an earlier call of this script started.
running() { [ -f "$1.pid" ] && grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$(cat "$1.pid")/status"; }

stop() {
  running "$1" || return 0
  kill -KILL "$(cat "$1.pid")" 2>/dev/null || true
  for _ in $(seq 100); do running "$1" || break; sleep 0.02; done
  rm -f "$1.pid"
}

answers() {
  . ./ports
  [ "$(curl --silent --max-time 2 --cacert ca.crt --oauth2-bearer "$(cat admin.token)" "https://127.0.0.1:$secure/readyz")" = ok ]
}

# Until ready; false when a part ended by itself (a port taken between looking and binding) or after a minute.
await() {
  for _ in $(seq 600); do
    running etcd && running kube-apiserver || return 1
    ! answers || return 0
    sleep 0.1
  done
  return 1
}

up() {
  for _ in 1 2 3; do
    settings
    start etcd
    start kube-apiserver
    if await; then touch ready; return; fi
    down
  done
  tail -n 20 etcd.log kube-apiserver.log >&2
  echo "the testbed does not start" >&2
  exit 1
}

down() { stop kube-apiserver; stop etcd; }

save() { . ./ports; "$tools/etcdctl" --endpoints "http://127.0.0.1:$client" snapshot save "$1"; }

# As Kubernetes advises: watches that go on from a revision of before are told that it is gone, and list anew.
restore() {
  . ./ports
  rm -rf etcd
  "$tools/etcdutl" snapshot restore "$1" --data-dir etcd --initial-cluster "default=http://127.0.0.1:$peer" \
    --initial-advertise-peer-urls "http://127.0.0.1:$peer" --bump-revision 1000000000 --mark-compacted
}

# The start time tells a process from a later one with the same id.
born() { cut -d ' ' -f 22 "/proc/$1/stat" 2>/dev/null || echo gone; }

case $verb in
up) up ;;
serve)
  trap 'down; rm -rf "$PWD"' EXIT
  trap 'exit 0' TERM INT
  owner_born=$(born "$3")
  up
  while [ "$(born "$3")" = "$owner_born" ]; do sleep 0.5; done ;;
start) start "${3:?etcd or kube-apiserver}"; ;;
stop) stop "${3:?etcd or kube-apiserver}" ;;
save) save "${3:?a file}" ;;
restore) restore "${3:?a file}" ;;
down) down; rm -rf "$PWD" ;;
*) echo "no such verb: $verb" >&2; exit 2 ;;
esac
