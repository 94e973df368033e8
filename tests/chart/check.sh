#!/usr/bin/env bash
# Everything that is checked of the chart, against an API server of its own.
#
#   check.sh          checks; the first thing that is wrong ends it
#   check.sh write    writes the chart's schema and README instead
#
# COUNTERSIGN names another binary than the debug build, whose flags are compared.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=$PWD/.cache/tools
chart=charts/countersign
bed=$PWD/.cache/testbed/chart-$$
export PATH=$tools:$PATH PYTHONPATH=$tools/chart-python PYTHONDONTWRITEBYTECODE=1 KUBECONFIG=$bed/kubeconfig
trap 'tests/testbed.sh down "$bed"' EXIT

say() { printf '%s\n' "chart: $*" >&2; }
wrong() { say "$*"; exit 1; }

tests/testbed.sh up "$bed"
definitions=(--filename crds --filename "$tools/monitoring/" --filename "$tools/gateway-kinds/" --filename tests/chart/cert-manager.yaml)
kubectl apply --server-side "${definitions[@]}" >"$bed/applied"
kubectl wait --for=condition=Established --timeout=30s "${definitions[@]}" >>"$bed/applied"
kubectl get --raw /openapi/v2 >"$bed/openapi.json"
charts/values.py "${1:-check}" "$bed/openapi.json"
[ "${1:-check}" = check ] || exit 0

version=$(kubectl version --output json | python3 -c 'import json, sys; print(json.load(sys.stdin)["serverVersion"]["gitVersion"])')
render() { helm template "${release:-countersign}" "$chart" --kube-version "$version" --namespace countersign-system --values "$@"; }

# What a policy scanner asks for and the chart does not do, each with its reason:
#   a CPU limit                       throttles what has to answer within 100 ms
#   ephemeral storage                 nothing is written: the root is read-only
#   pull policy Always                the tag is a release's and never moves; a registry that is away must not keep a pod from starting
#   an egress NetworkPolicy           the API server's address is the cluster's to know: `networkPolicy.egress`
#   anti-affinity to other pods       topologySpreadConstraints say it
score=(kube-score score --output-format ci --exit-one-on-warning --kubernetes-version "${version%.*}" --ignore-container-cpu-limit
  --ignore-test "container-ephemeral-storage-request-and-limit,container-image-pull-policy,pod-networkpolicy,deployment-has-host-podantiaffinity")

say "lint, and rendering twice"
mkdir "$bed/schemas"
charts/openapi.py "$bed/openapi.json" "$bed/schemas"
for values in "$chart"/ci/*-values.yaml; do
  helm lint --strict --quiet --kube-version "$version" --values "$values" "$chart"
  name=$(basename "$values" -values.yaml)
  render "$values" >"$bed/$name.yaml"
  render "$values" | cmp - "$bed/$name.yaml" || wrong "$values renders differently the second time"
  kubeconform -strict -summary -schema-location "$bed/schemas/{{.ResourceKind}}{{.KindSuffix}}.json" "$bed/$name.yaml"
done

say "what a policy scanner says"
"${score[@]}" "$bed/plaintext.yaml" >"$bed/score" || { grep -v -e '^\[OK\]' -e '^\[SKIPPED\]' "$bed/score" >&2; wrong "see above"; }

say "unit tests"
helm-unittest --strict "$chart"
glua tests/chart/health.lua

say "values that do nothing"
python3 tests/chart/knobs.py "$tools/helm" "$version"

say "what it agrees with"
render "$chart/ci/plaintext-values.yaml" --set gateway.envoyGateway.enabled=true,gateway.istio.enabled=true,prometheus.serviceMonitor.enabled=true,prometheus.rules.enabled=true,grafanaDashboard.enabled=true,issuer.watchPods=true >"$bed/all.yaml"
python3 tests/chart/agrees.py "$bed/all.yaml" "$bed/full.yaml" "${COUNTERSIGN:-${CARGO_TARGET_DIR:-target}/debug/countersign}"
for file in all full; do
  python3 -c 'import sys, yaml
for each in yaml.safe_load_all(sys.stdin):
    if each and each["kind"] == "PrometheusRule":
        print(*(rule["expr"] for group in each["spec"]["groups"] for rule in group["rules"]), sep="\n")' <"$bed/$file.yaml" | "$tools/monitoring/monitoring"
done

. tests/chart/life.sh
say "all is well"
