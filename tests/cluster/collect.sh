#!/usr/bin/env bash
# What somebody who looks at a failed run wants to see, into DIR/log: the state of every pod, what happened, and what each container
# said.  usage: collect.sh DIR
set -euo pipefail
dir=${1:?folder}
here=$(cd "$(dirname "$0")" && pwd)
kubectl() { timeout 20 "$here/cluster.sh" enter "$dir" "$here/../../.cache/tools/kubectl" --kubeconfig "$dir/kubeconfig" --cache-dir "$dir/kubectl-cache" "$@"; }
kubectl get pods --all-namespaces -o wide >"$dir/log/pods.txt"
kubectl get events --all-namespaces --sort-by .lastTimestamp >"$dir/log/events.txt"
[ ! -d "$dir/pods" ] || cp -rL "$dir/pods" "$dir/log/pods"
