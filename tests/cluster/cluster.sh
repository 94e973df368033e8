#!/usr/bin/env bash
# A real Kubernetes of one node, for the end-to-end tests and for a person who wants to try something. Needs root.
#
#   cluster.sh run DIR COMMAND…   bring it up, run the command in its network with E2E_KUBECONFIG set, take everything down
#   cluster.sh up DIR             bring it up and leave it there; DIR/kubeconfig is cluster-admin
#   cluster.sh enter DIR COMMAND… run something in the network of such a cluster
#   cluster.sh down DIR           take it down
#   cluster.sh possible           whether this machine and user may bring one up; says why not
#
# Every process of it lives in namespaces (processes, mounts, network) of its own: nothing it does to them touches the machine, and
# all of it ends with its first process, node.sh, which ends with us, whatever happens to us. DIR/images/*.tar are the images its
# pods may use. When the run fails its logs stay in DIR/log.
set -euo pipefail
verb=${1:?verb}
if [ "$verb" = possible ]; then
  [ "$(id -u)" = 0 ] || { echo "it takes root" >&2; exit 1; }
  # What a node needs most: namespaces of its own in which it may mount, links between them, control groups.
  tree=$([ -f /sys/fs/cgroup/cgroup.controllers ] && echo /sys/fs/cgroup || awk '$3 == "cgroup" {print $2; exit}' /proc/mounts)
  group=$tree/countersign-probe-$$
  unshare --net --mount --pid --fork --mount-proc sh -c 'mount -t tmpfs probe /mnt &&
    { ! command -v ip >/dev/null || ip link add probe0 type veth peer name probe1; } && mkdir "$1" && rmdir "$1"' sh "$group" ||
    { echo "this machine gives no namespaces, links or control groups" >&2; exit 1; }
  exit
fi
mkdir -p "${2:?folder}"
here=$(cd "$(dirname "$0")" && pwd)
dir=$(cd "$2" && pwd)
shift 2
# Longer than bringing it up takes on two busy cores.
patience=180

[ "$(id -u)" = 0 ] || { echo "a cluster needs root: run this with sudo, or name yours in E2E_KUBECONFIG" >&2; exit 1; }

# up OWNER: starts it and waits until it is ready. The node's input is the FIFO `owner`: the node ends when nobody holds it open.
up() {
  down
  rm -rf "$dir/log"
  mkdir -p "$dir/log"
  mkfifo "$dir/owner"
  echo "countersign-e2e-$$" >"$dir/cgroup"
  local node=(setsid unshare --net --mount --pid --fork --kill-child --mount-proc "$here/node.sh" "$dir")
  # Open for reading and writing, a FIFO never ends.
  if [ "$1" = nobody ]; then "${node[@]}" 0<>"$dir/owner" >"$dir/log/node.log" 2>&1 &
  else
    "${node[@]}" <"$dir/owner" >"$dir/log/node.log" 2>&1 &
    exec 8>"$dir/owner"
  fi
  echo $! >"$dir/outer"
  await
}

await() {
  local until=$((SECONDS + patience))
  while [ ! -e "$dir/ready" ]; do
    if [ ! -e "/proc/$(cat "$dir/outer")" ] || [ $SECONDS -ge $until ]; then
      tail -n 5 "$dir"/log/*.log >&2
      echo "the cluster does not start; its logs are in $dir/log" >&2
      down
      exit 1
    fi
    sleep 0.1
  done
}

# The node's first process, by the number it has out here.
first() { cat "/proc/$(cat "$dir/outer")/task/$(cat "$dir/outer")/children" 2>/dev/null | tr -d ' '; }

# Whether what `outer` names is ours still: numbers are used again.
ours() { [ -f "$dir/outer" ] && { tr '\0' ' ' <"/proc/$(cat "$dir/outer")/cmdline" | grep -qF "$here/node.sh $dir"; } 2>/dev/null; }

down() {
  exec 8>&-
  if ours; then
    local outer init
    outer=$(cat "$dir/outer") init=$(first)
    # The kernel ends all others with the first.
    [ -z "$init" ] || kill -KILL "$init" 2>/dev/null || true
    for _ in $(seq 300); do ours || break; sleep 0.1; done
    ! ours || kill -KILL "$outer"
  fi
  [ ! -f "$dir/cgroup" ] || remove_cgroups "$(cat "$dir/cgroup")"
  find "$dir" -mindepth 1 -maxdepth 1 ! -name images ! -name log -exec rm -rf {} +
}

# Empty by now; a folder whose last process has just gone may still be busy for a moment.
remove_cgroups() {
  for _ in $(seq 50); do
    find /sys/fs/cgroup -mindepth 1 -depth -type d -path "*/$1*" -exec rmdir {} + 2>/dev/null || true
    [ -n "$(find /sys/fs/cgroup -maxdepth 2 -name "$1")" ] || return 0
    sleep 0.1
  done
  echo "control groups are left: $1" >&2
}

enter() { E2E_KUBECONFIG=$dir/kubeconfig exec nsenter --net="/proc/$(first)/ns/net" "$@"; }

# The command of `run`, while it runs.
command=''
end() {
  [ -z "$command" ] || { kill -TERM "$command" && wait "$command"; } 2>/dev/null || true
  down
}

run() {
  trap end EXIT
  trap 'exit 130' INT TERM HUP
  up us
  echo "the cluster is ready after $SECONDS s" >&2
  # In the background, so that a signal to us is heard at once.
  enter "$@" 8>&- &
  command=$!
  local code=0
  wait "$command" || code=$?
  command=''
  if [ $code = 0 ]; then rm -rf "$dir/log"; return; fi
  "$here/collect.sh" "$dir" || true
  echo "the logs of the cluster are in $dir/log" >&2
  exit $code
}

case $verb in
run) run "$@" ;;
up) up nobody; echo "$here/cluster.sh enter $dir COMMAND… runs something in it; E2E_KUBECONFIG is $dir/kubeconfig" ;;
enter) enter "$@" ;;
down) down; rm -rf "$dir/log" ;;
*) echo "no such verb: $verb" >&2; exit 2 ;;
esac
