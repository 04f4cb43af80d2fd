"""Operations on services: long-lived processes with a name, a readiness, logs and published ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pyro_mcp.definitions.field import Field
from pyro_mcp.operations._base import Operations, Profile, operation
from pyro_mcp.operations.fields import (
    MAX_WAIT_SECONDS,
    RESULT_TEXT_DEFAULT,
    Command,
    Cwd,
    Env,
    MaxOutput,
    Raw,
    SecretEnv,
    ServiceName,
    User,
    WorkspaceRef,
)

if TYPE_CHECKING:
    from pyro_mcp.models import Service, ServiceList, ServiceLogs

FULL: tuple[Profile, ...] = ("workspace-full",)
WAIT = MAX_WAIT_SECONDS - 5


class ServiceOperations(Operations):
    @operation(
        cli="workspace service start",
        mcp="service_start",
        profiles=FULL,
        positional=("workspace", "name", "command"),
        hidden=("env", "wait_seconds"),
        raises={
            "Conflict": "A service with this name is running, its port is taken, or the workspace is stopped.",
            "Unsupported": "The machine has no shell for a command line.",
        },
    )
    def start_service(
        self,
        workspace: WorkspaceRef,
        name: ServiceName,
        command: Command,
        *,
        cwd: Cwd = "/workspace",
        user: User = None,
        env: Env = None,
        secret_env: SecretEnv = None,
        ready_file: Annotated[str | None, Field(description="Ready when this file exists.", max_length=4096)] = None,
        ready_tcp: Annotated[
            int | None, Field(description="Ready when this port, 1 to 65535, accepts connections.", ge=1, le=65535)
        ] = None,
        ready_http: Annotated[
            str | None, Field(description="Ready when PORT/path answers with a status below 400.", max_length=2048)
        ] = None,
        ready_command: Annotated[
            str | None, Field(description="Ready when this command succeeds.", max_length=65536)
        ] = None,
        ready_timeout_seconds: Annotated[
            float, Field(description="Seconds it may take to get ready, at most 3600.", gt=0, le=3600)
        ] = 30,
        publish: Annotated[
            list[str] | None,
            Field(
                description="Ports to publish on the user's computer: GUEST (picks a free one) or HOST:GUEST.",
                max_length=32,
            ),
        ] = None,
        wait_seconds: Annotated[
            float, Field(description="Seconds to wait until it is ready, 0 to 50.", ge=0, le=50)
        ] = WAIT,
    ) -> Service:
        """Start a long-lived process and wait until it is ready.

        Readiness is a file, a port, an HTTP response or a command. A service that is not ready in time is
        ended and marked `failed`. Published ports need network policy egress+published-ports; they listen on
        127.0.0.1 unless you give ADDRESS:HOST:GUEST, and close with the service.
        """

    @operation(
        cli="workspace service list",
        mcp="service_list",
        profiles=FULL,
        read_only=True,
        idempotent=True,
        positional=("workspace",),
    )
    def list_services(self, workspace: WorkspaceRef) -> ServiceList:
        """List a workspace's services and their states."""

    @operation(
        cli="workspace service status",
        mcp="service_status",
        profiles=FULL,
        read_only=True,
        idempotent=True,
        positional=("workspace", "name"),
        hidden=("wait_seconds",),
        raises={"NotFound": "There is no such workspace or service."},
    )
    def status_service(
        self,
        workspace: WorkspaceRef,
        name: ServiceName,
        *,
        wait_seconds: Annotated[float, Field(description="Seconds to wait while it starts, 0 to 50.", ge=0, le=50)] = 0,
    ) -> Service:
        """Show a service's state."""

    @operation(
        cli="workspace service logs",
        mcp="service_logs",
        profiles=FULL,
        read_only=True,
        idempotent=True,
        positional=("workspace", "name"),
        hidden=("max_output_bytes", "raw"),
        streams=True,
        raises={"NotFound": "There is no such workspace or service."},
    )
    def logs_service(
        self,
        workspace: WorkspaceRef,
        name: ServiceName,
        *,
        tail: Annotated[int, Field(description="The last lines, 1 to 10000.", ge=1, le=10000)] = 200,
        offset: Annotated[
            int | None, Field(description="First byte; use instead of the last lines.", ge=0, le=2**40)
        ] = None,
        grep: Annotated[str | None, Field(description="Only lines that match this regex.", max_length=1000)] = None,
        wait_seconds: Annotated[float, Field(description="Seconds to wait for more, 0 to 50.", ge=0, le=50)] = 0,
        max_output_bytes: MaxOutput = RESULT_TEXT_DEFAULT,
        raw: Raw = False,
    ) -> ServiceLogs:
        """Read a service's output."""

    @operation(
        cli="workspace service stop",
        mcp="service_stop",
        profiles=FULL,
        idempotent=True,
        positional=("workspace", "name"),
        raises={"NotFound": "There is no such workspace or service."},
    )
    def stop_service(
        self,
        workspace: WorkspaceRef,
        name: ServiceName,
        *,
        grace_seconds: Annotated[float, Field(description="Seconds from TERM to KILL, 0 to 40.", ge=0, le=40)] = 5,
    ) -> Service:
        """End a service and all its processes."""
