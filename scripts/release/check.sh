#!/usr/bin/env bash
# Checks a release's library, and prints a line with the results:
#
#   scripts/release/check.sh LIBRARY TARGET VERSION
#
# It needs no newer glibc than 2.17 (musl: only its libc), exports only the two functions that a
# server calls, does not need libgcc_s, contains no path of the build machine, has RELRO and NX, and
# has the right version.
set -euo pipefail
library=$1 target=$2 version=$3
newest_glibc=2.17

broken=0
expect() {
  local what=$1 wanted=$2 found=$3
  if [[ $found != "$wanted" ]]; then
    printf '%s: %s: expected %s, found %s\n' "$library" "$what" "${wanted:-nothing}" "${found:-nothing}" >&2
    broken=1
  fi
}
# Lines to one, with a space between.
join() { sort -u | paste -sd' '; }
# The last line in the order of versions is the limit's: nothing newer came after it.
newest() { printf '%s\n' "$@" | sort -V | tail -1; }

machine=$(readelf -hW "$library" | sed -nE 's/^ *Machine: +//p')
segments=$(readelf -lW "$library")
dynamic=$(readelf -dW "$library")
symbols=$(readelf --dyn-syms -W "$library")
needed=$(sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p' <<<"$dynamic")
floor=$(grep -oE 'GLIBC_[0-9.]+' <<<"$symbols" | cut -d_ -f2 | sort -Vu | tail -1 || true)

case $target in
  x86_64-*) expect machine 'Advanced Micro Devices X86-64' "$machine" ;;
  aarch64-*) expect machine AArch64 "$machine" ;;
esac
case $target in
  *-musl)
    expect 'needed libraries' libc.so "$(join <<<"$needed")"
    expect 'version of glibc' '' "$floor"
    floor=musl
    ;;
  *-gnu)
    # All of them are parts of glibc and exist in 2.17.
    expect 'libraries beyond glibc' '' \
      "$(grep -vE '^(libc|libdl|libm|libpthread|librt|ld-linux-(x86-64|aarch64))\.so\.[0-9]$' <<<"$needed" | join)"
    expect 'newest glibc' "$newest_glibc" "$(newest "$newest_glibc" "${floor:-none}")"
    floor="glibc $floor"
    ;;
esac
expect exports 'RedisModule_OnLoad RedisModule_OnUnload' \
  "$(awk '$5 ~ /GLOBAL|WEAK/ && $7 != "UND" && $8 { print $8 }' <<<"$symbols" | join)"
expect 'full RELRO' 'BIND_NOW GNU_RELRO' \
  "$({ grep -o GNU_RELRO <<<"$segments"; grep -o BIND_NOW <<<"$dynamic"; } | join)"
expect 'stack' 'RW' "$(awk '$1 == "GNU_STACK" { print $(NF - 1) }' <<<"$segments")"
expect 'segments that are written and run' '' "$(awk '$1 == "LOAD" && /RWE/' <<<"$segments")"
expect 'relocations in the code' '' "$(grep -o TEXTREL <<<"$dynamic" | join)"
expect 'paths of the building machine' '' \
  "$(strings -n 4 "$library" | grep -oE "(/build|/home|/root|/tmp|/work|/opt|/Users|$PWD|${HOME:-/root})/[^ ]*" | head -5 | join)"
expect version "$version" "$(strings -n 3 "$library" | grep -Fx "$version" | join)"
expect mode 755 "$(stat -c %a "$library")"
((broken == 0))
printf '%s\t%s bytes\t%s\n' "$target" "$(stat -c %s "$library")" "$floor"
