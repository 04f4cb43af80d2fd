"""Trees sent to another computer: they arrive as they are, however often the connection breaks."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp import wholeness
from pyro_mcp.errors import Conflict, EngineError
from pyro_mcp.seeds import arrivals

KEY = "a" * 32
NAMES = st.binary(min_size=1, max_size=6).filter(lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b".."))
FILES = st.tuples(st.just("file"), st.binary(max_size=60), st.sampled_from([0o644, 0o755, 0o400]))
LINKS = st.tuples(st.just("link"), NAMES, st.just(0))
TREES = st.recursive(
    st.dictionaries(NAMES, FILES | LINKS, max_size=5),
    lambda inner: st.dictionaries(NAMES, FILES | LINKS | inner, max_size=4),
    max_leaves=6,
)


def _made(top: bytes, tree: dict[bytes, Any]) -> None:
    os.makedirs(top, exist_ok=True)
    for name, what in tree.items():
        place = os.path.join(top, name)
        if isinstance(what, dict):
            _made(place, what)
        elif what[0] == "link":
            os.symlink(what[1], place)
        else:
            with open(place, "wb") as file:
                file.write(what[1])
            os.chmod(place, what[2])


def _seen(top: Path) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for item in arrivals.items_of(top):
        seen[item.path] = (item.kind, item.mode, item.mtime_ns if item.kind != "dir" else 0, item.sha256, item.link)
    return seen


class _Cut(io.RawIOBase):
    """A writer whose connection breaks after so many bytes."""

    def __init__(self, inner: BinaryIO, after: int) -> None:
        self.inner, self.left = inner, after

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        taken = bytes(data)[: max(self.left, 0)]
        self.left -= len(taken)
        self.inner.write(taken)
        self.inner.flush()
        if len(taken) < len(data):
            self.inner.close()
            raise BrokenPipeError
        return len(taken)


def _sent(
    root: Path, top: Path, digest: str, cut: int | None = None, items: Callable[[], Any] | None = None
) -> tuple[str | None, int]:
    """The tree's path over there, or None where the connection broke; and how many bytes were sent."""
    there_in, here_out = os.pipe()
    here_in, there_out = os.pipe()
    went: list[BaseException] = []

    def receive() -> None:
        with open(there_in, "rb") as reader, open(there_out, "wb") as writer:
            try:
                arrivals.receive(root, reader, writer)
            except (EOFError, BrokenPipeError):
                pass
            except BaseException as error:
                went.append(error)

    thread = threading.Thread(target=receive)
    thread.start()
    sent = 0

    class Counted(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            nonlocal sent
            sent += len(data)
            return int(inner.write(data))

        def flush(self) -> None:
            inner.flush()

    with open(here_in, "rb") as reader:
        raw = io.FileIO(here_out, "w")
        inner: Any = raw if cut is None else _Cut(cast(BinaryIO, raw), cut)
        path = None
        with contextlib.suppress(EOFError, BrokenPipeError, ValueError):
            listed = items or (lambda: arrivals.items_of(top))
            path = arrivals.send(reader, cast(BinaryIO, Counted()), KEY, digest, {"seed": {}}, top, listed)
        with contextlib.suppress(OSError, ValueError):
            raw.close()
        thread.join(30)
    assert not went, went
    return path, sent


@settings(max_examples=40, deadline=None)
@given(first=TREES, second=TREES, cuts=st.lists(st.integers(0, 3000), max_size=3))
def test_any_tree_arrives_as_it_is_after_any_other_and_any_breaks(
    first: dict[bytes, Any], second: dict[bytes, Any], cuts: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "root")
        for number, tree in enumerate((first, second)):
            top = Path(place, f"tree{number}")
            _made(os.fsencode(top), tree)
            for cut in cuts:
                _sent(root, top, f"digest {number}", cut)
            path, _ = _sent(root, top, f"digest {number}")
            assert path == str(root / KEY / "tree")
            assert _seen(Path(path)) == _seen(top)
            assert stat.S_IMODE(Path(path).stat().st_mode) == stat.S_IMODE(top.stat().st_mode)
            again, sent = _sent(root, top, f"digest {number}")
            assert again == path and sent < 300  # nothing but the question


def test_only_what_changed_is_sent_and_a_large_file_goes_on_where_it_was(tmp_path: Path) -> None:
    root, top = tmp_path / "root", tmp_path / "tree"
    top.mkdir()
    (top / "large").write_bytes(os.urandom(3_000_000))
    assert _sent(root, top, "1", 2_000_000)[0] is None
    path, sent = _sent(root, top, "1")
    assert path is not None and sent < 1_100_000 and _seen(Path(path)) == _seen(top)
    changed = Path(path, "large").stat().st_ctime_ns
    (top / "small").write_text("more")
    path, sent = _sent(root, top, "2")
    assert path is not None and sent < 2000 and _seen(Path(path)) == _seen(top)
    assert Path(path, "large").stat().st_ctime_ns == changed  # so that the next seed of it shares the file
    # What somebody changed over there is noticed, also under the same size and time.
    there = Path(path, "small")
    info = there.stat()
    there.write_text("MORE")
    os.utime(there, ns=(info.st_atime_ns, info.st_mtime_ns))
    (top / "third").write_text("3")
    path, _ = _sent(root, top, "3")
    assert path is not None and _seen(Path(path)) == _seen(top)


@pytest.mark.parametrize(
    "line",
    [
        ["../out", "file", 0o644, 0, 1, "0" * 64, ""],
        ["/etc/x", "file", 0o644, 0, 1, "0" * 64, ""],
        ["a/../../b", "dir", 0o755, 0, 0, "", ""],
        ["", "dir", 0o755, 0, 0, "", ""],
        ["a\0b", "file", 0o644, 0, 1, "0" * 64, ""],
        ["a", "device", 0o644, 0, 1, "", ""],
        ["a", "file", 0o644, 0, -1, "0" * 64, ""],
        ["a", "file", 0o644, 0, 1, "../../x", ""],
        ["a", "link", 0, 0, 0, "", ""],
        ["a", "file", 0o644, 0, 1, "0" * 64],
        {"a": 1},
        "a" * 70_000,
        7,
    ],
)
def test_a_bad_entry_is_refused_and_writes_nothing_outside(tmp_path: Path, line: Any) -> None:
    begin = {"mirror": KEY, "digest": "d", "origin": {}, "mode": 0o755, "mtime_ns": 1}
    said = b"".join(json.dumps(each).encode() + b"\n" for each in (begin, line, None))
    with pytest.raises((ValueError, EOFError)):
        arrivals.receive(tmp_path / "root", io.BytesIO(said), io.BytesIO())
    assert [p.name for p in tmp_path.iterdir()] == ["root"]


def test_a_tree_of_many_files_is_asked_for(tmp_path: Path) -> None:
    root, top = tmp_path / "root", tmp_path / "tree"
    top.mkdir()
    for number in range(9000):
        (top / f"{number}").touch()
    path, _ = _sent(root, top, "1")
    assert path is not None and len(os.listdir(path)) == 9000


def test_what_is_kept_of_a_source_may_be_long(tmp_path: Path) -> None:
    begin = {
        "mirror": KEY,
        "digest": "d",
        "origin": {"seed": {"skipped": ["x" * 4000] * 100}},
        "mode": 0,
        "mtime_ns": 1,
    }
    said = b"".join(json.dumps(each).encode() + b"\n" for each in (begin, None))
    answer = io.BytesIO()
    arrivals.receive(tmp_path / "root", io.BytesIO(said), answer)
    assert json.loads(answer.getvalue().splitlines()[-1]) == {"path": str(tmp_path / "root" / KEY / "tree")}


@pytest.mark.parametrize(
    "answers",
    [
        [{}, [9, 0], None],
        [{}, [-1, 0], None],
        [{}, [0, 0], [0, 0], None],
        [{}, [0, 99], None],
        [{}, [0, -1], None],
        [{}, [0, "0"], None],
        [{}, 7],
        [{}, None, {}],
        [{"path": 7}],
        ["path"],
    ],
)
def test_who_asks_for_what_was_not_offered_gets_nothing(tmp_path: Path, answers: list[Any]) -> None:
    (tmp_path / "f").write_text("12")
    said = b"".join(json.dumps(each).encode() + b"\n" for each in answers)
    with pytest.raises(ValueError):
        arrivals.send(io.BytesIO(said), io.BytesIO(), KEY, "d", {}, tmp_path, lambda: arrivals.items_of(tmp_path))


def test_why_a_tree_is_not_taken_is_said_though_the_sender_is_still_sending(tmp_path: Path) -> None:
    class Gone(io.BytesIO):
        def flush(self) -> None:
            raise BrokenPipeError

    said = json.dumps({"error": "The tree could not be written there: No space left on device."}).encode() + b"\n"
    with pytest.raises(EngineError, match="No space left"):
        arrivals.send(io.BytesIO(said), Gone(), KEY, "d", {}, tmp_path, list)
    refusal = {"error": Conflict("It is in use.", code="in_use").to_record()}
    with pytest.raises(Conflict, match="in use"):
        arrivals.send(io.BytesIO(json.dumps(refusal).encode() + b"\n"), Gone(), KEY, "d", {}, tmp_path, list)
    with pytest.raises(EOFError):
        arrivals.send(io.BytesIO(), Gone(), KEY, "d", {}, tmp_path, list)


def test_an_entry_behind_a_link_of_the_same_list_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    begin = {"mirror": KEY, "digest": "d", "origin": {}, "mode": 0o755, "mtime_ns": 1}
    link = ["a", "link", 0, 1, 0, "", str(outside)]
    below = ["a/x", "dir", 0o755, 1, 0, "", ""]
    for lines in ([link, below], [link, ["a", "dir", 0o755, 1, 0, "", ""], below], [below]):
        said = b"".join(json.dumps(each).encode() + b"\n" for each in (begin, *lines, None))
        with pytest.raises(ValueError):
            arrivals.receive(tmp_path / "root", io.BytesIO(said), io.BytesIO())
        assert not list(outside.iterdir())


@pytest.mark.parametrize("key", ["", "../../x", "A" * 32, "a" * 100, None, 7])
def test_a_mirror_has_a_plain_name(tmp_path: Path, key: Any) -> None:
    with pytest.raises(ValueError):
        arrivals.receive(tmp_path, io.BytesIO(json.dumps({"mirror": key}).encode() + b"\n"), io.BytesIO())
    assert not list(tmp_path.iterdir())


def test_links_under_the_way_of_a_file_are_not_followed(tmp_path: Path) -> None:
    root, top, outside = tmp_path / "root", tmp_path / "tree", tmp_path / "outside"
    outside.mkdir()
    (top / "a").mkdir(parents=True)
    (top / "a" / "f").write_text("1")
    path, _ = _sent(root, top, "1")
    assert path is not None
    shutil.rmtree(Path(path, "a"))
    Path(path, "a").symlink_to(outside)
    (top / "a" / "g").write_text("2")
    path, _ = _sent(root, top, "2")
    assert path is not None and _seen(Path(path)) == _seen(top) and not list(outside.iterdir())


def test_content_that_is_not_what_was_announced_is_refused(tmp_path: Path) -> None:
    root, top = tmp_path / "root", tmp_path / "tree"
    top.mkdir()
    (top / "f").write_text("other")
    lied = arrivals.items_of(top)
    lied = [arrivals.Item(**{**lied[0].__dict__, "sha256": "0" * 64})]
    with pytest.raises((EngineError, AssertionError)):
        _sent(root, top, "1", items=lambda: lied)
    assert not (root / KEY / "tree" / "f").exists()


def test_a_mirror_that_nobody_uses_goes_and_what_is_no_mirror_stays(tmp_path: Path) -> None:
    root, top = tmp_path / "root", tmp_path / "tree"
    top.mkdir()
    (top / "f").write_text("1")
    assert _sent(root, top, "1")[0] is not None
    (root / "out-abcdefgh").mkdir()
    (root / "out-forgotten").mkdir()
    os.utime(root / "out-forgotten", (0, 0))
    record = root / KEY / "record.json"
    os.utime(record, (0, 0))
    arrivals.sweep(root, keep="b" * 32)
    assert sorted(p.name for p in root.iterdir()) == ["out-abcdefgh"]


def test_what_a_workspace_is_told_is_read_only_of_a_mirror(tmp_path: Path) -> None:
    root, top = tmp_path / "root", tmp_path / "tree"
    top.mkdir()
    path, _ = _sent(root, top, "1")
    assert arrivals.origin_of(root, path) == {"seed": {}}
    assert arrivals.origin_of(root, str(top)) is None and arrivals.origin_of(root, None) is None
    assert arrivals.origin_of(root, f"{root}/../{KEY}/tree") is None
    wholeness.write_new(root / KEY / "record.json", b"[]")
    assert arrivals.origin_of(root, path) is None
