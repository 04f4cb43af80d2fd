"""Who a user's name is in an environment: looked up in its /etc/passwd and /etc/group, which are a stranger's text.

The machine's agent looks it up again for each command (agent/user.go), as accounts may be made in a workspace; here it
is asked whom the project belongs to.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

from pyro_mcp.environments import rooted
from pyro_mcp.errors import InvalidInput
from pyro_mcp.visible import shortened, visible
from pyro_mcp.vocabulary import ROOT_USER

MAX_ID = 2**31 - 1
MOST_FIELDS = 7
_NUMBER = re.compile("[0-9]{1,10}")


def owner(root: Path, user: str) -> tuple[int, int]:
    """The ids of a user, as an image's `User` has it: NAME, UID, NAME:GROUP or UID:GID.

    Raises:
        InvalidInput: the environment has none of that name; a number needs no account.
    """
    if user in ROOT_USER:
        return 0, 0
    name, colon, group = user.partition(":")
    number = _id(name)
    found = None
    for fields in _lines(root, "etc/passwd"):
        uid, gid = _id(fields[2]), _id(fields[3]) if len(fields) > 5 else None
        if uid is None or gid is None:
            continue
        if fields[0] == name:
            found = uid, gid
            break
        if uid == number and found is None:
            found = uid, gid
    if found is None and number is not None:
        found = number, 0
    if found is None:
        raise _unknown("user", name, "passwd")
    if not colon:
        return found
    for fields in _lines(root, "etc/group"):
        gid = _id(fields[2])
        if fields[0] == group and gid is not None:
            return found[0], gid
    gid = _id(group)
    if gid is None:
        raise _unknown("group", group, "group")
    return found[0], gid


def _id(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) and int(text) <= MAX_ID else None


def _lines(root: Path, path: str) -> Iterator[list[str]]:
    # A stranger's: neither lines nor fields are all held at once.
    for line in io.StringIO(rooted.read_text(root, path) or ""):
        fields = line.removesuffix("\n").removesuffix("\r").split(":", MOST_FIELDS)
        if len(fields) > 2 and fields[0]:
            yield fields


def _unknown(kind: str, name: str, file: str) -> InvalidInput:
    said = shortened(visible(name), 64)
    return InvalidInput(
        f"This environment has no {kind} {said!r} in its /etc/{file}.",
        hint="Give one that is there, a number (uid or uid:gid), which needs no entry, or root.",
        code=f"no_such_{kind}",
    )
