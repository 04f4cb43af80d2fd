"""Operations on the installation: what works on this machine, and the environments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pyro_mcp.operations._base import Operations, operation
from pyro_mcp.operations.field import Field
from pyro_mcp.operations.fields import EnvironmentName

if TYPE_CHECKING:
    from pyro_mcp.models import Doctor, Environment, EnvironmentList, Pruned


class SystemOperations(Operations):
    @operation(cli="doctor", idempotent=True, open_world=True, streams=True)
    def doctor(
        self,
        *,
        fix: Annotated[bool, Field(description="Fetch what is missing and needs no root.")] = False,
    ) -> Doctor:
        """Say which engines work on this machine and why, with components, environments and the daemon.

        An engine counts as working only after a machine was booted with it. The verdict is kept until this
        machine restarts.
        """

    @operation(cli="env list", mcp="env_list", profiles=("workspace-full",), read_only=True, idempotent=True)
    def list_environments(self) -> EnvironmentList:
        """List the environments and which are installed."""

    @operation(cli="env inspect", read_only=True, idempotent=True, positional=("environment",))
    def inspect_environment(self, environment: EnvironmentName) -> Environment:
        """Show one environment: what it is made of, its size, and every package with its version."""

    @operation(cli="env pull", open_world=True, idempotent=True, positional=("environment",), streams=True)
    def pull_environment(
        self,
        environment: EnvironmentName = "debian:12",
        *,
        force: Annotated[bool, Field(description="Rebuild it even if it is installed.")] = False,
    ) -> Environment:
        """Bring an environment here: built from Debian's signed archive, or an image from a registry or a file.

        Images: `docker.io/library/node:22-bookworm`, `ghcr.io/OWNER/NAME@sha256:…`, `oci:DIR`, `docker-archive:FILE`.
        One that is here already is asked for again, and what is new of it is fetched. A pull that was interrupted goes
        on with what it had downloaded. Two pulls of one environment at once do the work once.
        """

    @operation(cli="env remove", destructive=True, positional=("environment",))
    def remove_environment(self, environment: EnvironmentName) -> Pruned:
        """Remove one environment by its name. Workspaces that stand on it keep it until they are deleted."""

    @operation(cli="env prune", destructive=True, idempotent=True)
    def prune_environments(
        self,
        *,
        all: Annotated[bool, Field(description="Also remove current environments that no workspace uses.")] = False,
    ) -> Pruned:
        """Remove environments that no workspace uses: outdated builds, and all of them with `all`."""
