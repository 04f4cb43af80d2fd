"""What a try is given, what it says of a failure, and how large a change is between two moments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import InvalidInput
from pyro_mcp.patches.diff import DiffEntry, FileVersion
from pyro_mcp.workspaces.alternatives import LINE_CHARACTERS, LINES, between, failing_lines, read_alternatives

PYTEST = """\
F.                                                              [100%]
=================================== FAILURES ===================================
    def test_even():
>       assert median([4, 1, 3, 2]) == 2.5
E       assert 3 == 2.5
test_stats.py:9: AssertionError
=========================== short test summary info ============================
FAILED test_stats.py::test_even - assert 3 == 2.5
1 failed, 1 passed in 0.03s
"""
OUTPUTS = {
    PYTEST: ("FAILED test_stats.py::test_even - assert 3 == 2.5", "1 failed, 1 passed in 0.03s"),
    "ok\n--- FAIL: TestMedian (0.00s)\n    stats_test.go:9: got 3\nFAIL\n": ("--- FAIL: TestMedian (0.00s)",),
    "main.c:3:5: error: 'x' undeclared\nmake: *** [all] Error 1\n": ("main.c:3:5: error: 'x' undeclared",),
    "error[E0308]: mismatched types\n": ("error[E0308]: mismatched types",),
    "thread 'main' panicked at src/main.rs:2\n": ("thread 'main' panicked at src/main.rs:2",),
    "nothing that tells\nof anything\n": ("nothing that tells", "of anything"),
    "": (),
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_telling_lines_are_named(output: str) -> None:
    found = failing_lines(output)
    assert set(OUTPUTS[output]) <= set(found) and len(found) <= LINES


@given(st.text())
def test_any_output_gives_few_short_lines_of_its_own(output: str) -> None:
    found = failing_lines(output)
    assert len(found) <= LINES and all(len(line) <= LINE_CHARACTERS for line in found)


def test_alternatives_are_read_by_the_names_that_models_use() -> None:
    found = read_alternatives([{"diff": "x"}, {"command": "ls"}, {"name": "n", "commands": "ls", "patch": None}])
    assert [(one.name, one.patch, one.commands) for one in found] == [
        ("", "x", ()),
        ("", None, ("ls",)),
        ("n", None, ("ls",)),
    ]
    with pytest.raises(InvalidInput, match="both commands and command"):
        read_alternatives([{"command": "a", "commands": ["b"]}])


VERSIONS = st.none() | st.builds(FileVersion, st.just("file"), st.binary(max_size=2))
TREES = st.dictionaries(st.sampled_from("abc"), VERSIONS.filter(lambda version: version is not None))


@given(TREES, TREES, TREES)
def test_a_change_between_two_moments_leads_from_the_one_to_the_other(
    base: dict[str, FileVersion], then: dict[str, FileVersion], now: dict[str, FileVersion]
) -> None:
    def since(tree: dict[str, FileVersion]) -> list[DiffEntry]:
        return [
            DiffEntry(path, base.get(path), tree.get(path))
            for path in base.keys() | tree.keys()
            if base.get(path) != tree.get(path)
        ]

    moved = dict(then)
    for entry in between(since(then), since(now)):
        assert moved.get(entry.path) == entry.old != entry.new
        if entry.new is None:
            del moved[entry.path]
        else:
            moved[entry.path] = entry.new
    assert moved == now
