"""Configuration files are changed in one place, and keep every other byte."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp import jsonc
from pyro_mcp.errors import Conflict
from pyro_mcp.hosts.documents import MISSING, JsonDocument, TomlDocument

FILE = Path("config")
ENTRY = {"type": "local", "command": ["/bin/pyro", "mcp", "serve"]}

COMMENTED = """\
// all mine
{
    "$schema": "x", // the schema
    /* models */ "model": "m",
    "mcp": {
        // servers
        "other": {"command": ["a"]}, // keep me
    },
    "last": [1, 2] // no comma
}
// the end
"""


def lines_lost(before: str, after: str) -> set[str]:
    return set(before.splitlines()) - set(after.splitlines())


def test_a_new_entry_leaves_all_lines_of_a_commented_file() -> None:
    document = JsonDocument(FILE, COMMENTED)
    document.put(("mcp", "pyro"), ENTRY)
    assert lines_lost(COMMENTED, document.text) == set()
    assert document.get(("mcp", "pyro")) == ENTRY
    assert '\n        "pyro": {\n            "type": "local",' in document.text


def test_a_member_after_a_last_line_with_a_comment_puts_the_comma_before_the_comment() -> None:
    document = JsonDocument(FILE, COMMENTED)
    document.put(("new",), 1)
    assert '    "last": [1, 2], // no comma\n    "new": 1\n}' in document.text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '{\n  "mcp": {\n    "pyro": 1\n  }\n}\n'),
        ("{}", '{\n  "mcp": {\n    "pyro": 1\n  }\n}'),
        ('{"a": 1}', '{"a": 1, "mcp": {"pyro": 1}}'),
        ('{"a": 1,}', '{"a": 1, "mcp": {"pyro": 1},}'),
        ('{\n\t"a": 1\n}\n', '{\n\t"a": 1,\n\t"mcp": {\n\t\t"pyro": 1\n\t}\n}\n'),
        ("{\n  // nothing yet\n}\n", '{\n  // nothing yet\n  "mcp": {\n    "pyro": 1\n  }\n}\n'),
        ('{\n  "mcp": {}\n}\n', '{\n  "mcp": {\n    "pyro": 1\n  }\n}\n'),
        ('{\n  "a": 1}', '{\n  "a": 1,\n  "mcp": {\n    "pyro": 1\n  }\n}'),
        ('{\r\n  "a": 1\r\n}\r\n', '{\r\n  "a": 1,\r\n  "mcp": {\r\n    "pyro": 1\r\n  }\r\n}\r\n'),
        ('\ufeff{\n  "a": 1\n}', '\ufeff{\n  "a": 1,\n  "mcp": {\n    "pyro": 1\n  }\n}'),
        ('{"mcp": {"pyro": 2}}', '{"mcp": {"pyro": 1}}'),
        (
            '{"s": "// no comment {", "mcp": {"x": "a\\"b"}}',
            '{"s": "// no comment {", "mcp": {"x": "a\\"b", "pyro": 1}}',
        ),
    ],
)
def test_json_of_every_manner_takes_an_entry(before: str, after: str) -> None:
    document = JsonDocument(FILE, before)
    document.put(("mcp", "pyro"), 1)
    assert document.text == after
    again = JsonDocument(FILE, document.text)
    again.put(("mcp", "pyro"), 1)
    assert again.text == after


@pytest.mark.parametrize("text", ['{"a": }', "{", '{"a": 1} x', "[1]", "{'a': 1}", "/* open", '{"a" 1}', "nul"])
def test_broken_json_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(Conflict) as caught:
        JsonDocument(FILE, text)
    assert caught.value.code == "configuration_unreadable"
    assert "left unchanged" in caught.value.message


def test_a_broken_file_is_refused_with_the_line() -> None:
    with pytest.raises(Conflict, match="line 3"):
        JsonDocument(FILE, '{\n  "a": 1,\n  oops\n}')


def test_something_else_where_a_table_should_be_is_refused() -> None:
    with pytest.raises(Conflict):
        JsonDocument(FILE, '{"mcp": "no"}').put(("mcp", "pyro"), 1)


def test_items_come_and_go_in_lists_and_nothing_else_changes() -> None:
    before = '{\n  "deny": [\n    "Read(.env)", // secrets\n    "WebFetch"\n  ]\n}\n'
    document = JsonDocument(FILE, before)
    assert document.append(("deny",), "Bash")
    assert not document.append(("deny",), "Bash")
    assert '    "WebFetch",\n    "Bash"\n  ]' in document.text
    document.drop(("deny",), "Bash")
    assert document.text == before


def test_a_removed_member_takes_its_comma_along() -> None:
    text = '{\n  "a": 1, // one\n  "b": 2\n}\n'
    document = JsonDocument(FILE, text)
    document.remove(("b",))
    assert document.text == '{\n  "a": 1 // one\n}\n'
    document = JsonDocument(FILE, text)
    document.remove(("a",))
    assert document.data == {"b": 2}
    assert "// one" in document.text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('ab"\\/*{,', max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=2), VALUES, max_size=4),
    st.sampled_from([None, 0, 2, "\t"]),
    st.booleans(),
)
def test_any_json_takes_an_entry_and_gives_it_back(data: dict[str, Any], indent: Any, commented: bool) -> None:
    text = json.dumps(data, indent=indent)
    if commented and indent is not None:
        text = re.sub(r"(,?)\n", r"\1 // note, { \n", text)
    document = JsonDocument(FILE, text)
    document.put(("mcp", "pyro"), ENTRY)
    assert document.data == {**data, "mcp": {"pyro": ENTRY}}
    document.remove(("mcp", "pyro"))
    document.remove(("mcp",))
    assert document.data == data
    assert document.text.count("// note") == text.count("// note")


def test_a_reader_never_fails_otherwise_than_by_its_own_error() -> None:
    for cut in range(len(COMMENTED)):
        try:
            jsonc.read(COMMENTED[:cut])
        except jsonc.NotJson:
            pass


# -- TOML

CODEX = """\
# mine
model = "gpt"   # the good one

