"""What is read of a Dockerfile and of a .dockerignore on this machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.builds import context
from pyro_mcp.builds.dockerfile import read
from pyro_mcp.builds.ignoring import ignoring
from pyro_mcp.errors import InvalidInput, PyroError


def images(text: str, **arguments: str) -> tuple[str, ...]:
    return read(text.encode(), arguments, "amd64").images


def test_images_are_found_where_builders_find_them() -> None:
    text = """# syntax=docker/dockerfile:1
# FROM commented
ARG VERSION=22
ARG BASE="node:${VERSION}" OTHER
FROM --platform=$BUILDPLATFORM ${BASE}-bookworm AS build
RUN <<EOF
FROM inside
EOF
COPY --from=golang:1.24 /usr/local/go /go
RUN --mount=type=bind,from=alpine:3,target=/x \\
    # a comment within
    echo FROM nothing
FROM scratch
COPY --from=build /a /b
COPY --from=0 /a /b
FROM BUILD as last
from ${OTHER:-debian:13}
"""
    assert images(text) == ("node:22-bookworm", "golang:1.24", "alpine:3", "debian:13")
    assert images(text, VERSION="20", OTHER="kit")[::3] == ("node:20-bookworm", "kit")
    found = read(text.encode(), {}, "amd64")
    assert found.stages == ("build", "", "last", "")
    named = found.named({image: f"base-{number}" for number, image in enumerate(found.images)})
    assert "FROM base-0 AS build\n" in named and "FROM base-3\n" in named and "FROM inside\n" in named
    assert "COPY --from=base-1 /usr/local/go /go" in named and "from=base-2,target" in named
    assert "FROM scratch\n" in named and "FROM BUILD AS last\n" in named and "--from=build /a" in named


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no FROM"),
        ("RUN true\n", "no FROM"),
        ("FROM $NOTHING\n", "--build-arg"),
        ("FROM\n", "not FROM IMAGE"),
        ("FROM a b\n", "not FROM IMAGE"),
        ("FROM a\0b\n", "NUL"),
        ("ARG X=$(id)\nFROM $X\n", "names no image"),
        ("FROM a\x1b[2Jb\n", "names no image"),
        ("".join(f"FROM image{n}\n" for n in range(40)), "more than 32"),
    ],
)
def test_what_is_no_dockerfile_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        images(text)
    assert words in f"{refused.value.message} {refused.value.hint}" and "\x1b" not in refused.value.message


@given(st.binary(max_size=400) | st.text(alphabet="FROM COPY RUN<>=-\\\n#$:{}\"'`aA0", max_size=300).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        found = read(data, {}, "amd64")
    except PyroError:
        return
    again = found.named({image: image for image in found.images})
    assert read(again.encode(), {}, "amd64").images == found.images


@pytest.mark.parametrize(
    ("patterns", "out", "stays"),
    [
        ("node_modules", ["node_modules", "node_modules/a/b"], ["a/node_modules", "node_modules2"]),
        ("**/node_modules", ["node_modules/x", "a/b/node_modules/x"], ["a/b"]),
        ("/a/../b/", ["b", "b/c"], ["a"]),
        ("*.md\n!README.md", ["a.md"], ["README.md", "x/a.md"]),
        ("a/**", ["a/b", "a/b/c"], ["a"]),
        ("**/*.log", ["a.log", "x/y.log"], ["a.txt"]),
        ("*\n!src\nsrc/*.o", ["a", "src/x.o"], ["src", "src/x.c"]),
        ("temp?\n# temp9\n\n[^a]x", ["temp1", "bx"], ["temp", "temp10", "ax"]),
        (".", ["a", "a/b"], []),
        ("..\n../x\n!", [], ["x"]),
        ("a\\*b", ["a*b"], ["axb"]),
    ],
)
def test_a_dockerignore_holds_as_dockers_does(patterns: str, out: list[str], stays: list[str]) -> None:
    ignored = ignoring(patterns)
    assert [path for path in out if not ignored(path)] == [] and [path for path in stays if ignored(path)] == []


def test_no_pattern_takes_long() -> None:
    ignored = ignoring("\n".join(["**/" * 200 + "*a*a*a*a*a*a*a*a*a*b"] * 20))
    begun = time.process_time()
    assert not any(ignored("/".join(["a" * 200] * 60) + str(n)) for n in range(5))
    assert time.process_time() - begun < 5


def test_one_pattern_as_long_as_a_file_may_be_does_not_take_long() -> None:
    ignored = ignoring("**/" * 80_000 + "x/x")
    begun = time.process_time()
    assert not any(ignored(f"a/b/c/d/{n}") for n in range(200)) and ignored("a/x/x") and not ignored("a/x")
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    "text",
    [
        "ARG " + "a" * 10**6 + "!\nFROM a\n",
        "ARG " + 'a="' * 250_000 + "\nFROM a\n",
        "# a=x" + " " * 10**6 + "y\nFROM a\n",
        "".join(f"FROM scratch AS s{number}\nCOPY x y\n" for number in range(30_000)) + "FROM a\n",
        "ARG A=xx\n" + "ARG A=$A$A\n" * 60 + "FROM a\n",
        "ARG A=" + "x" * 4000 + "\nARG B=" + "$A" * 400_000 + "\nFROM a\n",
    ],
)
def test_no_dockerfile_takes_long(text: str) -> None:
    begun = time.process_time()
    assert images(text) == ("a",)
    assert time.process_time() - begun < 5


def test_a_context_is_listed_without_what_stays_out_and_opens_nothing_through_links(tmp_path: Path) -> None:
    root = tmp_path / "context"
    for path in ("src/a.c", "src/deep/keep", "src/deep/drop", ".env", "secrets/key"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    (root / ".dockerignore").write_text(".env\nsecrets\nsrc/deep\n!src/deep/keep\n")
    (root / "link").symlink_to("/etc/passwd")
    os.mkfifo(root / "pipe")
    found = context.scan(str(root)).plan
    assert found is not None and found.lister is not None
    for plan in (found, found.lister()):
        paths = [entry.path for entry in plan.entries]
        assert sorted(paths) == ["", ".dockerignore", "link", "src", "src/a.c", "src/deep", "src/deep/keep"]
        assert paths.index("src/deep") < paths.index("src/deep/keep") and plan.skipped == ["pipe (FIFO)"]
    assert next(entry for entry in found.entries if entry.path == "link").link == "/etc/passwd"
    (root / ".dockerignore").unlink()
    (root / ".dockerignore").symlink_to("/etc/hostname")
    with pytest.raises(InvalidInput, match="not known"):
        context.scan(str(root))
    for place in ("/", "/etc", "/proc/self"):
        with pytest.raises(InvalidInput):
            context.scan(place)
