#!/usr/bin/env bash
# Runs a command with a folder as its whole file system:
#
#   scripts/release/in-folder.sh [--user USER] FOLDER COMMAND...
#
# The process that it starts becomes the command, so it can be waited for and ended.
set -euo pipefail
user=root
if [[ $1 == --user ]]; then
  user=$2
  shift 2
fi
# shellcheck disable=SC2016 # The inner shell expands it.
exec unshare --mount --propagation private sh -ec '
  user=$1 folder=$2
  shift 2
  mount --rbind /proc "$folder/proc"
  mount --rbind /dev "$folder/dev"
  cd /
  exec chroot --userspec="$user" "$folder" "$@"
' sh "$user" "$@"
