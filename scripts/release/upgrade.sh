#!/usr/bin/env bash
# upgrade.sh NEW.so|--remove [--old OLD.so] [--arguments "A B"] [options of redis-cli]
#
# Replaces the loaded module by the library NEW.so (an absolute path, which the server opens) without losing a bucket, a window or a lease. Clients are
# disconnected once and writes pause for well under a second. The users' rules and the settings are kept. If NEW.so cannot be
# loaded, the old library is loaded again.
#
# --remove unloads the module in the same way, and deletes the module's commands from the users' rules. The keys stay.
#
# The old library's path and the module's arguments are read from the server. Redis 6.2 does not know them: there,
# --old is required, and --arguments if the module was loaded with any. REDISCLI names another client, such as
# valkey-cli. The lines below are sent one by one, because a client that waits for a slot keeps the module from being
# unloaded until the event loop has completed its turn.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
say() { echo "upgrade: $*" >&2; }
fail() { say "$*"; exit 1; }

case ${1:-} in
  /* | --remove) ;;
  '' | -*) usage ;;
  *) fail "$1: give an absolute path, which the server opens" ;;
esac
new=$1 old='' arguments='' has_arguments='' options=() remove=''
[ "$new" != --remove ] || remove=1
shift
while [ $# -gt 0 ]; do
  case $1 in
    --old) old=${2?}; shift 2 ;;
    --arguments) arguments=${2?}; has_arguments=1; shift 2 ;;
    *) options+=("$1"); shift ;;
  esac
done

# One connection for everything: a transaction needs it, and CLIENT KILL spares it.
coproc CLI { exec "${REDISCLI:-redis-cli}" "${options[@]}" 2>&1; }
trap 'kill "$CLI_PID" 2>/dev/null || true' EXIT
end="end-of-reply-$$-$RANDOM"

# Sends a line and prints its reply, however many lines that has.
ask() {
  local line
  printf '%s\nECHO %s\n' "$1" "$end" >&"${CLI[1]}"
  while IFS= read -r -t 30 line <&"${CLI[0]}"; do
    [ "$line" != "$end" ] || return 0
    [ -z "$line" ] || printf '%s\n' "$line"
  done
  fail "no reply to: $1"
}

# Sends a line of a transaction, which must be queued.
queue() {
  local line
  printf '%s\n' "$1" >&"${CLI[1]}"
  IFS= read -r -t 30 line <&"${CLI[0]}" || fail "no reply to: $1"
  [ -n "$line" ] || IFS= read -r -t 30 line <&"${CLI[0]}"
  [ "$line" = QUEUED ] || { ask DISCARD >/dev/null; ask 'CLIENT UNPAUSE' >/dev/null; fail "$1: $line"; }
}

# Begins a transaction; an ECHO after it would be queued.
multi() {
  local line
  printf 'MULTI\n' >&"${CLI[1]}"
  IFS= read -r -t 30 line <&"${CLI[0]}" || fail 'no reply to MULTI'
  echo "$line"
}

quoted() { local text=${1//\\/\\\\}; printf '"%s"' "${text//\"/\\\"}"; }

# Prints a user's rules as arguments; a selector in parentheses is one.
rules() {
  local rest=$1 word
  while [ -n "$rest" ]; do
    if [ "${rest:0:1}" = '(' ]; then word=${rest%%)*}')'; else word=${rest%% *}; fi
    rest=${rest:${#word}}
    rest=${rest# }
    printf ' %s' "$(quoted "$word")"
  done
}

pong=$(ask PING 2>/dev/null) || true
[ "$pong" = PONG ] || fail "${pong:-no reply to PING}"

# The module, its library and its arguments.
found='' field='' is_ours=''
while IFS= read -r line; do
  case $field in
    name) is_ours=''; [ "$line" != rl ] || { is_ours=1; found=1; } ;;
    path) [ -z "$is_ours" ] || old=${old:-$line} ;;
  esac
  if [ "$field" = args ] && [ "$line" != name ]; then
    [ -z "$is_ours" ] || [ -n "$has_arguments" ] || arguments="$arguments${arguments:+ }$line"
    continue
  fi
  case $field:$line in
    name:*|path:*|ver:*) field='' ;;
    *) field=$line ;;
  esac
done < <(ask 'MODULE LIST')
[ -n "$found" ] || fail 'the module rl is not loaded'
[ -n "$old$remove" ] || fail 'this server does not know the library that it has loaded: give --old'
[ -z "$arguments" ] || [ -n "$has_arguments$remove" ] || say "arguments: $arguments"

# The settings, which CONFIG SET may have changed since the module was loaded. Redis 6.2 has none.
settings=() field=''
while IFS= read -r line; do
  if [[ $line == rl.* ]]; then field=$line; elif [ -n "$field" ]; then settings+=("CONFIG SET $field $line") field=''; fi
done < <(ask 'CONFIG GET rl.*')

# The users whose rules name a command of the module.
me=$(ask 'ACL WHOAMI')
names=() all_rules=()
while IFS= read -r line; do
  [[ $line == user\ * ]] || continue
  if [[ ${line,,} =~ [+-](rl\.|cl\.throttle) ]]; then
    line=${line#user } name=${line%% *} line=${line#* }
    [ -z "$remove" ] || line=$(sed -E 's/ [+-](rl\.|cl\.throttle)[^ )]*//Ig' <<<"$line")
    names+=("$name")
    all_rules+=("$(rules "$line")")
  fi
