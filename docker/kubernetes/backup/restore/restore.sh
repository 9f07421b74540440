#!/usr/bin/env bash
# Restores a dump from BACKUPS into the database that the PG* variables name, in
# one transaction: DUMP, or the newest. What it holds replaces what is there.
set -euo pipefail
folder=${BACKUPS:-/backups}

fail() {
  echo "restore: $*" >&2
  exit 1
}

name=${DUMP:-$(cd "$folder" && ls -r | grep -E -m 1 '^[0-9]{8}T[0-9]{6}Z\.dump$' || true)}
[ -n "$name" ] || fail "there is no dump in $folder"
[ -e "$folder/$name" ] || fail "$name is not in $folder"
: "${PGDATABASE:?names no database to restore into}"
pg_restore --clean --if-exists --single-transaction --no-owner --dbname="$PGDATABASE" "$folder/$name" \
  || fail "$name was not restored, and nothing was changed; pg_restore's own message is above"
echo "restore: $PGDATABASE is what it was in $name" >&2
