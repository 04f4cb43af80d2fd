"""What the user logged in with: `~/.docker/config.json` and Podman's `auth.json`, with their credential helpers."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyro_mcp.environments.oci.reference import DOCKER

DOCKER_KEY = "https://index.docker.io/v1/"
HELPER_SECONDS = 20.0


@dataclass(frozen=True)
class Login:
    """A user's name with a password, or an identity token (then the name is empty)."""

    user: str
    secret: str = field(repr=False)


def find(host: str, repository: str = "") -> Login | None:
    """The user's login at a registry; None where there is none, or what keeps it cannot be read. May block 20 s.

    One for a part of the registry, as Podman keeps them (`quay.io/team`), counts before that of the whole.
    """
    keys = (DOCKER_KEY, "index.docker.io", DOCKER) if host == DOCKER else (host, f"https://{host}", f"http://{host}")
    parts = repository.split("/") if repository else []
    narrow = ["/".join([host, *parts[:count]]) for count in range(len(parts), 0, -1)]
    for file in _files():
        try:
            record = json.loads(file.read_text())
        except (OSError, ValueError, RecursionError):
            continue
        if not isinstance(record, dict):
            continue
        for key in narrow:
            found = _plain(_table(record, "auths").get(key))
            if found is not None:
                return found
        helper = _table(record, "credHelpers").get(host) or _table(record, "credHelpers").get(keys[0])
        for name in (helper, record.get("credsStore")):
            found = _ask(name, keys[0]) if isinstance(name, str) else None
            if found is not None:
                return found
        for key in keys:
            found = _plain(_table(record, "auths").get(key))
            if found is not None:
                return found
    return None


def _files() -> list[Path]:
    docker = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    named = os.environ.get("REGISTRY_AUTH_FILE")
    podman = [Path(runtime, "containers", "auth.json")] if runtime else []
    return [*([Path(named)] if named else []), Path(docker, "config.json"), *podman]


def _table(record: dict[str, Any], name: str) -> dict[str, Any]:
    found = record.get(name)
    return found if isinstance(found, dict) else {}


def _plain(entry: object) -> Login | None:
    if not isinstance(entry, dict):
        return None
    token, auth = entry.get("identitytoken"), entry.get("auth")
    if isinstance(token, str) and token:
        return Login("", token)
    if not isinstance(auth, str):
        return None
    try:
        user, colon, secret = base64.b64decode(auth).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return Login(user, secret.rstrip("\0")) if colon else None


def _ask(helper: str, key: str) -> Login | None:
    """What `docker-credential-HELPER get` says (github.com/docker/docker-credential-helpers)."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", helper):
        return None
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "get"], input=key.encode(), capture_output=True, timeout=HELPER_SECONDS, check=True
        )
        record = json.loads(done.stdout)
        user, secret = record["Username"], record["Secret"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(user, str) or not isinstance(secret, str):
        return None
    return Login("" if user == "<token>" else user, secret)
