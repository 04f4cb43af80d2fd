"""Features of containers.dev: what one says of itself, their order, and the Dockerfile that installs them.

Pure, but for reading a feature's folder. All of it is untrusted text, and what it says ends in the machine of a build:
install.sh runs nowhere else.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyro_mcp.devcontainers.find import read_below
from pyro_mcp.devcontainers.read import shortened
from pyro_mcp.devcontainers.variables import MAX_TEXT
from pyro_mcp.environments.oci import reference as references
from pyro_mcp.environments.oci.reference import Reference
from pyro_mcp.errors import InvalidInput

FILE = "devcontainer-feature.json"
VARIABLES = "devcontainer-features.env"
"""What `install.sh` is told."""
MAX_BYTES = 256 * 1024
PLACE = "/tmp/dev-container-features"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?")
_NEVER = ("privileged", "mounts", "capAdd", "securityOpt", "entrypoint", "init")
_HOOKS = ("onCreateCommand", "updateContentCommand", "postCreateCommand", "postStartCommand", "postAttachCommand")


@dataclass(frozen=True)
class Feature:
    """One as it is to be installed."""

    key: str
    """As devcontainer.json names it."""
    folder: str
    """Its files, below the build's context."""
    env: dict[str, str]
    """What install.sh is told: its options."""
    container_env: dict[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    needs: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What of it is passed over."""


def place_of(key: str) -> Reference | str:
    """Where a feature is: in a registry, or a folder beside devcontainer.json, relative.

    Raises:
        InvalidInput: neither; the message says what it is.
    """
    if key.startswith(("./", "../")):
        return key
    if "://" in key or key.startswith("/"):
        raise InvalidInput(
            "is an address or an absolute path; a feature comes from a registry or a directory beside it"
        )
    if "/" not in key:
        raise InvalidInput("has a name of the time before registries")
    found = references.parse(key)
    if found.transport != "registry":
        raise InvalidInput("names a file of this machine")
    return found


def identity(key: str) -> str:
    """A feature without its version, by which others name it in `installsAfter`."""
    return key if key.startswith(".") else re.sub(r"(@sha256:[0-9a-f]+|:[A-Za-z0-9_.-]+)$", "", key).lower()


def read(key: str, folder: str, root: Path, options: Mapping[str, Any]) -> Feature:
    """What a feature says of itself, its files being in `root`.

    Raises:
        InvalidInput: it is none.
    """
    text = read_below(root, FILE, MAX_BYTES + 1)
    try:
        said = json.loads(text or b"") if text is not None and len(text) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or read_below(root, "install.sh", 1) is None:
        raise InvalidInput(f"has no {FILE} that can be read, or no install.sh")
    env: dict[str, str] = {}
    known = said.get("options")
    for name, option in (known if isinstance(known, dict) else {}).items():
        default = option.get("default") if isinstance(option, dict) else None
        value = _text(options.get(name, default))
        if value is not None and (variable := _variable(name)):
            env[variable] = value
    container = said.get("containerEnv")
    after, needs = said.get("installsAfter"), said.get("dependsOn")
    over = [f"{key}: {name} is passed over" for name in (*_NEVER, *_HOOKS) if said.get(name)]
    return Feature(
        key,
        folder,
        env,
        {
            name: value
            for name, value in (container if isinstance(container, dict) else {}).items()
            if _NAME.fullmatch(name) and _text(value) is not None and isinstance(value, str) and "\n" not in value
        },
        tuple(identity(each) for each in after if isinstance(each, str))[:64] if isinstance(after, list) else (),
        {
            each: options if isinstance(options, dict) else {"version": options}
            for each, options in (needs if isinstance(needs, dict) else {}).items()
            if isinstance(options, dict | str | bool)
        },
        tuple(shortened(each, 200) for each in over),
    )


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float) or len(str(value)) > MAX_TEXT or "\0" in str(value):
        return None
    return str(value).encode("utf-8", "replace").decode()


def _variable(name: str) -> str:
    """An option's name as a variable (containers.dev/implementors/features, «Option Resolution»)."""
    found = re.sub(r"^[\d_]+", "_", re.sub(r"[^\w]", "_", name, flags=re.ASCII), flags=re.ASCII).upper()
    return found if _NAME.fullmatch(found) else ""


def ordered(features: Sequence[Feature], wished: Sequence[str]) -> list[Feature]:
    """In the order of installation: after what each needs, after what it comes after, then as wished, then as they are.

    Raises:
        InvalidInput: they need each other in a circle.
    """
    first = [identity(each) for each in wished]
    left = list(features)
    left.sort(key=lambda each: first.index(identity(each.key)) if identity(each.key) in first else len(first))
    there = {identity(each.key) for each in features}
    done: set[str] = set()
    found: list[Feature] = []
    while left:
        for strict in (True, False):  # what only comes after another may go round in a circle
            ready = [
                each
                for each in left
                if {identity(need) for need in each.needs} <= done
                and (not strict or set(each.after) & there <= done | {identity(each.key)})
            ]
            if ready:
                break
        else:
            names = ", ".join(shortened(each.key, 60) for each in left[:5])
            raise InvalidInput(f"need each other in a circle ({names}), or what is not there")
        found.append(ready[0])
        left.remove(ready[0])
        done.add(identity(ready[0].key))
    return found


def variables_file(feature: Feature, user: str) -> str:
    """What install.sh reads of its options and of who works in the workspace."""
    home = "/root" if user == "root" else f"/home/{user}"
    env = {"_REMOTE_USER": user, "_CONTAINER_USER": user, "_REMOTE_USER_HOME": home, "_CONTAINER_USER_HOME": home}
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in (env | feature.env).items())


def dockerfile(base: str, features: Sequence[Feature], user: str) -> str:
    """The Dockerfile that installs them on an environment, whose own user it leaves as it was."""
    lines = [f"FROM {base}", "USER root"]
    for feature in features:
        place = f"{PLACE}/{feature.folder}"
        lines.append(f"COPY {feature.folder} {place}")
        lines += [f"ENV {name}={_quoted(value)}" for name, value in feature.container_env.items()]
        lines.append(f"RUN cd {place} && set -a && . ./{VARIABLES} && set +a && chmod +x ./install.sh && ./install.sh")
    lines.append(f"RUN rm -rf {PLACE}")
    if _USER.fullmatch(user):
        lines.append(f"USER {user}")
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    """A value of ENV in which `${NAME}` still is that variable's."""
    return '"' + re.sub(r'([\\"])', r"\\\1", re.sub(r"[\x00-\x1f\x7f]", " ", value)) + '"'
