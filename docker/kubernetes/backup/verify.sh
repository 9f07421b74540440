#!/usr/bin/env bash
# Restores the newest dump in BACKUPS into an empty PostgreSQL of its own, which
# lives in SCRATCH for that time. Fails if there is none, if it is older than
# MAX_AGE seconds, if it does not restore, or if it holds no table.
set -euo pipefail
folder=${BACKUPS:-/backups}
scratch=${SCRATCH:-/scratch}
max_age=${MAX_AGE:-600}

fail() {
  echo "verify: $*" >&2
  exit 1
}

newest() {
  (cd "$folder" && ls -r | grep -E -m 1 '^[0-9]{8}T[0-9]{6}Z\.dump$') || fail "there is no dump in $folder"
}

age() {
  local text=$1 made
  made=$(date -u -d "${text:0:4}-${text:4:2}-${text:6:2} ${text:9:2}:${text:11:2}:${text:13:2}" +%s)
  echo $(($(date +%s) - made))
}

name=$(newest)
old=$(age "$name")
[ "$old" -le "$max_age" ] || fail "the newest dump, $name, is $old seconds old, more than $max_age: see why the job dump fails"

# The database that was dumped is no business of this one.
unset PGHOST PGPORT PGDATABASE PGUSER PGPASSWORD
export PGHOST=$scratch PGUSER=verify
initdb --pgdata="$scratch/data" --username=verify --auth=trust --no-sync >/dev/null
pg_ctl --pgdata="$scratch/data" --log="$scratch/log" --wait \
  --options="-c listen_addresses= -c fsync=off -k $scratch" start >/dev/null \
  || fail "no PostgreSQL could be started: $(tail -n 3 "$scratch/log")"
trap 'pg_ctl --pgdata="$scratch/data" --mode=immediate stop >/dev/null' EXIT
createdb verify
pg_restore --exit-on-error --no-owner --no-privileges --dbname=verify "$folder/$name" \
  || fail "$name does not restore; pg_restore's own message is above"
tables=$(psql -XAtd verify -c "select count(*) from information_schema.tables where table_schema not in ('pg_catalog', 'information_schema')")
[ "$tables" -gt 0 ] || fail "$name restores to a database without tables"
echo "verify: $name restores, with $tables tables" >&2
