"""A devcontainer.json for a project that has none, from what its manifests say. Nothing of the project is run.

Images are Docker's official ones, which any workspace may begin with. The text is commented, for a person to keep and
change.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pyro_mcp.devcontainers.find import find, read_below
from pyro_mcp.devcontainers.read import shortened

MAX_BYTES = 1024 * 1024
"""Of a manifest; what is longer is not looked into."""
Read = Callable[[str], str | None]
"""The text of a file in the project's directory; None when it has none."""


@dataclass(frozen=True)
class Language:
    """What one language of the project needs."""

    name: str
    because: str
    """The file that says so."""
    image: str
    command: str


@dataclass(frozen=True)
class Suggestion:
    """The text, and what led to it."""

    content: str = field(repr=False)
    found: tuple[str, ...] = ()


def suggest(root: Path) -> Suggestion:
    """A devcontainer.json for the project in `root`. Blocks."""

    def text_of(name: str) -> str | None:
        data = read_below(root, name, MAX_BYTES + 1)
        return None if data is None or len(data) > MAX_BYTES else data.decode("utf-8", "replace")

    languages = [found for look in _LANGUAGES if (found := look(text_of)) is not None]
    return Suggestion(_written(root.name, languages, find(root) is not None), tuple(each.because for each in languages))


def _written(name: str, languages: list[Language], has_one: bool) -> str:
    lines = ["// Suggested by `pyro env suggest`; save it as .devcontainer/devcontainer.json."]
    if has_one:
        lines.append("// The project already has one, which `pyro workspace create` uses.")
    first = languages[0] if languages else Language("", "", "debian:12", "")
    if not languages:
        lines.append("// No manifest was found that shows what the project is built with.")
    properties: list[tuple[str, object, str]] = [
        ("name", shortened(name, 64) or "project", ""),
        ("image", first.image, f"{first.name}: {first.because}" if languages else ""),
    ]
    lines.append("{")
    for other in languages[1:]:
        needs = f"{other.name} ({other.because}): {other.image}, `{other.command}`"
        lines.append(f"  // Also found, but not in this image: {needs}")
    if first.command:
        properties.append(("updateContentCommand", first.command, ""))
        properties.append(
            (
                "customizations",
                {"pyro": {"network": "egress"}},
                "the set-up fetches packages; only the caller can allow that",
            )
        )
    for place, (key, value, why) in enumerate(properties):
        comma = "," if place < len(properties) - 1 else ""
        lines.append(f"  {json.dumps(key)}: {json.dumps(value)}{comma}" + (f" // {why}" if why else ""))
    return "\n".join([*lines, "}"]) + "\n"


# -- languages, the likeliest first


def _version(text: str | None, pattern: str = r"([0-9]+(?:\.[0-9]+)?)") -> str | None:
    match = re.search(pattern, text) if text else None
    return match[1] if match and len(match[1]) <= 8 else None


def _python(read: Read) -> Language | None:
    because = next((name for name in _PYTHON if read(name) is not None), None)
    if because is None:
        return None
    try:
        project = tomllib.loads(read("pyproject.toml") or "")
    except (tomllib.TOMLDecodeError, RecursionError):
        project = {}
    about = project.get("project")
    asked = about.get("requires-python") if isinstance(about, dict) else None
    pinned = _version(read(".python-version"), r"^\s*(3\.[0-9]+)")
    image = _python_image(pinned, asked if isinstance(asked, str) else "")
    make = "python3 -m venv .venv && .venv/bin/pip install "
    install = "-r requirements.txt"
    if read("uv.lock") is not None:
        install = "uv && .venv/bin/uv sync"
    elif read("poetry.lock") is not None:
        install = "poetry && .venv/bin/poetry install"
    elif read("Pipfile.lock") is not None:
        install = "pipenv && .venv/bin/pipenv sync --dev"
    elif read("requirements.txt") is None:
        install = (
            "-e ." if because in ("pyproject.toml", "setup.py", "setup.cfg") else "pipenv && .venv/bin/pipenv install"
        )
    return Language("Python", because, image, make + install)


