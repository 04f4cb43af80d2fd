"""A workspace's secrets: kept in one private file each, mapped by name into single commands.

A secret that is bound to a host never enters the guest: there only a placeholder is seen, and the egress
proxy puts the value into requests to that host (`network.intercept`).
"""

from __future__ import annotations

import functools
import json
import os
import re
import secrets as random
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

from pyro_mcp import wholeness
from pyro_mcp.errors import InvalidInput, NotFound
from pyro_mcp.masking.redaction import Redactor
from pyro_mcp.masking.substitution import Substitution
from pyro_mcp.network.policy import Refused, normalised
from pyro_mcp.wholeness import write_new

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
"""A shell variable's name, at most 64 (CONTRACT, "Names, defaults and bounds")."""
MAX_BYTES = 64 * 1024
MIN_BYTES = 4
"""Shorter values stand in every other output by chance: masking them would garble everything."""
MAX_SECRETS = 64


@dataclass(frozen=True)
class Secret:
    """One secret; `placeholder` is what the guest sees of one that is bound to a host."""

    name: str
    value: str
    host: str | None = None
    placeholder: str | None = None

    @property
    def seen_inside(self) -> str:
        return self.placeholder or self.value


@dataclass(frozen=True)
class Secrets:
    """All of one workspace, and the authority that vouches for the proxy inside it."""

    by_name: dict[str, Secret]
    authority: bytes = b""
    """`network.authority.Authority`, dumped; empty when no secret is bound to a host, and no
    host has rules."""

    @functools.cached_property
    def redactor(self) -> Redactor:
        return Redactor(secret.value for secret in self.by_name.values())

    def variables(self, wanted: dict[str, str] | None) -> dict[str, str]:
        """The environment variables that map secrets into a command: variable to secret's name.

        Raises:
            NotFound: no such secret.
            InvalidInput: the variable's name cannot be one.
        """
        found = {}
        for variable, name in (wanted or {}).items():
            if not NAME.match(variable):
                raise InvalidInput(
                    f"{variable!r} is not a valid name for an environment variable.",
                    hint="Use letters, digits and _, starting with a letter or _, at most 64 characters.",
                    code="bad_variable",
                )
            if name not in self.by_name:
                known = ", ".join(self.by_name) or "none"
                raise NotFound(
                    f"The workspace has no secret {name!r}; it has: {known}.",
                    hint="The user gives secrets when a workspace is created (--secret, --secret-file).",
                    code="unknown_secret",
                )
            found[variable] = self.by_name[name].seen_inside
        return found


NONE = Secrets({})


def collect(
    literal: dict[str, str] | None, files: dict[str, str] | None, hosts: dict[str, str] | None
) -> dict[str, Secret]:
    """Secrets from what `create` was given. Reads files; blocks.

    Raises:
        InvalidInput: a bad name, a value that is too short, too long or unreadable, a host of no secret.
    """
    values = dict(literal or {})
    for name, path in (files or {}).items():
        if name in values:
            raise InvalidInput(f"The secret {name} is given twice.", code="secret_twice")
        values[name] = _read(name, path)
    if len(values) > MAX_SECRETS:
        raise InvalidInput(f"A workspace can have at most {MAX_SECRETS} secrets.", code="too_many_secrets")
    found = {}
    for name, value in values.items():
        if not NAME.match(name):
            raise InvalidInput(
                f"{name!r} is not a valid name for a secret.",
                hint="Use letters, digits and _, starting with a letter or _, at most 64 characters.",
                code="bad_secret_name",
            )
        _check(name, value)
        found[name] = Secret(name, value)
    for name, host in (hosts or {}).items():
        if name not in found:
            raise InvalidInput(f"--secret-host names {name!r}, but no such secret was given.", code="bad_host")
        try:
            spelled = normalised(host)
        except Refused as refusal:
            raise InvalidInput(f"The secret {name} cannot be bound: {refusal}.", code="bad_host") from None
        value = found[name].value.strip()
        _check(name, value)
        placeholder = f"pyro-secret-{name}-{random.token_hex(12)}"
        try:
            Substitution({placeholder: value})
        except ValueError:
            raise InvalidInput(
                f"The secret {name} has several lines or control characters, which a request header cannot contain.",
                hint="Omit --secret-host for it.",
                code="bad_secret_value",
            ) from None
        found[name] = Secret(name, value, spelled, placeholder)
    return found


def _check(name: str, value: str) -> None:
    problem = ""
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        # Nothing else crosses the boundary unchanged, or is recognised in outputs.
        problem = f"The secret {name} is not UTF-8 text."
    else:
        if not MIN_BYTES <= size <= MAX_BYTES:
            problem = f"The secret {name} has {size} bytes; a value must have {MIN_BYTES} to {MAX_BYTES}."
        elif len(value.strip()) < MIN_BYTES:
            problem = f"The secret {name} is little more than whitespace."
        elif "\0" in value:
            problem = f"The secret {name} contains a NUL, which an environment variable cannot."
    if problem:
        raise InvalidInput(
            problem,
            hint="A shorter value could not be kept out of output." if len(value.strip()) < MIN_BYTES else "",
            code="bad_secret_value",
        )


def _read(name: str, path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InvalidInput(
                    f"The file of secret {name}, {path}, is not a regular file.", code="secret_unreadable"
                )
            data = os.read(descriptor, MAX_BYTES + 2)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise InvalidInput(
            f"The file of secret {name}, {path}, cannot be read: {error.strerror}.", code="secret_unreadable"
        ) from None
    # Editors end a file with a line end that is not part of a token; a value of several lines is left alone.
    text = data.decode("utf-8", "surrogateescape")
    return text[:-1].removesuffix("\r") if text.endswith("\n") and text.count("\n") == 1 else text


class Vault:
    """Keeps the secrets of all workspaces, one file each, mode 0600 in a directory of mode 0700. Blocks."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _path(self, workspace_id: str) -> Path:
        return self._directory / f"{workspace_id}.json"

    def write(self, workspace_id: str, kept: Secrets) -> None:
        if not kept.by_name and not kept.authority:
            return
        record = {
            "secrets": [asdict(secret) for secret in kept.by_name.values()],
            "authority": kept.authority.decode(),
        }
        write_new(self._path(workspace_id), json.dumps(record).encode())

    def read(self, workspace_id: str) -> Secrets:
        try:
            record = wholeness.read_record(self._path(workspace_id))
            known = {entry["name"]: Secret(**entry) for entry in record["secrets"]}
            return Secrets(known, record.get("authority", "").encode())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return NONE

    def remove(self, workspace_id: str) -> None:
        self._path(workspace_id).unlink(missing_ok=True)

    def sweep(self, keep: set[str]) -> None:
        """Remove what belongs to no workspace."""
        for path in self._directory.iterdir():
            if path.stem not in keep:
                path.unlink(missing_ok=True)
