#!/usr/bin/env bash
# Builds the checked-out commit again, from a copy in another folder, and compares the result with
# target/dist byte by byte. Needs a tree without changes.
set -euo pipefail
cd "$(dirname "$0")/../.."
export REDIS_RL_TOOLS=${REDIS_RL_TOOLS:-$PWD/target/tools}

if [[ -n $(git status --porcelain) ]]; then
  echo 'reproduce: commit first, and build that commit' >&2
  exit 1
fi
elsewhere=$(mktemp -d)/another-folder
git clone --quiet . "$elsewhere"
# The targets of the archives to compare with.
targets=()
for archive in target/dist/*.tar.gz; do
  [[ $archive =~ -([a-z0-9_]+-linux-[a-z]+)\.tar\.gz$ ]] && targets+=("${BASH_REMATCH[1]}")
done
"$elsewhere/scripts/release.sh" "${targets[@]}"
if ! diff target/dist/SHA256SUMS "$elsewhere/target/dist/SHA256SUMS"; then
  echo "reproduce: differs; the other files are in $elsewhere/target/dist" >&2
  exit 1
fi
rm -r "$(dirname "$elsewhere")"
echo "reproduce: the same bytes for ${targets[*]}"
