"""A project's devcontainer.json: where it stands, what is read of it, and that no text can do harm or raise."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp import jsonc
from pyro_mcp.daemon.handlers.projects import Shape, grown
from pyro_mcp.devcontainers.features import Feature, ordered, place_of
from pyro_mcp.devcontainers.features import dockerfile as feature_dockerfile
from pyro_mcp.devcontainers.features import read as read_feature
from pyro_mcp.devcontainers.find import MAX_BYTES, find
from pyro_mcp.devcontainers.read import MAX_NOTES, MAX_VARIABLES, NEVER, STAGES, Build, Devcontainer, read, ready
from pyro_mcp.devcontainers.script import script
from pyro_mcp.devcontainers.variables import MAX_TEXT, Variables
from pyro_mcp.errors import InvalidInput
from pyro_mcp.visible import visible

BOTH = ".devcontainer/devcontainer.json"


def said(**properties: Any) -> Devcontainer:
    return read(json.dumps(properties).encode())


def put(root: Path, path: str, text: str = "{}") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


# -- where it stands


def test_it_is_found_in_the_places_of_containers_dev_in_their_order(tmp_path: Path) -> None:
    assert find(tmp_path) is None
    put(tmp_path, ".devcontainer/node/devcontainer.json", "[3]")
    assert (found := find(tmp_path)) and (found.path, found.text) == (".devcontainer/node/devcontainer.json", b"[3]")
    put(tmp_path, ".devcontainer/go/devcontainer.json")
    assert (found := find(tmp_path)) and "There are 2 of them" in found.problem and "go" in found.problem
    put(tmp_path, ".devcontainer.json", "[2]")
    assert (found := find(tmp_path)) and (found.text, found.problem) == (b"[2]", "")
    put(tmp_path, BOTH, "[1]")
    assert (found := find(tmp_path)) and (found.path, found.text) == (BOTH, b"[1]")
    # What the seed leaves out does not count.
    assert (found := find(tmp_path, {".devcontainer.json"})) and found.text == b"[2]"
    assert find(tmp_path, set()) is None


def test_no_link_leads_elsewhere_and_nothing_odd_is_opened(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    put(outside, "devcontainer.json", "[1]")
    root = tmp_path / "seed"
    root.mkdir()
    (root / ".devcontainer").symlink_to(outside)
    assert find(root) is None, "through a directory that is a link"
    (root / ".devcontainer.json").symlink_to(outside / "devcontainer.json")
    assert (found := find(root)) and "symbolic link" in found.problem and not found.text
    (root / ".devcontainer.json").unlink()
    os.mkfifo(root / ".devcontainer.json")
    assert find(root) is None
    (root / ".devcontainer.json").unlink()
    put(root, ".devcontainer.json", " " * (MAX_BYTES + 1))
    assert (found := find(root)) and "larger" in found.problem


# -- what is read


def test_comments_trailing_commas_and_every_form_of_a_command() -> None:
    text = b"""// a comment
    {
        "image": "node:22", /* another, */
        "onCreateCommand": "echo // no comment",
        "postCreateCommand": ["npm", "ci"],
        "postStartCommand": {"db": "start db", "web": ["start", "web"],},
    }"""
    found = ready(read(text), "app", {})
    assert [(stage.name, [(s.label, s.command) for s in stage.steps]) for stage in found.stages] == [
        ("onCreateCommand", [("", "echo // no comment")]),
        ("postCreateCommand", [("", ("npm", "ci"))]),
        ("postStartCommand", [("db", "start db"), ("web", ("start", "web"))]),
    ]


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"a":}', b"\xff", b'{"a": "\\ud8"}', b"1" * 5000, b"[" * 500])
def test_what_cannot_be_read_is_a_problem_in_words(text: bytes) -> None:
    assert read(text).problem


def test_what_reaches_this_machine_is_passed_over_by_name() -> None:
    found = said(
        image="a:1", mounts=["source=/,target=/h"], privileged=True, runArgs=["-v", "/:/h"], initializeCommand="x",
        workspaceMount="source=/", capAdd=["SYS_ADMIN"], securityOpt=["a"], appPort=[80],
        postAttachCommand="x", remoteUser="node", odd={"a": 1}, name="quiet", workspaceFolder="/workspaces/app",
    )  # fmt: skip
    names = [each.partition(":")[0] for each in found.passed_over]
    assert sorted(names) == sorted([*(name for name in NEVER if name != "secrets"), "odd", "workspaceFolder"])
    assert not found.stages and not found.container_env
    assert said(remoteUser="root", privileged=False, mounts=[]).passed_over == []


def test_how_the_image_is_made_is_read_and_one_beside_it_counts() -> None:
    assert said(dockerComposeFile="x").problem and not said(dockerComposeFile="x", image="node:22").problem
    old = said(dockerFile="x", context="..")
    assert old.build == Build("x", "..") and not old.problem
    new = said(
        build={
            "dockerfile": "a/D",
            "context": ".",
            "args": {"A": "b", "bad name": "x", "N": 1},
            "target": "t",
            "options": [],
        }
    )
    assert new.build == Build("a/D", ".", (("A", "b"),), "t")
    assert {each.partition(":")[0] for each in new.passed_over} == {
        "build.args.bad name",
        "build.args.N",
        "build.options",
    }
    for wrong in (
        "x",
        {},
        {"dockerfile": ""},
        {"dockerfile": 7},
        {"dockerfile": "a\0b"},
        {"dockerfile": "x", "context": 1},
    ):
        assert said(build=wrong).problem, wrong
        beside = said(build=wrong, image="node:22")
        assert beside.build is None and not beside.problem


def feature(key: str, **more: Any) -> Feature:
    return Feature(key, "f", {}, **more)


def test_features_are_installed_after_what_they_need_and_come_after() -> None:
    one = feature("ghcr.io/a/one:1", after=("ghcr.io/a/two",))
    two = feature("ghcr.io/a/two:2", needs={"./three": {}})
    three, four = feature("./three"), feature("ghcr.io/a/four@sha256:" + "0" * 64)
    keys = [each.key for each in ordered([one, two, three, four], [])]
    assert keys == ["./three", two.key, one.key, four.key]
    assert ordered([one, two, three, four], ["ghcr.io/a/four"])[0] == four
    soft = [feature("./a", after=("./b",)), feature("./b", after=("./a",))]
    assert [each.key for each in ordered(soft, [])] == ["./a", "./b"]
    with pytest.raises(InvalidInput, match="circle"):
        ordered([feature("./a", needs={"./b": {}}), feature("./b", needs={"./a": {}})], [])


@pytest.mark.parametrize(
    "key", ["node", "https://a/b.tgz", "/etc", "oci:/etc", "docker-archive:/x/y", "A B/c", "ghcr.io/UP"]
)
def test_what_is_no_feature_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput):
        place_of(key)


def test_a_feature_is_read_as_the_strangers_text_that_it_is(tmp_path: Path) -> None:
    (tmp_path / "install.sh").write_text("true")
    for text in ("", "[]", "{", "[" * 100_000):
        (tmp_path / "devcontainer-feature.json").write_text(text)
        with pytest.raises(InvalidInput):
            read_feature("./a", "f", tmp_path, {})
    (tmp_path / "devcontainer-feature.json").write_text(
        json.dumps(
            {
                "options": {"a-b": {"default": "x'; touch /y #"}, "9z": {"default": True}, "c": {}, "d": 7},
                "containerEnv": {"OK": 'q"$(id)\\', "BAD NAME": "x", "LINES": "a\nRUN id", "N": 1},
                "installsAfter": ["GHCR.io/X/y:1", 7], "dependsOn": {"./b": {}, "./c": 7}, "mounts": ["x"],
            }
        )
    )  # fmt: skip
    found = read_feature("./a", "f0", tmp_path, {"c": 'two\nlines "', "d": {}})
    assert found.env == {"A_B": "x'; touch /y #", "_Z": "true", "C": 'two\nlines "'}
    assert found.after == ("ghcr.io/x/y",) and list(found.needs) == ["./b"] and "mounts" in found.notes[0]
    lines = feature_dockerfile("debian:12", [found], "bad user\nRUN id").splitlines()
    assert [line.split()[0] for line in lines] == ["FROM", "USER", "COPY", "ENV", "RUN", "RUN"]
    assert lines[3] == 'ENV OK="q\\"$(id)\\\\"'
    (tmp_path / "install.sh").unlink()
    (tmp_path / "install.sh").symlink_to("/bin/true")
    with pytest.raises(InvalidInput):
        read_feature("./a", "f", tmp_path, {})


def test_variables_come_from_the_file_and_the_image_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "of-the-user")
    found = said(
        containerEnv={"A": "${localEnv:TOKEN}", "B": "${env:TOKEN:none}", "P": "${containerEnv:PATH}:/x", "N": 3},
        remoteEnv={"C": "${containerEnv:P}|${containerEnv:MISSING:d}", "U": None, "F": "${localWorkspaceFolder}"},
        onCreateCommand="a ${containerEnv:C} ${HOME} $(id) ${localWorkspaceFolderBasename} ${containerWorkspaceFolder}",
    )
    done = ready(found, "app", {"PATH": "/bin"})
    assert done.env == {"A": "", "B": "none", "P": "/bin:/x", "N": "3", "C": "/bin:/x|d", "F": "/workspace"}
    assert done.stages[0].steps[0].command == "a /bin:/x|d ${HOME} $(id) app /workspace"
    assert any("TOKEN" in note for note in found.notes) and "of-the-user" not in repr((found, done))


def test_a_byte_order_mark_is_none_of_the_text() -> None:
    assert read(b'\xef\xbb\xbf{"image": "a:1"}').image == "a:1"
    assert read('{"image": "a:1" /* \u2028 */, // \u2029\n}'.encode()).image == "a:1"


def test_sizes_ports_and_wishes() -> None:
    found = said(
        hostRequirements={"cpus": 4, "memory": "8gb", "storage": "32gb", "gpu": True},
        forwardPorts=[3000, "db:5432", "x", True, 70000],
        portsAttributes={"3000": {"label": "web\x1b"}, "5432": "db", "1-2": {"label": "no"}},
        customizations={
            "vscode": {"extensions": ["a"]},
            "pyro": {"network": "egress", "allowDomains": ["a.b"], "q": 1},
        },
    )
    assert (found.cpus, found.memory_bytes, found.storage_bytes) == (4, 8 << 30, 32 << 30)
    assert found.ports == ["3000", "5432"]
    assert found.port("3000").startswith("3000 (web") and "\x1b" not in found.port("3000")
    assert found.port("5432") == "5432"
    assert len([each for each in found.passed_over if each.startswith("forwardPorts")]) == 3
    assert "customizations.pyro.q" in found.passed_over and any("gpu" in each for each in found.passed_over)
    assert any("egress" in note for note in found.notes) and any("a.b" in note for note in found.notes)


def test_a_machine_grows_as_asked_but_not_beyond_half_of_this_one(tmp_path: Path) -> None:
    unsaid = Shape(None, None, None)
    asked = said(hostRequirements={"cpus": 1, "memory": "256mb", "storage": "1gb"})
    assert grown(asked, unsaid, tmp_path).whole() == (1, 1024, 20) and asked.notes == []
    greedy = said(hostRequirements={"cpus": 999, "memory": "999tb", "storage": "999tb"})
    cpus, memory, disk = grown(greedy, unsaid, tmp_path).whole()
    assert cpus <= (os.cpu_count() or 1) and disk <= 1024 and len(greedy.notes) == 3
    assert memory << 20 <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    assert grown(greedy, Shape(1, 512, 3), tmp_path).whole() == (1, 512, 3), "what the caller says holds"


def test_no_size_takes_long(tmp_path: Path) -> None:
    begun = time.process_time()
    found = said(hostRequirements={"memory": "1" + " " * 200_000 + "x", "storage": " 40 gb "})
    assert time.process_time() - begun < 5
    assert (found.memory_bytes, found.storage_bytes) == (None, 40 << 30)


# -- any text at all

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
KNOWN = "image build containerEnv remoteEnv forwardPorts hostRequirements customizations pyro cpus memory network"
NAMES = st.sampled_from([*STAGES, *NEVER, *KNOWN.split(), "allowDomains", "workspaceFolder"])
TREES = st.recursive(
    LEAVES | st.text("${}:localEnvcontainerWorkspaceFolder", max_size=60),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES | st.text(max_size=8), inner, max_size=6),
    max_leaves=12,
)


@settings(max_examples=60)
@given(st.dictionaries(NAMES | st.text(max_size=8), TREES, max_size=8))
def test_any_object_is_read_within_bounds(properties: dict[str, Any]) -> None:
    found = read(json.dumps(properties).encode())
    done = ready(found, "app", {"PATH": "/bin"})
    assert len(found.passed_over) <= MAX_NOTES and len(done.env) <= 2 * MAX_VARIABLES
    assert all(len(value) <= MAX_TEXT and "\0" not in value for value in done.env.values())
    for text in (*found.passed_over, *found.notes, found.problem):
        assert visible(text) == text
    script(done.stages, "/bin/sh").encode()


@given(st.binary(max_size=200) | st.text('{}[]",:/*0123456789.eE-+\\utrfalsn \n', max_size=200).map(str.encode))
def test_any_bytes_are_read_or_a_problem(text: bytes) -> None:
    read(text)


@given(TREES)
def test_the_reader_takes_what_json_takes(value: Any) -> None:
    assert jsonc.read(json.dumps(value)).value == json.loads(json.dumps(value))


@given(st.text(max_size=400) | st.text("${}:localEnvX", max_size=80))
def test_what_is_no_variable_stays(text: str) -> None:
    filled = Variables("app").put_in(text)
    if "${" not in text:
        assert filled == text


def test_variables_cannot_grow_without_bound() -> None:
    found = said(
        containerEnv={"A": "x" * MAX_TEXT}, remoteEnv={"B": "${containerEnv:A}" * 1000}, onCreateCommand="true"
    )
    done = ready(found, "app", {})
    assert set(done.env) == {"A"} and any(each.startswith("remoteEnv.B") for each in found.passed_over)
    found = said(containerEnv={f"A{i}": "x" * MAX_TEXT for i in range(9)})
    assert ready(found, "app", {}).env == {} and found.passed_over
    found = said(containerEnv={"A": "x" * 30_000}, postCreateCommand={str(i): "${containerEnv:A}" for i in range(9)})
    assert ready(found, "app", {}).stages == () and any("postCreateCommand" in each for each in found.passed_over)


# -- the script