[mcp_servers.other]
command = "x"
args = [ "a",   # first
  "b" ]

[projects."/home/me"]
trust_level = "trusted"
"""


def test_a_new_table_is_written_at_the_end() -> None:
    document = TomlDocument(FILE, CODEX)
    document.put(("mcp_servers", "pyro"), {"command": "/p", "required": True})
    assert document.text == CODEX + '\n[mcp_servers.pyro]\ncommand = "/p"\nrequired = true\n'


def test_keys_change_where_they_stand_and_comments_stay() -> None:
    text = CODEX + '\n[mcp_servers.pyro] # pyro\ncommand = "old" # was\nenabled_tools = ["x"]\n'
    document = TomlDocument(FILE, text)
    document.merge(("mcp_servers", "pyro"), {"command": "new", "required": True})
    assert lines_lost(text, document.text) == {'command = "old" # was'}
    assert document.get(("mcp_servers", "pyro")) == {"command": "new", "required": True, "enabled_tools": ["x"]}


@pytest.mark.parametrize(
    "text",
    [
        "mcp_servers = { other = { command = 'x' } }\n",
        'mcp_servers.other.command = "x"\n',
        "[mcp_servers]\nother = { command = 'x' }\n",
        "x = 1",
        "",
    ],
)
def test_servers_written_in_another_manner_stay(text: str) -> None:
    document = TomlDocument(FILE, text)
    before = tomllib.loads(text).get("mcp_servers", {})
    document.put(("mcp_servers", "pyro"), {"command": "p"})
    assert tomllib.loads(document.text)["mcp_servers"] == {**before, "pyro": {"command": "p"}}


def test_top_level_keys_stand_before_the_tables() -> None:
    document = TomlDocument(FILE, CODEX)
    document.put(("sandbox_mode",), "read-only")
    assert lines_lost(CODEX, document.text) == set()
    document.remove(("sandbox_mode",))
    assert document.data == tomllib.loads(CODEX)


def test_line_ends_of_windows_stay() -> None:
    text = CODEX.replace("\n", "\r\n")
    document = TomlDocument(FILE, text)
    document.put(("mcp_servers", "pyro"), {"command": "p"})
    document.put(("sandbox_mode",), "read-only")
    document.put(("features", "shell_tool"), False)
    assert "\n" not in document.text.replace("\r\n", "")
    assert lines_lost(text, document.text) == set()


def test_broken_toml_is_refused() -> None:
    with pytest.raises(Conflict, match="cannot be read"):
        TomlDocument(FILE, "[a\n")


def test_what_is_missing_is_told_from_what_is_null() -> None:
    document = JsonDocument(FILE, '{"a": null}')
    assert document.get(("a",)) is None
    assert document.get(("b",)) is MISSING
