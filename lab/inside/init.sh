#!/bin/sh
# The first process of the emulated computer: runs the task named on the kernel's command line, then ends it.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb
export PYTHONDONTWRITEBYTECODE=1 XDG_CACHE_HOME=/cache PYRO_LAB=1 PYRO_PROBE_SECONDS=60
mkdir -p /run /tmp /root
mount -t tmpfs tmpfs /run
mount --make-rshared /
ln -sf /proc/self/fd /dev/fd
# Installed, rather than named in the environment: tests start programs with an environment of their own.
printf '%s\n' /payload/src /payload/site /payload >/usr/lib/python3/dist-packages/payload.pth
ip link set lo up
# QEMU's user network always has these addresses.
ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0 && ip route add default via 10.0.2.2
echo nameserver 10.0.2.3 >/etc/resolv.conf
. /payload/proxies.sh
if [ -e /payload/authorities.pem ]; then
    export SSL_CERT_FILE=/payload/authorities.pem PIP_CERT=/payload/authorities.pem
    export CURL_CA_BUNDLE=/payload/authorities.pem REQUESTS_CA_BUNDLE=/payload/authorities.pem
fi
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