done < <(ask 'ACL LIST')

# Prints the line that takes the module's commands from a user. This script's own user must keep all its permissions: the server
# checks them again for each line that EXEC runs.
clear_user() {
  local cleared=nocommands
  [ "${names[$1]}" != "$me" ] || cleared=allcommands
  [[ ${all_rules[$1]} != *'"('* ]] || cleared+=' clearselectors'
  echo "ACL SETUSER $(quoted "${names[$1]}") $cleared"
}

restore_user() { echo "ACL SETUSER $(quoted "${names[$1]}")${all_rules[$1]}"; }

status=0
# Ensures that a user has its rules again, given the reply to their restoration. A rule for a command that the loaded
# library lacks is dropped: otherwise the user would be left without any permission.
restored() {
  local reply=$2 rule rules
  while [ "$reply" != OK ]; do
    rule=${reply#*modifier \'} rule=${rule%%\'*}
    rules=${all_rules[$1]/" $(quoted "$rule")"}
    [ "$rules" != "${all_rules[$1]}" ] || { say "the rules of user ${names[$1]}: $reply"; status=1; return; }
    say "user ${names[$1]}: the rule $rule is dropped, because the loaded library has no such command"
    all_rules[$1]=$rules
    reply=$(ask "$(restore_user "$1")")
  done
}

for try in 1 2 3 4 5; do
  paused=$(ask 'CLIENT PAUSE 10000 WRITE')
  [ "$paused" = OK ] || fail "CLIENT PAUSE: $paused"
  ask 'CLIENT KILL TYPE normal' >/dev/null
  begun=$(multi)
  [ "$begun" = OK ] || fail "MULTI: $begun"
  lines=('CLIENT KILL TYPE normal' 'CLIENT KILL TYPE pubsub')
  for n in "${!names[@]}"; do lines+=("$(clear_user "$n")"); done
  unload=${#lines[@]}
  lines+=('MODULE UNLOAD rl')
  [ -n "$remove" ] || lines+=("MODULE LOAD $(quoted "$new") $arguments" "${settings[@]}")
  first_user=${#lines[@]}
  for n in "${!names[@]}"; do lines+=("$(restore_user "$n")"); done

  for line in "${lines[@]}"; do queue "$line"; done
  mapfile -t replies < <(ask EXEC)
  unloaded=${replies[$unload]:-} loaded=${replies[$unload + 1]:-}
  if [ "$unloaded" = OK ] && [ -z "$remove" ] && [ "$loaded" != OK ]; then
    again=$(ask "MODULE LOAD $(quoted "$old") $arguments")
    for line in "${settings[@]}"; do ask "$line" >/dev/null; done
    for n in "${!names[@]}"; do restored "$n" "$(ask "$(restore_user "$n")")"; done
    ask 'CLIENT UNPAUSE' >/dev/null
    [ "$again" = OK ] || fail "$new: $loaded; and the old library: $again"
    fail "$new: $loaded; the old library is loaded again"
  fi
  ask 'CLIENT UNPAUSE' >/dev/null
  if [ "$unloaded" = OK ]; then
    for n in "${!settings[@]}"; do
      reply=${replies[$unload + 2 + n]:-}
      [ -n "$remove" ] || [ "$reply" = OK ] || say "${settings[$n]}: $reply"
    done
    for n in "${!names[@]}"; do restored "$n" "${replies[$first_user + n]:-}"; done
    if [ -n "$remove" ]; then
      say 'removed; now delete the loadmodule line, the rl.* settings and the rules of the users from the configuration (CONFIG REWRITE, ACL SAVE)'
    else
      say "loaded $new"
      [ "$new" = "$old" ] || say "if the configuration names $old, a restart loads that: change the loadmodule line (CONFIG REWRITE does, from Redis 7.0 on)"
    fi
    exit "$status"
  fi
  say "try $try: $unloaded"
done
fail 'the module was not unloaded; it keeps working'
