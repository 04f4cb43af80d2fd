#!/usr/bin/env bash
# What `make lab` needs beyond setup; installed only with the privileges at hand.
set -euo pipefail
need=()
command -v qemu-system-x86_64 >/dev/null 2>&1 || need+=(qemu-system-x86)
PATH=$PATH:/usr/sbin command -v mke2fs >/dev/null 2>&1 || need+=(e2fsprogs)
command -v mmdebstrap >/dev/null 2>&1 || need+=(mmdebstrap)
[ ${#need[@]} -gt 0 ] || exit 0
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        echo "lab: needs root once; run:  sudo apt-get install --no-install-recommends ${need[*]}" >&2
        exit 1
    fi
fi
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
