"""Parameter types that several operations share: description and bounds stand here once.

Bounds are repeated in words, because some chat hosts drop `minimum`, `maximum` and `pattern` from schemas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pyro_mcp.definitions.field import Field
from pyro_mcp.vocabulary import NAME_PATTERN, EngineName, NetworkPolicy

MAX_WAIT_SECONDS = 50.0
"""No call may last longer: Codex and OpenCode give a tool 60 s (shared/HOSTS.md)."""
DEFAULT_WAIT_SECONDS = 30.0
DEFAULT_TIMEOUT_SECONDS = 1800.0
BACKGROUND_TIMEOUT_SECONDS = 86400.0
"""A command is ended after this unless told otherwise: long enough for a test suite, short enough for a hang."""
MAX_TIMEOUT_SECONDS = 86400.0
FILE_READ_DEFAULT = 64 * 1024
FILE_TEXT_CAP = 1024 * 1024
RESULT_TEXT_DEFAULT = 10_000
"""Bytes of output in a result; about 10 kB is safe in all three hosts (shared/HOSTS.md)."""

if TYPE_CHECKING:
    from pyro_mcp.models import Workspace

    WorkspaceRef = str | Workspace
else:  # on the wire it is text; the client sends a `Workspace`'s id
    WorkspaceRef = Annotated[str, Field(description="Id or name.", min_length=1, max_length=64)]
EnvironmentName = Annotated[
    str, Field(description="For example debian:12, or an image: node:22.", min_length=1, max_length=512)
]
Name = Annotated[
    str,
    Field(
        description="Letters, digits, ._-; at most 64.",
        pattern=NAME_PATTERN,
    ),
]
Command = Annotated[
    str | list[str],
    Field(description="Shell command line, run by bash."),
]
Cwd = Annotated[str, Field(description="Working directory.", max_length=4096)]
User = Annotated[str | None, Field(description="Run as: name, uid or uid:gid.", min_length=1, max_length=256)]
Env = Annotated[dict[str, str] | None, Field(description="Environment variables.")]
Stdin = Annotated[str | None, Field(description="Standard input, at most 1 MiB.", max_length=FILE_TEXT_CAP)]
StdinOpen = Annotated[bool, Field(description="Keep standard input open, to be fed piece by piece.")]
TimeoutSeconds = Annotated[float, Field(description="Timeout in seconds, at most 86400.", gt=0, le=MAX_TIMEOUT_SECONDS)]
WaitSeconds = Annotated[
    float,
    Field(
        description="Seconds to wait for its end, 0 to 50.",
        ge=0,
        le=MAX_WAIT_SECONDS,
    ),
]
UntilText = Annotated[
    str | None,
    Field(
        description="Wait only until this is ready: a port (8000), http://localhost:8000/path, file:PATH, or a "
        "regex in "
        "its output.",
        max_length=1000,
    ),
]
MaxOutput = Annotated[
    int,
    Field(description="Bytes of output to return, 200 to 1048576.", ge=200, le=FILE_TEXT_CAP),
]
Raw = Annotated[bool, Field(description="Exact output, escape sequences included.")]
IncludeIgnored = Annotated[bool, Field(description="Include ignored and tool-made files.")]
Path = Annotated[str, Field(description="Below /workspace.", max_length=4096)]
OptionalPath = Annotated[str | None, Field(description="Below /workspace.", max_length=4096)]
Lines = Annotated[int | None, Field(description="First line, from 1; negative: from the end.", ge=-(2**40), le=2**40)]
LineCount = Annotated[int | None, Field(description="How many lines.", ge=1, le=2**40)]
ByteOffset = Annotated[int | None, Field(description="First byte; use instead of lines.", ge=0)]
ReadBytes = Annotated[
    int,
    Field(
        description="Bytes of content, counted as JSON, at most 1048576; tools default to 10000.",
        ge=1,
        le=FILE_TEXT_CAP,
    ),
]
Encoding = Annotated[
    str | None, Field(description="If not UTF-8, for example windows-1252.", min_length=1, max_length=32)
]
HostPath = Annotated[str, Field(description="Path on the user's computer.", min_length=1, max_length=4096)]
Labels = Annotated[dict[str, str] | None, Field(description="Key to value.", max_length=64)]
VcpuCount = Annotated[int, Field(description="1 to 32.", ge=1, le=32)]
MemMib = Annotated[int, Field(description="MiB, 128 to 65536.", ge=128, le=65536)]
DiskGib = Annotated[int, Field(description="Disk limit in GiB, 1 to 1024.", ge=1, le=1024)]
VCPU_COUNT_DEFAULT = 1
MEM_MIB_DEFAULT = 1024
DISK_GIB_DEFAULT = 20
TtlSeconds = Annotated[
    int | None, Field(description="Delete when unused for this many seconds, 10 to 2592000.", ge=10, le=2592000)
]
LifetimeSeconds = Annotated[
    int | None, Field(description="Delete this many seconds after creation, 10 to 31536000.", ge=10, le=31536000)
]
Network = Annotated[NetworkPolicy, Field(description="egress: public hosts only; ask: the user approves each.")]
OneShotNetwork = Annotated[Literal["off", "egress"], Field(description="egress: public hosts only.")]
AllowDomains = Annotated[
    list[str] | None,
    Field(
        description="Egress reaches only these: exact names or *.suffix, optionally with the requests allowed, "
        "such as :GET (git fetch, no push) or :GET,PUSH/team/app.git. Omitted: every public host; empty: no "
        "public host.",
        max_length=256,
    ),
]
AllowHostPorts = Annotated[
    list[str] | None,
    Field(
        description="PORT or PORT:NAME: a loopback port of this computer, reached as host.pyro.internal:PORT.",
        max_length=64,
    ),
]
AllowAddresses = Annotated[
    list[str] | None,
    Field(description="ADDRESS or ADDRESS:PORT: a host on this computer's network.", max_length=64),
]
SshHosts = Annotated[
    list[str] | None,
    Field(description="HOST, USER@HOST, with :PORT: a server where your ssh keys log in, from outside.", max_length=16),
]
SecretEnv = Annotated[dict[str, str] | None, Field(description="Variable name to secret name.", max_length=64)]
SnapshotName = Annotated[str, Field(description="Snapshot name; baseline is reserved.", pattern=NAME_PATTERN)]
Shell = Annotated[str, Field(description="From shell_open.", max_length=64)]
ServiceName = Annotated[str, Field(description="Service name.", pattern=NAME_PATTERN)]
Engine = Annotated[EngineName, Field(description="auto: firecracker if KVM boots a guest, else gvisor.")]
