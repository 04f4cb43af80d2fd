"""`pyro env suggest`: what it makes of a project's manifests can be read by what reads a devcontainer.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.devcontainers.read import Devcontainer, read, ready
from pyro_mcp.devcontainers.suggest import suggest
from pyro_mcp.environments.catalog import CATALOG
from pyro_mcp.environments.oci.reference import parse


def of(root: Path, files: dict[str, str]) -> Devcontainer:
    for name, text in files.items():
        (root / name).write_text(text)
    found = read(suggest(root).content.encode())
    assert not found.problem and not found.passed_over and found.image is not None
    assert found.image in CATALOG or parse(found.image).official, "nothing that the user would have to pull first"
    return found


def asked(least: str) -> str:
    return f'[project]\nname = "a"\nrequires-python = "{least}"\n'


@pytest.mark.parametrize(
    ("files", "image", "command"),
    [
        ({"requirements.txt": "x"}, "debian:12", "-r requirements.txt"),
        ({"pyproject.toml": asked(">=3.9")}, "debian:12", "-e ."),
        ({"pyproject.toml": asked(">=3.12"), "uv.lock": ""}, "python:3.13-bookworm", "uv sync"),
        ({"pyproject.toml": asked(">=3.8,<3.11"), "poetry.lock": ""}, "python:3.10-bookworm", "poetry install"),
        ({"pyproject.toml": asked("==3.12.*")}, "python:3.12-bookworm", "-e ."),
        ({"pyproject.toml": "not [ toml", "requirements.txt": ""}, "debian:12", "-r requirements.txt"),
        ({"setup.py": "", ".python-version": "3.10.4\n"}, "python:3.10-bookworm", "-e ."),
        ({"package.json": "{}", "package-lock.json": "{}"}, "node:22-bookworm", "npm ci"),
        ({"package.json": '{"engines": {"node": ">=18"}}'}, "node:22-bookworm", "npm install"),
        ({"package.json": '{"engines": {"node": "^20.1"}}', "yarn.lock": ""}, "node:20-bookworm", "yarn install"),
        ({"package.json": "[", ".nvmrc": "v18.2\n", "pnpm-lock.yaml": ""}, "node:18-bookworm", "pnpm install"),
        ({"go.mod": "module a\n\ngo 1.24.1\n"}, "golang:1.24-bookworm", "go mod download"),
        ({"Cargo.toml": "", "rust-toolchain": "1.80.0"}, "rust:1.80-bookworm", "cargo fetch"),
        ({"pom.xml": "<java.version>17</java.version>"}, "maven:3-eclipse-temurin-17", "mvn"),
        ({"build.gradle.kts": "", "gradlew": ""}, "eclipse-temurin:21", "./gradlew"),
        ({"Gemfile": "", ".ruby-version": "ruby-3.3.1"}, "ruby:3.3-bookworm", "bundle install"),
        ({"composer.json": "{}"}, "composer:2", "composer install"),
        ({"CMakeLists.txt": "project(a)"}, "debian:12-build", ""),
        ({}, "debian:12", ""),
    ],
)
def test_manifests_give_an_image_and_a_command(tmp_path: Path, files: dict[str, str], image: str, command: str) -> None:
    found = of(tmp_path, files)
    assert found.image == image
    stages = ready(found, "a", {}).stages
    assert [stage.name for stage in stages] == (["updateContentCommand"] if command else [])
    assert not command or command in str(stages[0].steps[0].command)
    assert bool(command) == any("egress" in note for note in found.notes), "the wish for a network is said, not granted"


def test_a_second_language_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "go.mod").symlink_to("/etc/passwd")
    made = suggest(tmp_path)
    assert made.found == ("requirements.txt", "package.json") and "node:22-bookworm" in made.content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["go.mod", "package.json", "requirements.txt"]
    (tmp_path / ".devcontainer.json").write_text(made.content)
    assert "already has one" in suggest(tmp_path).content


NAMES = (
    "pyproject.toml .python-version package.json .nvmrc go.mod Cargo.toml rust-toolchain pom.xml Gemfile .ruby-version"
)


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(NAMES.split()),
        st.text(max_size=60)
        | st.sampled_from(['{"engines": 3}', "[project]\nrequires-python=3", "go 99999999999.9999", "3.99"])
        | st.recursive(st.none(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=4).map(json.dumps),
        max_size=4,
    )
)  # fmt: skip
def test_any_manifests_give_what_can_be_read(tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]) -> None:
    of(tmp_path_factory.mktemp("p"), {name: text.encode("utf-8", "replace").decode() for name, text in files.items()})
