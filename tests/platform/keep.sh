#!/bin/bash
# Runs COMMAND in namespaces and a cgroup of their own. When it ends, or this gets SIGTERM, all that COMMAND started is
# killed and the cgroup is removed.
# Usage: keep.sh CGROUP COMMAND...
set -uo pipefail

cgroup=$1
shift
mkdir "$cgroup"
# A cgroup namespace begins at the cgroup that its maker is in.
(echo "$BASHPID" >"$cgroup/cgroup.procs" &&
  exec setpriv --pdeathsig=KILL \
    unshare --mount --pid --fork --cgroup --uts --ipc --net --kill-child "$@") &
child=$!
trap 'kill -KILL "$child"' TERM
wait "$child"
code=$?
trap '' TERM
while grep -q 'populated 1' "$cgroup/cgroup.events"; do sleep 0.1; done
find "$cgroup" -depth -type d -exec rmdir {} +
exit "$code"
