"""Contents as git would store them: line ends, encodings and `$Id$` by the attributes that hold for each path.

git converts in a scratch work tree, with the settings for line ends and the attribute files of the user copied into
its scratch configuration. No filter is defined there, so that no attribute, whoever wrote it, can run a program; a path
whose filter the user's repository does define is refused, because git would have stored what the filter gives.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.errors import Conflict, EngineError, InvalidInput
from pyro_mcp.landing.repository import Repository, said, shown
from pyro_mcp.patches.diff import DiffEntry, FileVersion

if TYPE_CHECKING:
    from pyro_mcp.landing.objects import Leaf, Objects

_SETTINGS = ("core.autocrlf", "core.eol", "core.checkRoundtripEncoding")


class Attributes:
    """What the user's repository says of conversions."""

    def __init__(self, repository: Repository, scratch: Path) -> None:
        self.settings = {name: value for name in _SETTINGS if (value := repository.setting(name))}
        named = repository.setting("core.attributesFile", path=True)
        base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        self._scratch = scratch
        self._info = _read(Path(repository.common, "info", "attributes"))
        self._user = _read(Path(named or f"{base}/git/attributes"))
        self._filters = repository.filters()

    def matter(self, listing: Mapping[bytes, Leaf], changes: Mapping[bytes, DiffEntry]) -> bool:
        converts = self.settings.get("core.autocrlf", "false") in ("true", "input")
        named = any(path.rpartition(b"/")[2] == b".gitattributes" for paths in (listing, changes) for path in paths)
        return converts or named or bool(self._info or self._user)

    def cleaned(
        self,
        store: Objects,
        base: str,
        side: str,
        versions: Mapping[bytes, FileVersion | None],
        *,
        refuse: bool = True,
    ) -> dict[bytes, bytes]:
        """Path to blob of the files on one side.

        What goes through a filter of the user's repository is refused, or left out.

        Raises:
            Conflict: a path goes through such a filter.
        """
        tree = self._scratch / f"tree-{side}"
        tree.mkdir()
        files = {path: version for path, version in versions.items() if version and version.kind == "file"}
        try:
            for path, version in files.items():
                place = Path(os.fsdecode(os.path.join(os.fsencode(tree), path)))
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(version.content)
        except OSError as error:
            raise InvalidInput(
                f"{shown(path)} cannot be laid out for git: {error.strerror}. Nothing was changed.",
                hint="Rename or delete it in the workspace.",
                code="bad_path",
            ) from error
        info = self._scratch / "git" / "info"
        info.mkdir(exist_ok=True)
        (info / "attributes").write_bytes(self._info)
        user = self._scratch / "attributes"
        user.write_bytes(self._user)
        env = {"GIT_WORK_TREE": str(tree), "GIT_INDEX_FILE": str(self._scratch / f"index-{side}")}
        words = [f"core.attributesFile={user}", "core.safecrlf=false"]
        words += [f"{name}={value}" for name, value in self.settings.items()]
        settings = [word for one in words for word in ("-c", one)]

        def ask(*arguments: str, stdin: bytes = b"") -> bytes:
            done = store.run([*settings, *arguments], cwd=str(tree), env=env, stdin=stdin)
            if done.returncode:
                raise EngineError(f"git {arguments[0]} failed: {said(done)}. Nothing was changed.", code="git_failed")
            return done.stdout

        ask("read-tree", base or "--empty")
        # The old rules are those of the commit; what the side changed of them lies in its tree, or is gone.
        gone = [p for p, v in versions.items() if v is None and p.rpartition(b"/")[2] == b".gitattributes"]
        ask("update-index", "--force-remove", "-z", "--stdin", stdin=b"".join(p + b"\0" for p in gone))
        names = b"".join(path + b"\0" for path in files)
        fields = ask("check-attr", "-z", "--stdin", "filter", stdin=names).split(b"\0")[:-1]
        for path, value in zip(fields[::3], fields[2::3], strict=True):
            if os.fsdecode(value) not in self._filters:
                continue
            del files[path]
            if refuse:
                raise Conflict(
                    f"{shown(path)} needs your git filter {shown(value)}, which is not run on files from a "
                    "workspace. Nothing was changed.",
                    hint="Export that file by its path and commit it yourself.",
                    code="filtered_path",
                )
        names = b"".join(path + b"\0" for path in files)
        ask("update-index", "--add", "--replace", "-z", "--stdin", stdin=names)
        found: dict[bytes, bytes] = {}
        for record in ask("ls-files", "-s", "-z").split(b"\0")[:-1]:
            head, _, path = record.partition(b"\t")
            if path in files:
                found[path] = head.split(b" ")[1]
        return found


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes() if file.is_file() else b""
    except OSError:
        return b""
