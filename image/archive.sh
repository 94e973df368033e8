#!/usr/bin/env bash
# Writes an image without any container program: an archive that `podman load`, `docker load`, `ctr images import`, `skopeo copy
# oci-archive:` and `kind load image-archive` take. What goes in decides every byte: the same files and flags give the same image.
#
#   archive.sh --name REPOSITORY:TAG --output FILE [--entrypoint '"/a", "-b"'] [--label KEY=VALUE]… PATH=FILE…
#
# PATH=FILE puts the program FILE at PATH in an otherwise empty root, with the libraries it asks for, if any, where it looks for
# them. The image runs as nobody (65532). Standard output is the size of its one layer, compressed.
set -euo pipefail

name='' output='' entrypoint='' labels=() programs=()
while [ $# -gt 0 ]; do
  case $1 in
  --name) name=$2; shift 2 ;;
  --output) output=$2; shift 2 ;;
  --entrypoint) entrypoint=$2; shift 2 ;;
  --label) labels+=("$2"); shift 2 ;;
  /*=*) programs+=("$1"); shift ;;
  *) echo "archive.sh: what is $1?" >&2; exit 2 ;;
  esac
done
: "${name:?--name is missing}" "${output:?--output is missing}" "${programs[0]:?a program is missing}"

case $(uname -m) in
x86_64) architecture=amd64 ;;
aarch64) architecture=arm64 ;;
*) architecture=$(uname -m) ;;
esac
# When the image says it was made: with the commit, or it would be another each time.
created=$(date --utc --date "@${SOURCE_DATE_EPOCH:-0}" +%Y-%m-%dT%H:%M:%SZ)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root layout=$work/layout
mkdir -p "$root" "$layout/blobs/sha256"

# The libraries a dynamic program is loaded with, the loader too; nothing for a static one.
libraries() { { ldd "$1" 2>/dev/null || true; } | grep -o '/[^ ]*' | sort -u; }

install_program() {
  install -D --mode 0755 "$2" "$root$1"
  local library
  for library in $(libraries "$2"); do install -D --mode 0755 "$library" "$root$library"; done
}

# blob FILE: moves it among the blobs; its digest and size are left in $digest and $size
blob() {
  digest=$(sha256sum "$1" | cut -d ' ' -f 1)
  size=$(stat --format %s "$1")
  mv "$1" "$layout/blobs/sha256/$digest"
}

# containerd wants the whole name, as others understand it.
whole() {
  case ${1%%/*} in
  "$1") echo "docker.io/library/$1" ;;
  *.* | *:* | localhost) echo "$1" ;;
  *) echo "docker.io/$1" ;;
  esac
}

quoted() { local list=''; for item in "$@"; do list+="${list:+, }\"${item%%=*}\": \"${item#*=}\""; done; printf '{%s}' "$list"; }

for program in "${programs[@]}"; do install_program "${program%%=*}" "${program#*=}"; done
flat=(--sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=ustar)
tar -C "$root" "${flat[@]}" -cf "$work/layer" .
unpacked=$(sha256sum "$work/layer" | cut -d ' ' -f 1)
gzip --no-name "$work/layer"
blob "$work/layer.gz"
layer=$digest layer_size=$size

cat >"$work/config" <<J
{"architecture": "$architecture", "os": "linux", "created": "$created",
 "config": {"User": "65532:65532", "Entrypoint": [${entrypoint:-\"${programs[0]%%=*}\"}], "Labels": $(quoted "${labels[@]}")},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$unpacked"]}}
J
blob "$work/config"
config=$digest

cat >"$work/manifest" <<J
{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
 "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:$config", "size": $size},
 "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:$layer", "size": $layer_size}]}
J
blob "$work/manifest"

# The index is for OCI's readers, manifest.json for older dockers.
cat >"$layout/index.json" <<J
{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
 "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:$digest", "size": $size,
  "platform": {"architecture": "$architecture", "os": "linux"},
  "annotations": {"io.containerd.image.name": "$(whole "$name")", "org.opencontainers.image.ref.name": "${name##*:}"}}]}
J
printf '{"imageLayoutVersion": "1.0.0"}' >"$layout/oci-layout"
printf '[{"Config": "blobs/sha256/%s", "RepoTags": ["%s"], "Layers": ["blobs/sha256/%s"]}]' "$config" "$name" "$layer" >"$layout/manifest.json"
mkdir -p "$(dirname "$output")"
tar -C "$layout" "${flat[@]}" -cf "$output.half" blobs index.json manifest.json oci-layout
mv "$output.half" "$output"
echo "$layer_size"
