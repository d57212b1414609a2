#!/usr/bin/env bash
# Checks the rules of .github/CONTRIBUTING.md, "Language", that a command can check without false
# alarms. Prints each line that breaks one, and fails if there is any.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
# report RULE: prints the lines that break it, if there are any.
report() {
  local lines
  lines=$(cat)
  if [[ -n $lines ]]; then
    printf 'words: %s\n%s\n' "$1" "$lines" >&2
    failed=1
  fi
}

# In a container the checkout may belong to another user.
repository() { git -c safe.directory="$PWD" "$@"; }
repository ls-files >/dev/null # Fails outside a repository, where a search would find nothing.
search() { repository grep -nIE "$@" -- ':!*.lock' ':!scripts/words.sh' || true; }

# A phrase that no text contains, and the replacement.
while IFS='|' read -r phrase instead; do
  report "\"$phrase\": write $instead" < <(search -iw -e "$phrase")
done <<'PHRASES'
so many|the name of the number, such as: at most `most` members
lest|otherwise
oftener|more often
anew|again
in vain|pointless, or timed out
for want of|because there is no
beside|next to, or in addition to
PHRASES
# "some of which" and the like are ordinary English; the partitive in front is not.
report '"of which": put the noun first' < <(search -iw -e 'of which' |
  grep -iwvE '(all|any|both|each|last|most|none|one|some) of which' || true)
report 'a doc comment begins with "What": begin with a verb, such as Returns, or with a noun' \
  < <(search -e '^[[:space:]]*//[/!] What\b' -e '"""What\b')
(($(wc -w <README.md) <= 2400)) || report 'README.md' <<<"$(wc -w <README.md) words, more than 2,400"
report 'a Unicode minus before a digit: write -1, which can be copied' < <(search -e '−[0-9]')
exit "$failed"
