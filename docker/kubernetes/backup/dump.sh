#!/usr/bin/env bash
# Dumps the database that the PG* variables name into the folder BACKUPS, and
# takes away what is older than what has to be kept: the newest KEEP_NEWEST dumps,
# and of those before them the newest of each of the last KEEP_DAYS days.
#
# A dump has its name only once it is whole. It is written from beginning to end,
# which a mount without a write cache needs, and where closing a file means that
# it is stored.
set -euo pipefail
folder=${BACKUPS:-/backups}
newest=${KEEP_NEWEST:-60}
days=${KEEP_DAYS:-14}

say() { echo "dump: $*" >&2; }

dump() {
  local name partial
  name=$(date -u +%Y%m%dT%H%M%SZ).dump
  partial=$folder/$name.partial
  # What an earlier one left that failed or was killed.
  rm -f "$folder"/*.partial
  # Through a pipe: pg_dump would seek in a file.
  pg_dump --format=custom | cat >"$partial"
  mv "$partial" "$folder/$name"
  say "$name, $(stat -c %s "$folder/$name") bytes"
}

# Dumps that nobody has to keep, one a line.
expired() {
  local name day last="" kept=0 seen=0
  for name in $(cd "$folder" && ls -r | grep -E '^[0-9]{8}T[0-9]{6}Z\.dump$'); do
    seen=$((seen + 1))
    [ "$seen" -gt "$newest" ] || continue
    day=${name%%T*}
    if [ "$day" != "$last" ] && [ "$kept" -lt "$days" ]; then
      last=$day
      kept=$((kept + 1))
    else
      echo "$name"
    fi
  done
}

prune() {
  local name
  for name in $(expired); do
    rm "$folder/$name"
    say "$name was taken away"
  done
}

dump
prune
