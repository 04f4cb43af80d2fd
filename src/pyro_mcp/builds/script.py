"""What runs in the machine of a build: programs for a POSIX shell, each with its arguments after it.

The layers are in an overlay where the machine's kernel has one (a step costs what it changes), else in directories of
their own (vfs: a whole tree a step).
"""

from __future__ import annotations

CONTEXT, FILES, BASES = "context", "build", "base"
RESULT, KEPT = "result", "kept"
"""Below /workspace: what is brought in, and what is fetched."""
ARCHIVE = "layers.tar"
_STORE = """
S=/tmp/pyro-build
D=$(cat $S/driver 2>/dev/null || echo overlay)
export BUILDAH_ISOLATION=chroot TMPDIR=/tmp
B="buildah --root $S/$D --runroot $S/run --storage-driver $D"
cd /workspace
"""
FORGET = f"""rm -rf /workspace/{KEPT}"""
"""When what was kept could not be brought in whole."""
PREPARE = (
    """
T=/tmp/pyro-build/try
mkdir -p $T/l $T/u $T/w $T/m
if mount -t overlay none -o lowerdir=$T/l,upperdir=$T/u,workdir=$T/w $T/m 2>/dev/null; then
  umount $T/m; echo overlay > /tmp/pyro-build/driver
else
  echo vfs > /tmp/pyro-build/driver
fi
# It asks for the program, though the network is the machine's own.
mkdir -p /usr/libexec/podman
[ -e /usr/libexec/podman/netavark ] || ln -s /bin/false /usr/libexec/podman/netavark
"""
    + _STORE
    + f"""
if [ -f {KEPT}/{ARCHIVE} ]; then
  tar -C $S --xattrs --xattrs-include='*' -xpf {KEPT}/{ARCHIVE} || rm -rf $S/overlay $S/vfs
  rm -rf {KEPT}
fi
for image; do
  $B inspect --type image "$image" >/dev/null 2>&1 && echo "have $image"
done
true
"""
)
"""Arguments: the names of the base images. Says `have NAME` of each that an earlier build left."""
TAKE = (
    _STORE
    + """
id=$($B pull -q "oci:/workspace/$1:latest") || exit 1
$B tag "$id" "$2"
rm -rf "/workspace/$1"
"""
)
"""Arguments: a base image's directory below /workspace, and the name it gets."""
BUILD = (
    _STORE
    + f"""
mkdir -p {CONTEXT}
exec $B bud --layers --pull=never --network=host --format=docker --http-proxy=false --force-rm \
  --file {FILES}/Dockerfile --iidfile /tmp/pyro-build/built "$@" {CONTEXT}
"""
)
"""Arguments: further options."""
DELIVER = (
    _STORE
    + f"""
mkdir -p {RESULT}
$B push -q --format oci --disable-compression "$(cat /tmp/pyro-build/built)" oci:/workspace/{RESULT}:built
"""
)
KEEP = (
    _STORE
    + f"""
mkdir -p {KEPT}
tar -C $S --xattrs --xattrs-include='*' -cf {KEPT}/{ARCHIVE} $D
"""
)
