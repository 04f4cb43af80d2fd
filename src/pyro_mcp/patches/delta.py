"""git's delta code, as in `GIT binary patch` (Documentation/gitformat-pack.txt, "Deltified representation")."""

from __future__ import annotations

from pyro_mcp.errors import InvalidInput, PatchMismatch
from pyro_mcp.paths import show

MAX_RESULT_BYTES = 64 * 1024 * 1024
"""The most that a delta may make; as for literal parts."""


def apply_delta(source: bytes, delta: bytes, path: str) -> bytes:
    """What `delta` makes of `source`.

    Raises:
        PatchMismatch: `source` has another size than the delta was made from.
        InvalidInput: the delta is damaged or its result over 64 MiB.
    """
    try:
        size, at = _varint(delta, 0)
        if size != len(source):
            raise PatchMismatch(
                f"The patch was made from {show(path)} with {size} bytes; the file has {len(source)}.",
                hint="Make the patch from the current file.",
                details={"path": path},
            )
        result, at = _varint(delta, at)
        if result > MAX_RESULT_BYTES:
            raise ValueError
        out = bytearray()
        while at < len(delta):
            op = delta[at]
            at += 1
            if op & 0x80:
                start, at = _field(delta, at, op, 4)
                count, at = _field(delta, at, op >> 4, 3)
                count = count or 0x10000
                if start + count > len(source):
                    raise ValueError
                out += source[start : start + count]
            elif op:
                if at + op > len(delta):
                    raise ValueError
                out += delta[at : at + op]
                at += op
            else:
                raise ValueError
            if len(out) > result:
                raise ValueError
        if len(out) != result:
            raise ValueError
    except (ValueError, IndexError):
        raise InvalidInput(
            f"The binary delta for {show(path)} is damaged.",
            hint="Make the patch again with `git diff --binary`.",
            code="bad_patch",
        ) from None
    return bytes(out)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError


def _field(data: bytes, at: int, bits: int, count: int) -> tuple[int, int]:
    value = 0
    for i in range(count):
        if bits >> i & 1:
            value |= data[at] << 8 * i
            at += 1
    return value, at
