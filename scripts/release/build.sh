#!/usr/bin/env bash
# Builds the library for one target; runs inside the build folder, at the top of the sources,
# whose crates lie in vendor/. Nothing is fetched.
#
#   scripts/release/build.sh TARGET OUTPUT
#
# No package contains Rust's standard library for musl, so it is built with the module, from the
# sources that Debian ships for the same compiler. A stable Cargo allows that only with
# RUSTC_BOOTSTRAP.
set -euo pipefail
target=$1 output=$2
arch=${target%%-*}

export CARGO_HOME=$PWD/target/home HOME=$PWD/target/home
export CARGO_ZIGBUILD_ZIG_PATH=/opt/zig/ziglang/zig
export CARGO_ZIGBUILD_CACHE_DIR=$PWD/target/zig ZIG_GLOBAL_CACHE_DIR=$PWD/target/zig
mkdir -p "$CARGO_HOME"
cat >"$CARGO_HOME/config.toml" <<TOML
[source.crates-io]
replace-with = "vendor"
[source.vendor]
directory = "$PWD/vendor"
[net]
offline = true
TOML

# Panic messages contain the paths of source files, so the folders get fixed names.
flags=(
  "--remap-path-prefix=$PWD=/redis-rl"
  "--remap-path-prefix=$PWD/vendor=/vendor"
  -Cstrip=symbols
)
case $target in
  *-linux-gnu)
    triple=$arch-unknown-linux-gnu
    platform=$triple.2.17
    extra=()
    ;;
  *-linux-musl)
    triple=$arch-unknown-linux-musl
    platform=$triple
    # The compiler's sources keep Debian's name.
    flags+=("--remap-path-prefix=/usr/lib/rustlib/src/rust=$(readlink -f /usr/lib/rustlib/src/rust)")
    # A static library of C inside the module would be a second one in the server.
    flags+=(-Ctarget-feature=-crt-static)
    extra=('-Zbuild-std=std,panic_unwind')
    export RUSTC_BOOTSTRAP=1
    ;;
esac
CARGO_ENCODED_RUSTFLAGS=$(printf '%s\x1f' "${flags[@]}")
export CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%$'\x1f'}

cargo-zigbuild zigbuild --locked --release --package redis-rl --target "$platform" "${extra[@]}"
install -D -m 755 "target/$triple/release/libredis_rl.so" "$output"
