"""Parameter types that several operations share: description and bounds stand here once.

Bounds are repeated in words, because some chat hosts drop `minimum`, `maximum` and `pattern` from schemas.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pyro_mcp.models import NAME_PATTERN

MAX_WAIT_SECONDS = 50.0
"""No call may last longer: Codex and OpenCode give a tool 60 s (shared/HOSTS.md)."""
DEFAULT_WAIT_SECONDS = 30.0
DEFAULT_TIMEOUT_SECONDS = 1800.0
"""A command is ended after this unless told otherwise: long enough for a test suite, short enough for a hang."""
MAX_TIMEOUT_SECONDS = 86400.0
FILE_READ_DEFAULT = 64 * 1024
FILE_TEXT_CAP = 1024 * 1024
RESULT_TEXT_DEFAULT = 10_000
"""Bytes of output in a result; about 10 kB is safe in all three hosts (shared/HOSTS.md)."""

WorkspaceRef = Annotated[str, Field(description="Workspace id or name.", min_length=1, max_length=64)]
EnvironmentName = Annotated[str, Field(description="Environment, such as debian:12.", min_length=1, max_length=64)]
Name = Annotated[
    str,
    Field(
        description="A name: letters, digits, . _ - ; starts with a letter or digit; at most 64.",
        pattern=NAME_PATTERN,
    ),
]
Command = Annotated[
    str | list[str],
    Field(description="Shell command line, run by bash (a list of arguments is run as it is)."),
]
Cwd = Annotated[str, Field(description="Working directory, absolute or below /workspace.", max_length=4096)]
Env = Annotated[dict[str, str] | None, Field(description="Environment variables to add.")]
Stdin = Annotated[str | None, Field(description="Text for standard input, at most 1 MiB.", max_length=FILE_TEXT_CAP)]
TimeoutSeconds = Annotated[
    float, Field(description="End the command after this many seconds, at most 86400.", gt=0, le=MAX_TIMEOUT_SECONDS)
]
WaitSeconds = Annotated[
    float,
    Field(
        description="How long to wait, 0 to 50 s; what runs on comes back as `running` with a handle.",
        ge=0,
        le=MAX_WAIT_SECONDS,
    ),
]
MaxOutput = Annotated[
    int,
    Field(description="Bytes of output to return, 200 to 1048576; head and tail are kept.", ge=200, le=FILE_TEXT_CAP),
]
Path = Annotated[str, Field(description="Path below /workspace.", max_length=4096)]
HostPath = Annotated[str, Field(description="Path on the user's machine.", min_length=1, max_length=4096)]
Labels = Annotated[dict[str, str] | None, Field(description="Labels, key to value.", max_length=64)]
VcpuCount = Annotated[int, Field(description="Virtual CPUs, 1 to 32.", ge=1, le=32)]
MemMib = Annotated[int, Field(description="Memory in MiB, 128 to 65536.", ge=128, le=65536)]
TtlSeconds = Annotated[
    int | None, Field(description="Delete after this long without use, 10 s to 30 days; none keeps it.", ge=10, le=2592000)
]
Network = Annotated[
    Literal["off", "egress"], Field(description="`off`, or `egress`: public hosts through pyro's proxy.")
]
Engine = Annotated[Literal["auto", "gvisor"], Field(description="Engine to use; auto chooses one that works.")]
