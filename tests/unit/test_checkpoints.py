"""The list of checkpoints: bounded, whole after any death, and each state as it was."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.files import checkpoints
from pyro_mcp.files.checkpoints import Checkpoints

PATHS = st.sampled_from(["a", "b/c", "d\udce9", "e f"])
STATE = st.one_of(st.none(), st.just({"kind": "absent"}), st.integers(0, 3).map(lambda n: {"kind": "file", "mode": n}))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(PATHS, STATE, min_size=1), max_size=12), st.integers(1, 5), st.binary(max_size=20))
def test_every_state_that_is_kept_is_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, changes: list[dict[str, Any]], most: int, torn: bytes
) -> None:
    directory = tmp_path_factory.mktemp("kept") / "x"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "MOST", most)
        kept = Checkpoints(directory)
        states: list[dict[str, Any]] = [{}]
        for changed in changes:
            kept.add("something", changed)
            now = {**states[-1], **changed}
            states.append({path: state for path, state in now.items() if state is not None})
        if changes and torn.strip() and b"\n" not in torn:
            with (directory / "list").open("ab") as file:
                file.write(b"{" + torn)  # killed while it wrote
        again = Checkpoints(directory)
        assert len(again.list) == min(most, len(changes))
        assert again.now == states[-1]
        for number, state in enumerate(states):
            expected = state if number >= again.first.number else None
            assert again.at(number) == expected
            assert kept.at(number) == expected


def test_what_is_kept_after_a_line_was_cut_off_is_there_the_next_time(tmp_path: Path) -> None:
    before = Checkpoints(tmp_path / "x")
    for number in range(3):
        before.add("w", {f"f{number}": {"kind": "absent"}})
    whole = (tmp_path / "x" / "list").read_bytes()
    last = whole.rstrip().rindex(b"\n") + 1
    for end in range(last, len(whole) + 1):
        (tmp_path / "x" / "list").write_bytes(whole[:end])
        after = Checkpoints(tmp_path / "x")
        after.add("later", {"g": {"kind": "absent"}})
        assert Checkpoints(tmp_path / "x").now == after.now and "g" in after.now
        assert [one.what for one in Checkpoints(tmp_path / "x").list][-1] == "later"


def test_contents_are_bounded_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MOST_BYTES", 10_000)
    kept = Checkpoints(tmp_path / "x")
    names = []
    for number in range(40):
        names.append(kept.keep(bytes([number]) * 1000))
        kept.add("w", {"f": {"kind": "file", "mode": 0o644, "sha256": names[-1], "size": 1000}})
    stored = list((tmp_path / "x" / "contents").iterdir())
    assert sum(file.stat().st_size for file in stored) <= 10_000 and kept.bytes <= 10_000
    assert kept.content(names[-1]) == bytes([39]) * 1000 and kept.content(names[0]) is None
    assert kept.keep(bytes([39]) * 1000) == names[-1]  # once more costs nothing
    assert {file.stat().st_mode & 0o777 for file in stored} == {0o600}
    (tmp_path / "x" / "contents" / names[-1]).write_bytes(b"damaged")
    assert kept.content(names[-1]) is None
    assert Checkpoints(tmp_path / "x").now["f"]["sha256"] == names[-1]


def test_a_clock_that_is_set_ends_nothing_that_can_be_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    kept = Checkpoints(tmp_path / "x")
    for ahead in (0, 400 * 86400, -400 * 86400, 40 * 365 * 86400):
        monkeypatch.setattr(time, "time", lambda ahead=ahead: now + ahead)
        kept.add("something", {"a": {"kind": "absent"}})
        assert [one.number for one in Checkpoints(tmp_path / "x").list] == [one.number for one in kept.list]
    assert len(kept.list) == 4
    for _ in range(checkpoints.YOUNG):  # old ones still go
        kept.add("something", {"a": {"kind": "absent"}})
    assert len(kept.list) == checkpoints.YOUNG + 1  # the fourth is of this clock
