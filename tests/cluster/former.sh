#!/usr/bin/env bash
# The version before this one, for the story that upgrades from it and goes back.  usage: former.sh PROFILE IMAGES
#
# Leaves its source, and with it its chart, in .cache/former and its image in the folder IMAGES, under the name countersign-former. It is
# the newest tag v* before this commit; where there is none yet, the commit the file `former` beside this names.
set -euo pipefail
profile=${1:?profile}
mkdir -p "${2:?folder}"
images=$(cd "$2" && pwd)
cd "$(dirname "$0")/../.."
commit=$(git describe --tags --abbrev=0 --match 'v*' HEAD^ 2>/dev/null || cat tests/cluster/former)
git cat-file -e "$commit^{commit}" 2>/dev/null || { echo "former.sh: $commit is not in this clone: git fetch --unshallow" >&2; exit 1; }

rm -rf .cache/former
mkdir -p .cache/former
git archive "$commit" | tar -x -C .cache/former
# In a folder of its own: cargo would take one version's crates for the other's, whose sources have the same names and older dates.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/former
echo "the version before: $commit" >&2
.cache/former/image/build.sh --profile "$profile" --name local/countersign-former:e2e --output "$images/countersign-former.tar" --no-sbom
