"""Operations on the installation: what works on this machine, and the environments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pyro_mcp.definitions.field import Field
from pyro_mcp.operations._base import Operations, operation
from pyro_mcp.operations.fields import EnvironmentName, HostPath, Name, WorkspaceRef

if TYPE_CHECKING:
    from pyro_mcp.models import Doctor, Environment, EnvironmentExported, EnvironmentList, Pruned, SuggestedEnvironment


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
        """List the environments and which are installed, and what is kept of projects' set-ups."""

    @operation(cli="env inspect", read_only=True, idempotent=True, positional=("environment",))
    def inspect_environment(self, environment: EnvironmentName) -> Environment:
        """Show one environment: what it is made of, its size, and every package with its version."""

    @operation(
        cli="env pull",
        open_world=True,
        idempotent=True,
        positional=("environment",),
        streams=True,
        raises={
            "Conflict": "Another call builds it at this moment.",
            "EngineError": "It could not be built.",
            "Unsupported": "The image cannot run here.",
            "Cancelled": "The call was cancelled while it was built.",
        },
    )
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

    @operation(
        cli="env suggest",
        read_only=True,
        idempotent=True,
        positional=("path",),
        host_paths=("path",),
        raises={"InvalidInput": "The path is no directory."},
    )
    def suggest_environment(self, path: HostPath) -> SuggestedEnvironment:
        """Print a devcontainer.json for a project that has none, from its manifests.

        It reads pyproject.toml, requirements.txt, package.json, go.mod, Cargo.toml, pom.xml, Gemfile and others, and
        lock files beside them. Nothing is run, nothing written: `pyro env suggest . > .devcontainer.json` keeps it.
        """

    @operation(
        cli="env save",
        positional=("workspace", "name"),
        raises={"Conflict": "The name is taken, the value of a secret would be saved, or the workspace is stopped."},
    )
    def save_environment(
        self,
        workspace: WorkspaceRef,
        name: Name,
        *,
        overwrite: Annotated[bool, Field(description="Replace a saved environment of this name.")] = False,
    ) -> Environment:
        """Make an environment of a workspace as it stands: its root file system with all that was installed.

        /workspace, /tmp and /run are left out, as are the machine's own names and certificates. A secret's value in
        what changed refuses it. Running programs go on; what one writes meanwhile may be half in it.
        """

    @operation(
        cli="env export",
        positional=("environment",),
        raises={
            "Conflict": "Something stands at the place already.",
            "EngineError": "The image could not be written.",
            "Cancelled": "The call was cancelled while it was written.",
        },
    )
    def export_environment(
        self,
        environment: EnvironmentName,
        *,
        output: Annotated[
            str, Field(description="oci:DIR, or DIR: a directory that is not there yet.", min_length=1, max_length=4096)
        ],
    ) -> EnvironmentExported:
        """Write an installed environment as an OCI image, which skopeo, podman, buildah and Docker load.

        Such as: `pyro env export kit --output oci:kit && skopeo copy oci:kit:latest docker-archive:kit.tar:kit:1`.
        """

    @operation(cli="env remove", destructive=True, positional=("environment",))
    def remove_environment(self, environment: EnvironmentName) -> Pruned:
        """Remove one environment by its name, or what is kept of a set-up (`prepared:…`).

        Workspaces that stand on it keep it until they are deleted.
        """

    @operation(cli="env prune", destructive=True, idempotent=True)
    def prune_environments(
        self,
        *,
        all: Annotated[bool, Field(description="Also remove current environments that no workspace uses.")] = False,
        keep_gib: Annotated[
            float | None,
            Field(
                description="Then remove those used longest ago until the rest takes so many GiB, 0 to 65536.",
                ge=0,
                le=65536,
            ),
        ] = None,
    ) -> Pruned:
        """Remove environments that no workspace uses: outdated builds, and all of them with `all`.

        With `keep_gib`, what is kept of projects' set-ups and current environments go as well, those used longest ago
        first, until all together take no more on the disk; never one that a workspace stands on.
        """
