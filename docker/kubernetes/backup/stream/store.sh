#!/bin/sh
# Stores what comes through the pipe HAND_OVER/dump in BACKUPS, an rclone remote,
# and keeps the newest KEEP_NEWEST of what is there. A dump has its name only once
# it is whole.
set -eu
pipe=${HAND_OVER:-/hand-over}/dump
whole=${HAND_OVER:-/hand-over}/whole
remote=${BACKUPS:?}
newest=${KEEP_NEWEST:-60}
export RCLONE_CONFIG=/dev/null

say() { echo "store: $*" >&2; }

mkfifo "$pipe" 2>/dev/null || [ -p "$pipe" ]
name=$(date -u +%Y%m%dT%H%M%SZ).dump
rclone rcat "$remote/$name.partial" <"$pipe"
if [ ! -e "$whole" ]; then
  rclone deletefile "$remote/$name.partial"
  say "pg_dump did not end well: nothing is kept"
  exit 1
fi
rclone moveto "$remote/$name.partial" "$remote/$name"
say "$name"

rclone lsf --files-only --include '*.dump' "$remote" | sort -r | tail -n "+$((newest + 1))" |
  while read -r old; do
    rclone deletefile "$remote/$old"
    say "$old was taken away"
  done
