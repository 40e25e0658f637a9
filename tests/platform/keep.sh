#!/bin/bash
# Runs COMMAND in namespaces and a cgroup of their own. When it ends, or this gets SIGTERM, all that COMMAND started is
# killed, and every cgroup of this name is removed.
# Usage: keep.sh CGROUP OPTION... COMMAND..., with the options of unshare.
set -uo pipefail

cgroup=$1
shift
mkdir "$cgroup"
# A cgroup namespace begins at the cgroup that its maker is in.
(echo "$BASHPID" >"$cgroup/cgroup.procs" &&
  exec setpriv --pdeathsig=KILL unshare "$@") &
child=$!
trap 'kill -KILL "$child"' TERM
wait "$child"
code=$?
trap '' TERM
while grep -q 'populated 1' "$cgroup/cgroup.events"; do sleep 0.1; done
find /sys/fs/cgroup -depth -type d -path "*/${cgroup##*/}*" -exec rmdir {} +
exit "$code"
