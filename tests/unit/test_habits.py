"""Names that models bring from other tools are taken where they mean one thing, and never change what is done."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import InvalidInput
from pyro_mcp.mcp.habits import ALIASES, BACKGROUND, IGNORED, INSTEAD, TIMEOUTS, instead, shaped, taken
from pyro_mcp.mcp.schema import offered, operations_of

EXEC = ("workspace", "command", "cwd", "background", "secret_env", "timeout_seconds", "wait_seconds")
WRITE = ("workspace", "path", "text", "executable")


@pytest.mark.parametrize(
    ("given", "meant", "notes"),
    [
        ({"cmd": "ls", "workdir": "src"}, {"command": "ls", "cwd": "src"}, 0),
        ({"command": "ls", "working_directory": "/workspace/a"}, {"command": "ls", "cwd": "/workspace/a"}, 0),
        ({"command": '["bash","-lc","echo hi"]'}, {"command": ["bash", "-lc", "echo hi"]}, 0),
        ({"command": "[ -f x ] && echo y"}, {"command": "[ -f x ] && echo y"}, 0),
        ({"command": "[1, 2]"}, {"command": "[1, 2]"}, 0),
        ({"command": "ls", "timeout": 120000}, {"command": "ls", "timeout_seconds": 120.0}, 1),
        ({"command": "ls", "timeout": 60}, {"command": "ls", "timeout_seconds": 60}, 1),
        ({"command": "ls", "timeout_ms": 500}, {"command": "ls", "timeout_seconds": 0.5}, 0),
        ({"command": "ls", "description": "List"}, {"command": "ls"}, 1),
        ({"command": "ls", "run_in_background": True}, {"command": "ls", "background": True}, 0),
        ({"command": "ls", "is_background": "false"}, {"command": "ls", "background": False}, 0),
        ({"command": "ls", "workspaceId": "w"}, {"command": "ls", "workspace": "w"}, 0),
        ({"command": "ls", "cmd": "ls"}, {"command": "ls"}, 0),
        ({"command": "ls", "comand": "x"}, {"command": "ls", "comand": "x"}, 0),
        ({"command": "ls", "comand": None, "timeout": None}, {"command": "ls"}, 0),
        ({"command": "ls", "timeout": "120000"}, {"command": "ls", "timeout_seconds": 120.0}, 1),
        ({"command": "ls", "timeoutMs": "500"}, {"command": "ls", "timeout_seconds": 0.5}, 0),
        ({"command": "ls", "timeout": "2m"}, {"command": "ls", "timeout_seconds": 120.0}, 1),
        ({"command": "ls", "yield_time_ms": 1000}, {"command": "ls", "wait_seconds": 1.0}, 0),
        ({"command": "ls", "shell": "bash", "tty": "false", "login": True}, {"command": "ls"}, 3),
        ({"command": "ls", "shell": "fish"}, {"command": "ls", "shell": "fish"}, 0),
        ({"command": "ls", "with_escalated_permissions": True, "justification": "j"}, {"command": "ls"}, 2),
        ({"command": "ls", "name": "w"}, {"command": "ls", "workspace": "w"}, 0),
        ({"command": {"command": "ls"}}, {"command": "ls"}, 0),
        ({"command": '{"cmd": ["ls", "-l"]}'}, {"command": ["ls", "-l"]}, 0),
        ({"command": ["cd /tmp && ls"]}, {"command": "cd /tmp && ls"}, 0),
        ({"command": ["/opt/my program"]}, {"command": ["/opt/my program"]}, 0),
        ({"command": '["bash", "-lc", ["ls"]]'}, {"command": ["bash", "-lc", "ls"]}, 0),
        ({"command": "```bash\nls\n```"}, {"command": "ls"}, 0),
        ({"command": "{ ls; }"}, {"command": "{ ls; }"}, 0),
    ],
)
def test_what_a_command_is_given(given: dict[str, Any], meant: dict[str, Any], notes: int) -> None:
    found, said = taken(given, EXEC)
    assert (found, len(said)) == (meant, notes)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    "given",
    [
        {"command": "ls", "cmd": "rm -r x"},
        {"cwd": "a", "workdir": "b"},
        {"workdir": "a", "working_directory": "b"},
        {"timeout_seconds": 5, "timeout_ms": 100},
        {"background": False, "run_in_background": True},
        {"timeout": "soon"},
    ],
)
def test_what_could_mean_two_things_is_refused(given: dict[str, Any], order: int) -> None:
    with pytest.raises(InvalidInput):
        taken(dict(list(given.items())[::order]), EXEC)


def test_files_are_written_by_any_name() -> None:
    assert taken({"filePath": "a", "content": "x", "workspace": "w"}, WRITE)[0] == {
        "path": "a",
        "text": "x",
        "workspace": "w",
    }
    # What only explains is never a reason to refuse, even where nothing can say that it was left out.
    assert taken({"path": "a", "description": "d", "nothing": None}, WRITE, can_note=False) == ({"path": "a"}, [])


SEARCH = ("workspace", "pattern", "path", "glob", "literal", "ignore_case", "context", "files_only", "limit")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"query": "x", "include": "*.py"}, {"pattern": "x", "glob": "*.py"}),
        (
            {"pattern": "x", "-i": True, "-n": True, "-A": 1, "-C": "2"},
            {"pattern": "x", "ignore_case": True, "context": 2},
        ),
        ({"pattern": "x", "output_mode": "files_with_matches"}, {"pattern": "x", "files_only": True}),
        ({"pattern": "x", "output_mode": "content", "head_limit": 5}, {"pattern": "x", "limit": 5}),
        ({"pattern": "x", "output_mode": "count"}, {"pattern": "x", "output_mode": "count"}),
        ({"pattern": "x", "type": "py"}, {"pattern": "x", "glob": ["*.py"]}),
        ({"pattern": "x", "caseSensitive": "false"}, {"pattern": "x", "ignore_case": True}),
        ({"pattern": "x", "path": ["src"]}, {"pattern": "x", "path": "src"}),
    ],
)
def test_what_a_search_is_given(given: dict[str, Any], meant: dict[str, Any]) -> None:
    assert taken(given, SEARCH)[0] == meant


@pytest.mark.parametrize(
    ("value", "kind", "of_objects", "expected"),
    [
        ("*.py", "list", False, ["*.py"]),
        ('["a", "b"]', "list", False, ["a", "b"]),
        ("[ab].py", "list", False, ["[ab].py"]),
        ([{"path": "a"}], "list", False, ["a"]),
        ({"oldString": "a", "new_str": "b"}, "list", True, [{"old_string": "a", "new_string": "b"}]),
        ('[{"old": "a", "new": "", "replaceAll": "true"}]', "list", True,
         [{"old_string": "a", "new_string": "", "replace_all": True}]),
        (["A=1", "B=x=y"], "dict", False, {"A": "1", "B": "x=y"}),
        ('{"A": 1}', "dict", False, {"A": "1"}),
        ("[1]", "string", False, "[1]"),
    ],
)  # fmt: skip
def test_values_take_the_shape_of_their_parameter(value: Any, kind: str, of_objects: bool, expected: Any) -> None:
    assert shaped(value, kind, of_objects) == expected


def test_no_alias_is_a_parameter_of_another_meaning_or_in_a_schema() -> None:
    aliases = {name for names in ALIASES.values() for name in names} | {*TIMEOUTS, *BACKGROUND, *IGNORED}
    for operation in operations_of("workspace-full"):
        names = [p.name for p in offered(operation)]
        for name in names:
            assert taken({name: "x"}, names)[0] == {name: "x"}, "our own names always mean themselves"
    assert not aliases & {"command", "cwd", "text", "path", "workspace", "timeout_seconds", "wait_seconds"}


@given(st.dictionaries(st.sampled_from([*EXEC, "cmd", "workdir", "x", "timeout", "description"]), st.integers(1, 9)))
def test_nothing_is_lost_in_silence(arguments: dict[str, Any]) -> None:
    try:
        found, notes = taken(arguments, EXEC)
    except InvalidInput:
        return
    assert len(found) + len(notes) >= len(set(arguments.values())) - 1
    for name in EXEC:
        if name in arguments:
            assert found[name] == arguments[name]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"view_range": "[5, 7]"}, {"offset": 5, "limit": 3}),
        ({"start_line": "5", "end_line": "6"}, {"offset": 5, "limit": 2}),
        ({"offset": "3", "end_line": 4}, {"offset": 3, "limit": 2}),
        ({"view_range": "[005, 07]", "offset": None}, {"offset": 5, "limit": 3}),
        ({"start_line": "05"}, {"offset": 5}),
        ({"view_range": "5-7"}, {"view_range": "5-7"}),
        ({"end_line": "last"}, {"end_line": "last"}),
    ],
)
def test_lines_that_were_written_as_text_are_lines(given: dict[str, Any], meant: dict[str, Any]) -> None:
    assert taken(given, ["path", "paths", "offset", "limit", "byte_offset"])[0] == meant


def test_what_an_unknown_parameter_was_to_say_is_never_answered_by_leaving_it_out() -> None:
    for name, (needed, said) in INSTEAD.items():
        assert instead(name, [needed]) == said
        assert instead(name, ["workspace"]) == ""
        assert taken({name: "x"}, [needed]) == ({name: "x"}, [])
    tools = [[p.name for p in offered(operation)] for operation in operations_of("workspace-full")]
    assert all(any(needed in names for names in tools) for needed, _ in INSTEAD.values())
