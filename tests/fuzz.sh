#!/usr/bin/env bash
# Fuzzes the targets of fuzz/, one after another, and prints a line of figures for each.
#
#   fuzz.sh MINUTES [TARGET…]      all targets when none is named
#
# It begins with the seeds in fuzz/seeds and goes on with what earlier runs on this machine found (fuzz/corpus, not kept in Git).
# A finding ends the run with exit code 1; its input lies in fuzz/artifacts/<target>/ and belongs into fuzz/seeds/<target>/ with its fix.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:?minutes for each target}
shift
rustc +nightly --version >/dev/null 2>&1 || { echo "fuzzing needs a nightly compiler: rustup toolchain install nightly" >&2; exit 1; }
PATH=$PWD/.cache/tools:$PATH
fuzz() { cargo +nightly fuzz "$1" --fuzz-dir fuzz "${@:2}"; }

[ $# -gt 0 ] || set -- fuzz/fuzz_targets/*.rs
fuzz build
failed=0
printf '%-14s %12s %10s %8s  %s\n' target executions 'a second' edges outcome
for target; do
  target=$(basename "$target" .rs)
  mkdir -p "fuzz/corpus/$target"
  log=fuzz/corpus/$target.log outcome='nothing found'
  fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- -max_total_time=$((minutes * 60)) -timeout=10 -rss_limit_mb=2048 \
    -max_len=8192 -print_final_stats=1 >"$log" 2>&1 || { failed=1 outcome="FOUND: $(grep -m1 -E 'panicked|ERROR: ' "$log" || echo see "$log")"; }
  stat() { sed -n "s/^stat::$1: *//p" "$log" | tail -1; }
  edges=$(grep -oE 'cov: [0-9]+' "$log" | tail -1 | cut -d' ' -f2)
  printf '%-14s %12s %10s %8s  %s\n' "$target" "$(stat number_of_executed_units)" "$(stat average_exec_per_sec)" "$edges" "$outcome"
done
exit $failed
