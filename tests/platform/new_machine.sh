#!/bin/bash
# Makes a machine out of a Debian tree, in the namespaces that test_new_machine.py has made: the tree is below a layer
# in DIRECTORY. Its first process waits.
# Usage: new_machine.sh DIRECTORY TREE
set -euo pipefail

directory=$1 tree=$2
root=$directory/machine

mount --make-rprivate /
mkdir "$root" "$directory/layer" "$directory/work"
mount -t overlay -o "lowerdir=$tree,upperdir=$directory/layer,workdir=$directory/work" overlay "$root"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
chmod 1777 "$root/tmp"
mkdir "$root/srv/given"
mount --bind "$directory/given" "$root/srv/given"
hostname new-machine
# A root of its own, not a chroot, in which the kernel allows no user namespaces.
cd "$root"
mkdir before
pivot_root . before
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
umount --lazy /before
rmdir /before
exec env --ignore-environment PATH="$PATH" sleep infinity
