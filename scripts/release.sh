#!/usr/bin/env bash
# Builds the files of a release into target/dist:
#
#   scripts/release.sh [TARGET]...
#
# The targets, all of them if none is named: x86_64-linux-gnu aarch64-linux-gnu x86_64-linux-musl
# aarch64-linux-musl. Needs root, on Debian or a system derived from it, on x86-64.
#
# The build runs in a Debian in a folder of its own, with its compiler, and with zig as the linker,
# because zig links for old versions of glibc and for other processors. The same sources therefore
# give the same bytes in any place; scripts/release/reproduce.sh compares. The buildinfo names the
# tools: other versions may give other bytes. The folder contains only what the named targets need.
# The bill of materials is made only with all targets, because its tool takes minutes to build.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/release/debian.sh
source scripts/release/debian.sh

known='x86_64-linux-gnu aarch64-linux-gnu x86_64-linux-musl aarch64-linux-musl'
zig=ziglang==0.17.1
zigbuild=cargo-zigbuild==0.24.1
cyclonedx=0.5.9
dist=$PWD/target/dist
version=$(sed -nE '/^\[workspace\.package\]/,/^$/ s/^version = "(.*)"/\1/p' Cargo.toml)

fail() {
  echo "release: $*" >&2
  exit 1
}

# Where the sources lie inside the build folder: as outside, so two copies build in two places.
inside=/build$PWD

# Unpacks the packages without configuring them, which saves time. Of the configuration, the build
# needs only the names /bin and cc.
build_folder() {
  local name=build options=()
  local packages=rustc-web,cargo-web,libstd-rust-web-dev,libclang1-14,libclang-common-14-dev,gcc,libc6-dev
  packages+=,bash,coreutils,dash,dpkg,findutils,gzip,sed,tar
  if [[ $* == *aarch64-linux-gnu* ]]; then
    name+=-arm64
    packages+=,libstd-rust-web-dev:arm64
    options=(--architectures=amd64,arm64)
  fi
  if [[ $* == *-musl* ]]; then
    name+=-musl
    packages+=,rust-web-src
  fi
  # shellcheck disable=SC2016 # mmdebstrap's and dpkg-deb's own variables.
  debian_folder "$name" bookworm "$packages" "${options[@]}" --variant=extract \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --extract-hook='ln -s gcc "$1/usr/bin/cc"' \
    --extract-hook='for deb in "$1"/var/cache/apt/archives/*.deb; do
      dpkg-deb --show --showformat "\${Package} \${Version} \${Architecture}\n" "$deb"; done >"$1/packages"'
}

# The tracked files as they are now, and the crates they ask for.
lay_sources() {
  local sources=$1
  rm -rf "$sources"
  mkdir -p "$sources"
  if [[ -e .git ]]; then
    git ls-files -z | tar --create --null --files-from=- | tar --extract --directory "$sources"
  else
    tar --create --exclude=./target . | tar --extract --directory "$sources"
  fi
  cargo vendor --quiet --locked --manifest-path "$sources/Cargo.toml" "$sources/vendor" >/dev/null
  # The dependencies of the compiler's own library, as Debian ships it, for targets without a
  # prebuilt one.
  if [[ -e $folder/usr/lib/rustlib/src ]]; then
    cp -rn "$folder"/usr/lib/rustlib/src/rust/library/vendor/* "$sources/vendor/"
  fi
}

build() {
  local target=$1 library=target/dist/$1/libredis_rl.so
  in_folder "$folder" env --chdir="$inside" "${environment[@]}" \
    scripts/release/build.sh "$target" "$library"
  scripts/release/check.sh "$folder$inside/$library" "$target" "$version" >>"$folder$inside/checked"
  in_folder "$folder" env --chdir="$inside" "${environment[@]}" \
    scripts/release/package.sh "$target" "$version" "$library" target/dist/files
}

# The crates in the library, for vulnerability scanners.
bill_of_materials() {
  local sources=$1 output=$2 tool=$tools/cyclonedx
  if ! "$tool/bin/cargo-cyclonedx" --version 2>/dev/null | grep -q " $cyclonedx$"; then
    cargo install --quiet cargo-cyclonedx --version "$cyclonedx" --locked --root "$tool"
  fi
  "$tool/bin/cargo-cyclonedx" cyclonedx --quiet --manifest-path "$sources/Cargo.toml" \
    --format json --spec-version 1.5 --target x86_64-unknown-linux-gnu --override-filename bill
  # cargo-cyclonedx names our packages by their paths, and omits the package's name if the folder has that name.
  sed "s|file://$sources|file:///redis-rl|g; s|file:///redis-rl#\([0-9]\)|file:///redis-rl#redis-rl@\1|g" \
    "$sources/bill.json" >"$output"
}

is_whole() {
  local target
  for target in $known; do
    [[ " $* " == *" $target "* ]] || return 1
  done
}

built_with() {
  echo "redis-rl $version"
  echo "SOURCE_DATE_EPOCH $SOURCE_DATE_EPOCH"
  cat "$folder/packages"
  echo "$zig"
  echo "$zigbuild"
}

# shellcheck disable=SC2086 # One argument a word.
(($# > 0)) || set -- $known
for target in "$@"; do
  [[ " $known " == *" $target "* ]] || fail "no such target: $target; known are $known"
done
need_root
[[ $(uname -sm) == 'Linux x86_64' ]] || fail 'builds on Linux on x86-64 alone'
scripts/setup.sh release </dev/null
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}

folder=$(build_folder "$@")
environment=(--ignore-environment PATH=/opt/zigbuild:/usr/bin:/bin:/usr/sbin:/sbin
  "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH")
wheel "$zig" "$folder/opt/zig"
wheel "$zigbuild" "$tools/zigbuild"
install -D -m 755 "$tools"/zigbuild/*/scripts/cargo-zigbuild "$folder/opt/zigbuild/cargo-zigbuild"
lay_sources "$folder$inside"
for target in "$@"; do
  echo "release: $target"
  build "$target"
done

rm -rf "$dist"
mkdir -p "$dist"
cp "$folder$inside"/target/dist/files/* scripts/release/Dockerfile "$dist"
if is_whole "$@"; then
  bill_of_materials "$folder$inside" "$dist/redis-rl-$version.cdx.json"
fi
built_with >"$dist/redis-rl-$version.buildinfo"
(cd "$dist" && sha256sum -- * >SHA256SUMS)
cat "$folder$inside/checked" "$dist/SHA256SUMS"
