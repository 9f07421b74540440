#!/bin/sh
# Becomes a container: mounts what a pod's manifest mounts below ROOT, makes ROOT
# read-only, and becomes the program in it. Runs in a mount and a process namespace
# of its own.
#
#   pod.sh ROOT DATA SECRETS MODE USER ARGUMENTS...
#
# SECRETS has a folder for each Secret; their files get MODE, in memory, read-only,
# as a kubelet does it. USER is user:group.
set -eu
root=$1 data=$2 secrets=$3 mode=$4 user=$5
shift 5

mount --bind "$root" "$root"
mount --bind "$data" "$root/data"
for from in "$secrets"/*; do
  to=$root/run/secrets/${from##*/}
  mount -t tmpfs -o mode=0755 secrets "$to"
  for file in "$from"/*; do
    [ -e "$file" ] || continue
    cp "$file" "$to"
    chown "0:${user#*:}" "$to/${file##*/}"
    chmod "$mode" "$to/${file##*/}"
  done
  mount -o remount,ro "$to"
done
mount -t proc proc "$root/proc"
for device in null zero random urandom; do
  mount --bind "/dev/$device" "$root/dev/$device"
done
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user" --groups="${user#*:}" "$root" /cairn "$@"
