#!/bin/sh
# Dumps the database that the PG* variables name into the pipe HAND_OVER/dump. Says
# that it is whole while the pipe is still open, so that whoever reads it to its
# end knows.
set -eu
pipe=${HAND_OVER:-/hand-over}/dump
whole=${HAND_OVER:-/hand-over}/whole

# Whichever container comes first makes it.
mkfifo "$pipe" 2>/dev/null || [ -p "$pipe" ]
{ pg_dump --format=custom && : >"$whole"; } >"$pipe"
