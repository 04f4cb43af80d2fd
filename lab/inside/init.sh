#!/bin/sh
# The first process of the emulated computer: runs the task named on the kernel's command line, then ends it.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb
export PYTHONPATH=/payload/src:/payload/site:/payload PYTHONDONTWRITEBYTECODE=1 XDG_CACHE_HOME=/cache PYRO_LAB=1 PYRO_PROBE_SECONDS=60
mkdir -p /run /tmp /root
mount -t tmpfs tmpfs /run
mount --make-rshared /
ln -sf /proc/self/fd /dev/fd
ip link set lo up
echo "lab: up after $(cut -d" " -f1 /proc/uptime) s"
task=$(sed 's/.*pyro\.task=\([^ ]*\).*/\1/; s/,/ /g' /proc/cmdline)
cd /payload
# A sign of life (lab/qemu.py listens for it), and an end to the echo of its nudges.
stty -echo </dev/console
(while sleep 5; do echo LAB-ALIVE; done) &
python3 -m $task
echo "LAB-EXIT $?"
sync
busybox reboot -f
