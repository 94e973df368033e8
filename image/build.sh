#!/usr/bin/env bash
# The image of Countersign, as an archive, and what it is made of:
#
#   target/image/countersign.tar        `podman load -i`, `docker load -i`, `ctr images import`, `kind load image-archive`
#   target/image/countersign.cdx.json   CycloneDX: every crate in it, its version and licence
#
#   build.sh [--profile release|dev] [--name REPOSITORY:TAG] [--output FILE] [--no-sbom]
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
profile=release name=countersign:$version output=target/image/countersign.tar sbom=yes
while [ $# -gt 0 ]; do
  case $1 in
  --profile) profile=$2; shift 2 ;;
  --name) name=$2; shift 2 ;;
  --output) output=$2; shift 2 ;;
  --no-sbom) sbom=no; shift ;;
  *) echo "build.sh: what is $1?" >&2; exit 2 ;;
  esac
done

# `+crt-static` needs a target of its own, or the procedural macros could not be built either.
target=$(rustc --print host-tuple)
folder=${CARGO_TARGET_DIR:-target}/$target/$([ "$profile" = dev ] && echo debug || echo "$profile")
RUSTFLAGS='-C target-feature=+crt-static' "${CARGO:-cargo}" build --profile "$profile" --locked --bins --target "$target"

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A release is stripped by its profile.
programs=()
for program in countersign countersign-agent; do
  strip --strip-all -o "$work/$program" "$folder/$program"
  ! readelf --program-headers "$work/$program" | grep -q INTERP || { echo "$program is not static" >&2; exit 1; }
  programs+=("/$program=$work/$program")
done
layer=$(image/archive.sh --name "$name" --output "$output" --label org.opencontainers.image.title=countersign \
  --label org.opencontainers.image.version="$version" --label org.opencontainers.image.licenses=Apache-2.0 \
  --label org.opencontainers.image.revision="$(git rev-parse HEAD 2>/dev/null || true)" "${programs[@]}")
printf '%s: %s, %d bytes, compressed %d\n' "$output" "$name" "$(stat --format %s "$work/countersign")" "$layer"

[ $sbom = yes ] || exit 0
# The tool writes one file a package of the workspace, beside its Cargo.toml; ours is the one of the binary.
trap 'rm -rf "$work"; rm -f countersign_made.json crates/*/countersign_made.json benches/countersign_made.json' EXIT
.cache/tools/cargo-cyclonedx cyclonedx --format json --spec-version 1.5 --target "$target" --override-filename countersign_made --quiet
# Where it was built is nobody's business, and would make each place's another file.
sed "s|file://$PWD|file:///countersign|g" countersign_made.json >"$(dirname "$output")/countersign.cdx.json"
echo "$(dirname "$output")/countersign.cdx.json"