def _python_image(pinned: str | None, asked: str) -> str:
    """debian:12 where its Python will do, for it is pyro's own."""
    if pinned is not None:
        return "debian:12" if pinned == "3.11" else f"python:{pinned}-bookworm"
    least = int(_version(asked, r"(?:>=?|~=|==)\s*3\.([0-9]{1,2})") or 0)
    below = int(_version(asked, r"<\s*3\.([0-9]{1,2})") or 99)
    if "==" in asked and least:
        below = least + 1
    if least <= 11 < below:
        return "debian:12"
    return f"python:3.{min(max(least, 13), max(below - 1, least))}-bookworm"


def _node(read: Read) -> Language | None:
    if read("package.json") is None:
        return None
    major = _version(read(".nvmrc") or read(".node-version"), r"^\s*v?([0-9]{2})\b")
    if major is None:
        try:
            engines = json.loads(read("package.json") or "").get("engines")
            wanted = engines.get("node") if isinstance(engines, dict) else None
        except (ValueError, AttributeError, RecursionError):
            wanted = None
        major = _version(wanted if isinstance(wanted, str) else None, r"^\s*(?:\^|~|=|v)?\s*([0-9]{2})\b")
    command = "npm install"
    if read("package-lock.json") is not None or read("npm-shrinkwrap.json") is not None:
        command = "npm ci"
    elif read("pnpm-lock.yaml") is not None:
        command = "corepack enable && pnpm install --frozen-lockfile"
    elif read("yarn.lock") is not None:
        command = "corepack enable && yarn install --immutable || yarn install --frozen-lockfile"
    return Language("Node", "package.json", f"node:{major or 22}-bookworm", command)


def _go(read: Read) -> Language | None:
    text = read("go.mod")
    if text is None:
        return None
    version = _version(text, r"(?m)^go\s+([0-9]+\.[0-9]+)")
    return Language("Go", "go.mod", f"golang:{version or 1}-bookworm", "go mod download")


def _rust(read: Read) -> Language | None:
    if read("Cargo.toml") is None:
        return None
    chosen = read("rust-toolchain.toml") or read("rust-toolchain")
    version = _version(chosen, r"\b(1\.[0-9]+)")
    return Language("Rust", "Cargo.toml", f"rust:{version or 1}-bookworm", "cargo fetch")


def _java(read: Read) -> Language | None:
    pom = read("pom.xml")
    if pom is not None:
        asked = _version(pom, r"<(?:maven\.compiler\.release|java\.version|release)>\s*([0-9]{1,2})\s*<")
        release = asked if asked in ("8", "11", "17", "21") else "21"
        return Language("Java", "pom.xml", f"maven:3-eclipse-temurin-{release}", "mvn -q dependency:go-offline")
    gradle = next((name for name in ("build.gradle", "build.gradle.kts") if read(name) is not None), None)
    if gradle is None:
        return None
    if read("gradlew") is not None:
        return Language("Java", gradle, "eclipse-temurin:21", "sh ./gradlew --quiet dependencies")
    return Language("Java", gradle, "gradle:8-jdk21", "gradle --quiet dependencies")


def _ruby(read: Read) -> Language | None:
    if read("Gemfile") is None:
        return None
    version = _version(read(".ruby-version"), r"^\s*(?:ruby-)?([0-9]\.[0-9]+)")
    return Language("Ruby", "Gemfile", f"ruby:{version or '3.4'}-bookworm", "bundle install")


def _php(read: Read) -> Language | None:
    return None if read("composer.json") is None else Language("PHP", "composer.json", "composer:2", "composer install")


def _c(read: Read) -> Language | None:
    found = next((name for name in ("CMakeLists.txt", "meson.build", "configure.ac", "Makefile") if read(name)), None)
    return None if found is None else Language("C or C++, or make", found, "debian:12-build", "")


_PYTHON = ("pyproject.toml", "requirements.txt", "setup.py", "setup.cfg", "Pipfile", "Pipfile.lock")
_LANGUAGES = (_python, _node, _go, _rust, _java, _ruby, _php, _c)
