"""Unpacks LZ4 in its legacy framing, as the kernel's build uses it. Pure: bytes in, bytes out.

The format: a magic word, then blocks of a 4-byte length each; https://github.com/lz4/lz4, doc/lz4_Frame_format.md
("Legacy frame") and doc/lz4_Block_format.md. In Python it takes some seconds for a kernel, once.
"""

from __future__ import annotations

MAGIC = b"\x02\x21\x4c\x18"


def decompress_legacy(data: bytes, bound: int) -> bytes:
    """What a legacy frame holds, at most `bound` bytes.

    Raises:
        ValueError: it is damaged, or larger.
    """
    if not data.startswith(MAGIC):
        raise ValueError("no LZ4 legacy frame")
    place, parts, total = len(MAGIC), [], 0
    while place + 4 <= len(data):
        size = int.from_bytes(data[place : place + 4], "little")
        place += 4
        if size == 0 or place + size > len(data):
            raise ValueError("an LZ4 block ends beyond the data")
        parts.append(_block(data[place : place + size], bound - total))
        total += len(parts[-1])
        place += size
    return b"".join(parts)


def _block(data: bytes, bound: int) -> bytes:
    out = bytearray()
    place, end = 0, len(data)
    try:
        while True:
            token = data[place]
            place += 1
            literals = token >> 4
            if literals == 15:
                while True:
                    more = data[place]
                    place += 1
                    literals += more
                    if more != 255:
                        break
            out += data[place : place + literals]
            place += literals
            if place >= end:
                break
            offset = data[place] | data[place + 1] << 8
            place += 2
            length = (token & 15) + 4
            if length == 19:
                while True:
                    more = data[place]
                    place += 1
                    length += more
                    if more != 255:
                        break
            start = len(out) - offset
            if offset == 0 or start < 0:
                raise ValueError("an LZ4 match points outside the data")
            if offset >= length:
                out += out[start : start + length]
            else:
                out += (out[start:] * (length // offset + 1))[:length]
            if len(out) > bound:
                raise ValueError("the LZ4 data is larger than allowed")
    except IndexError:
        raise ValueError("an LZ4 block is cut") from None
    if place != end or len(out) > bound:
        raise ValueError("an LZ4 block is cut or too large")
    return bytes(out)
