"""What this computer itself refuses, in words: a full disk, a read-only one, no descriptors left.

Such a failure is nobody's defect. It can come out of any operation, so it is told apart in one place.
"""

from __future__ import annotations

import errno
import shlex
import sqlite3
from pathlib import Path

from pyro_mcp.errors import HostError, PyroError

FREE = (
    "Free some space: delete workspaces or snapshots you do not need, or run `pyro env prune`. These and reset "
    "also work on a full disk."
)


def of_this_machine(error: BaseException, state: Path) -> PyroError | None:
    """The error to answer with, when what failed was this computer; None when it was something else."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        found = _of(cause, state)
        if found is not None:
            return found
        cause = cause.__cause__ or cause.__context__
    return None


def blamed_rightly(error: PyroError, state: Path) -> PyroError:
    """The same error, unless it blames a path or a caller for descriptors or memory that the daemon did not get."""
    found = of_this_machine(error, state)
    return found if found is not None and found.code in ("out_of_descriptors", "out_of_memory") else error


def _of(error: BaseException, state: Path) -> PyroError | None:
    if isinstance(error, sqlite3.Error):
        return _of_database(error, state)
    if not isinstance(error, OSError):
        return None
    where = str(error.filename) if isinstance(error.filename, str) else str(state)
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return disk_full(where)
        case errno.EROFS:
            return read_only(where)
        case errno.EMFILE | errno.ENFILE:
            return out_of_descriptors()
        case errno.ENOMEM:
            return HostError(
                "This computer has no memory left for the call.",
                hint="Stop or delete workspaces you do not need, then try again.",
                code="out_of_memory",
            )
        case errno.EACCES | errno.EPERM if str(where).startswith(str(state)):
            return HostError(
                f"This user may not write to {where}; nothing was changed.",
                hint="Make this user the directory's owner, then try again.",
                code="state_not_writable",
            )
    return None


def _of_database(error: sqlite3.Error, state: Path) -> PyroError | None:
    name = getattr(error, "sqlite_errorname", "") or ""
    said = str(error)
    if name == "SQLITE_FULL" or "full" in said:
        return disk_full(str(state))
    if name.startswith("SQLITE_READONLY") or "readonly" in said:
        return read_only(str(state))
    if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")):
        return HostError(
            f"The database in {state} cannot be read or written: {said}.",
            hint="Check that the disk has room and the directory is writable, then try again; machines keep running.",
            code="database_unreachable",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return HostError(
            f"The database in {state} is damaged: {said}.",
            hint="Move pyro.sqlite3 aside to start over; the workspaces in it can then no longer be reached.",
            code="database_damaged",
        )
    return None


def out_of_descriptors() -> HostError:
    return HostError(
        "The daemon has no file descriptors left; nothing was changed.",
        hint="Close shells and services you do not need; or raise `ulimit -n`, run "
        "`pyro daemon stop` and try again; machines keep running.",
        code="out_of_descriptors",
    )


def in_the_way(error: OSError) -> HostError | None:
    """Of a start: the error to answer with, when something else stands where a directory of pyro's belongs."""
    if error.errno not in (errno.EEXIST, errno.ENOTDIR, errno.ELOOP) or not isinstance(error.filename, str):
        return None
    place = error.filename
    return HostError(
        f"{place} is in the way: pyro needs a directory there, and this is not one.",
        hint=f"Move it aside, then try again: mv {shlex.quote(place)} {shlex.quote(place + '.aside')}",
        code="in_the_way",
    )


def disk_full(where: str) -> HostError:
    return HostError(f"The disk that holds {where} is full.", hint=FREE, code="disk_full")


def read_only(where: str) -> HostError:
    return HostError(
        f"{where} is on a read-only file system; nothing was changed.",
        hint="Make it writable again, or point PYRO_HOME at another place. Machines keep running.",
        code="state_read_only",
    )
