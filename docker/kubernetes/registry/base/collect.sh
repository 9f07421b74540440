#!/bin/sh
# The steps around a garbage collection. A layer that is being pushed belongs to no
# image yet, so a collection would take it: pushes are refused from before it begins
# until it has ended.
#
#   collect close     the registry turns read-only, and every pod of it has done so
#   collect collect   takes away what no image refers to, and images without a tag
#   collect open      the registry takes pushes again; fails if the collection did
set -eu
state=${STATE:-/state}
config=/etc/registry/config.yml

turn() {
  kubectl set env deployment/registry --containers=registry "REGISTRY_CONFIGURATION_PATH=/etc/registry/$1"
  kubectl rollout status deployment/registry --timeout=10m
}

case ${1:-} in
  close) turn readonly.yml ;;
  collect)
    # Its end is told by the last step, which opens the registry in any case.
    if registry garbage-collect --delete-untagged "$config"; then
      : >"$state/collected"
    fi
    ;;
  open)
    turn config.yml
    [ -e "$state/collected" ] || {
      echo "collect: the garbage collection failed; its own message is in the log of the container 'collect'" >&2
      exit 1
    }
    ;;
  *)
    echo "collect: say close, collect or open" >&2
    exit 2
    ;;
esac
