#!/usr/bin/env bash
# Packages a built library. Runs inside the build folder, so that the tools are the same everywhere,
# and writes the same bytes for the same input:
#
#   scripts/release/package.sh TARGET VERSION LIBRARY OUTPUT-FOLDER
#
# A tar for every target, and for glibc targets also a package for Debian and its derivatives.
# SOURCE_DATE_EPOCH is the time of every file inside.
set -euo pipefail
target=$1 version=$2 library=$3 output=$4
here=scripts/release
work=$(mktemp -d)
mkdir -p "$output"

# The time of a file is that of the release, not that of its build.
stamp() { find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +; }

archive() {
  local name=redis-rl-$version-$target
  local folder=$work/$name
  install -D -m 755 "$library" "$folder/libredis_rl.so"
  install -m 755 "$here/upgrade.sh" "$folder"
  install -m 644 "$here/redis-rl.conf" LICENSE README.md CHANGELOG.md "$folder"
  stamp "$folder"
  tar --create --format=gnu --sort=name --owner=0 --group=0 --numeric-owner --mode=go-w \
    --mtime="@$SOURCE_DATE_EPOCH" --directory "$work" "$name" | gzip -9n >"$output/$name.tar.gz"
}

# It does not touch the server's configuration: the operator adds the loadmodule line.
debian_package() {
  local architecture=$1 folder=$work/deb
  local docs=$folder/usr/share/doc/redis-rl
  install -D -m 644 "$library" "$folder/usr/lib/redis/modules/libredis_rl.so"
  chmod 755 "$folder/usr/lib/redis/modules/libredis_rl.so"
  install -D -m 644 "$here/redis-rl.conf" "$folder/etc/redis/redis-rl.conf"
  install -D -m 755 "$here/upgrade.sh" "$folder/usr/lib/redis-rl/upgrade.sh"
  install -D -m 644 LICENSE "$docs/copyright"
  gzip -9n <CHANGELOG.md >"$docs/changelog.gz"
  gzip -9n <README.md >"$docs/README.md.gz"
  mkdir "$folder/DEBIAN"
  cat >"$folder/DEBIAN/control" <<CONTROL
Package: redis-rl
Version: $version
Architecture: $architecture
Maintainer: the redis-rl authors
Section: database
Priority: optional
Depends: libc6 (>= 2.17)
Recommends: redis-server (>= 5:6.2) | valkey-server
Installed-Size: $(du -sk --apparent-size --exclude=DEBIAN "$folder" | cut -f1)
Description: rate limiting as native commands of Redis and Valkey
 A module for the server. One round trip asks whether a caller may go on, and the
 server itself updates the token bucket: atomically, on its own clock, with no
 script.
 .
 It is loaded once the server's configuration has the line that is explained in
 /etc/redis/redis-rl.conf.
CONTROL
  echo /etc/redis/redis-rl.conf >"$folder/DEBIAN/conffiles"
  (cd "$folder" && find usr etc -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$work/md5sums"
  mv "$work/md5sums" "$folder/DEBIAN/md5sums"
  chmod -R go-w,a+rX "$folder"
  stamp "$folder"
  dpkg-deb --root-owner-group -Zxz --threads-max=1 --build "$folder" \
    "$output/redis-rl_${version}_$architecture.deb" >/dev/null
}

archive
case $target in
  x86_64-linux-gnu) debian_package amd64 ;;
  aarch64-linux-gnu) debian_package arm64 ;;
esac
rm -r "$work"
