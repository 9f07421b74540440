#!/bin/sh
# Waits until every file below FOLDER is in the bucket REMOTE with the same
# contents. For a mount by rclone with a write cache, which uploads a file some
# time after it was closed and drops what is left when it is unmounted.
#
#   wait-for-upload FOLDER REMOTE
#
# It has no time limit of its own: the pod's grace period ends it.
set -eu
folder=$1
remote=$2
until rclone check --one-way --log-level ERROR "$folder" "$remote"; do
  echo "wait-for-upload: $folder is not yet in $remote as it is; trying again in a second" >&2
  sleep 1
done
echo "wait-for-upload: everything in $folder is in $remote" >&2
