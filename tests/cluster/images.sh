#!/usr/bin/env bash
# The images of the end-to-end tests, as archives.  usage: images.sh PROFILE DIR
#
# Countersign as `make image` builds it; a visitor: a pod from which a story looks at the cluster, with the curl and the shell of this
# machine; Envoy, nginx and Redis as they come. Our own cluster also needs the pause container and CoreDNS. On a cluster of yours, load or push
# the first five and name their place in E2E_IMAGES (default `local`): $E2E_IMAGES/countersign:e2e, $E2E_IMAGES/visitor:e2e and so on.
set -euo pipefail
profile=${1:?profile}
mkdir -p "${2:?folder}"
dir=$(cd "$2" && pwd)
cd "$(dirname "$0")/../.."
tools=.cache/tools

image/build.sh --profile "$profile" --name local/countersign:e2e --output "$dir/countersign.tar" --no-sbom
archive() { local name=$1; shift; image/archive.sh --name "local/$name:e2e" --output "$dir/$name.tar" "$@" >/dev/null; }
archive visitor --entrypoint '"/bin/sleep", "infinity"' /bin/sh="$(command -v sh)" /bin/sleep="$(command -v sleep)" \
  /bin/cat="$(command -v cat)" /bin/curl="$(command -v curl)" /bin/getent="$(command -v getent)"
archive envoy /usr/local/bin/envoy=$tools/envoy
archive nginx /usr/sbin/nginx=$tools/nginx
archive redis /usr/bin/redis-server=$tools/redis-server
[ ! -e $tools/coredns ] || archive coredns /coredns=$tools/coredns
[ ! -e $tools/pause ] || archive pause /pause=$tools/pause

# The names by which the chart and the examples ask for the same programs: our own cluster has no network to pull them from.
version=$(sed -n 's/^appVersion: *//p' charts/countersign/Chart.yaml | tr -d '"')
named() { printf 'docker.io/local/%s:e2e %s\n' "$1" "$2"; }
asked() { sed -n "s|.*image: \([^ ]*$1[^ ]*\)$|\1|p" examples/envoy-agent/*.yaml | sort -u; }
{
  named countersign "ghcr.io/countersign/countersign:$version"
  for name in $(asked envoyproxy/envoy); do named envoy "docker.io/$name"; done
  for name in $(asked curlimages/curl); do named visitor "docker.io/$name"; done
  for name in $(asked nginxinc/nginx); do named nginx "docker.io/$name"; done
} >"$dir/names"
