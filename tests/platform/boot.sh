#!/bin/bash
# Makes a machine of its own out of this one, in the namespaces that guest.py has made: its disk is this one's below a
# layer in memory. Then COMMAND runs in it, as its first process.
# Usage: boot.sh DIRECTORY PROGRAMS COMMAND...; PROGRAMS is at /opt/keyturn there. SHARED (the environment) names
# directories that the layer does not show: those of other file systems, and those below its own /tmp and /run.
set -euo pipefail

directory=$1 programs=$2
shift 2
root=$directory/machine

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$directory"
mkdir "$root" "$directory/layer" "$directory/work"
mount -t overlay -o "lowerdir=/,upperdir=$directory/layer,workdir=$directory/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
number=0
for place in ${SHARED:-}; do
  number=$((number + 1))
  mkdir -p "$root$place" "$directory/layer-$number" "$directory/work-$number"
  mount -t overlay -o "lowerdir=$place,upperdir=$directory/layer-$number,workdir=$directory/work-$number" overlay "$root$place"
done
mkdir -p "$root/opt/keyturn"

if [[ -n ${BUILDING:-} ]]; then
  mount --rbind /dev "$root/dev"
  mount --bind "$programs" "$root/opt/keyturn"
  exec chroot "$root" "$@"
fi

mkdir "$directory/keyturn" "$directory/keyturn-work"
mount -t overlay -o "lowerdir=$programs,upperdir=$directory/keyturn,workdir=$directory/keyturn-work" overlay \
  "$root/opt/keyturn"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
# What this machine starts is not started there.
rm -rf "$root"/etc/systemd/system/*.wants "$root"/etc/systemd/system/*.requires "$root/etc/keyturn"
mkdir -p "$root/etc/keyturn"
# The kernel is this machine's: nothing there sets it.
for part in sys sysrq-trigger; do
  [[ -e $root/proc/$part ]] || continue
  mount --bind "$root/proc/$part" "$root/proc/$part"
  mount -o remount,bind,ro "$root/proc/$part"
done
for unit in systemd-sysctl systemd-modules-load systemd-binfmt systemd-udevd systemd-udev-trigger; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit.service"
done
printf '[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n' >"$root/etc/systemd/system/platform.target"
hostname vm
ip link set lo up
# Otherwise a service does not see the credentials that systemd mounts for it.
mount --make-rshared "$root"
cd "$root"
exec env --ignore-environment container=podman PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . "$@"
