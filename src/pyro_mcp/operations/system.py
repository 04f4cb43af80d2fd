"""Operations on the installation: what works on this computer, and the environments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pyro_mcp.definitions.field import Field
from pyro_mcp.operations._base import Operations, operation
from pyro_mcp.operations.fields import (
    DISK_GIB_DEFAULT,
    AllowDomains,
    DiskGib,
    EnvironmentName,
    HostPath,
    MemMib,
    Name,
    OneShotNetwork,
    VcpuCount,
    WorkspaceRef,
)

if TYPE_CHECKING:
    from pyro_mcp.models import Doctor, Environment, EnvironmentExported, EnvironmentList, Pruned, SuggestedEnvironment


class SystemOperations(Operations):
    @operation(cli="doctor", idempotent=True, open_world=True, streams=True)
    def doctor(
        self,
        *,
        fix: Annotated[bool, Field(description="Fetch what is missing and needs no root.")] = False,
    ) -> Doctor:
        """Show which engines work on this computer and why, with components, environments and the daemon.

        An engine counts as working only after it has booted a machine. The verdict is kept until this
        machine restarts.
        """

    @operation(cli="env list", mcp="env_list", profiles=("workspace-full",), read_only=True, idempotent=True)
    def list_environments(self) -> EnvironmentList:
        """List the environments and which are installed, and what is kept of projects' set-ups."""

    @operation(cli="env inspect", read_only=True, idempotent=True, positional=("environment",))
    def inspect_environment(self, environment: EnvironmentName) -> Environment:
        """Show an environment's origin, its size, and every package with its version."""

    @operation(
        cli="env pull",
        open_world=True,
        idempotent=True,
        positional=("environment",),
        streams=True,
        raises={
            "Conflict": "Another call is building it right now.",
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
        """Install an environment: built from Debian's signed archive, or an image from a registry or a file.

        Images: `docker.io/library/node:22-bookworm`, `ghcr.io/OWNER/NAME@sha256:…`, `oci:DIR`, `docker-archive:FILE`.
        An image that is already installed is checked again, and what is new is fetched. An interrupted pull
        resumes its download. Two simultaneous pulls of one environment do the work once.
        """

    @operation(
        cli="env build",
        open_world=True,
        positional=("name",),
        host_paths=("file", "context"),
        cli_defaults={"context": "."},
        streams=True,
        raises={
            "EngineError": "A step failed: `details` has `exit_status`, `step` and the end of its `log`.",
            "Conflict": "The name is taken by something else, or a build of this name is under way.",
            "InvalidInput": "The Dockerfile is none, or the context cannot be read.",
        },
    )
    def build_environment(
        self,
        name: Name,
        *,
        context: Annotated[HostPath, Field(description="The directory that COPY takes from.")],
        file: Annotated[HostPath | None, Field(description="The Dockerfile; else that of the context.")] = None,
        target: Annotated[str | None, Field(description="Build only up to this stage.", max_length=128)] = None,
        build_args: Annotated[
            dict[str, str] | None, Field(description="Values of the file's ARGs.", max_length=64)
        ] = None,
        network_policy: OneShotNetwork = "off",
        allow_domains: AllowDomains = None,
        vcpu_count: VcpuCount = 2,
        mem_mib: MemMib = 2048,
        disk_gib: DiskGib = DISK_GIB_DEFAULT,
        again: Annotated[bool, Field(description="Do every step again, whatever is kept.")] = False,
        overwrite: Annotated[bool, Field(description="Replace an environment that was not built so.")] = False,
    ) -> Environment:
        """Build a Dockerfile, and make an environment of the result, for `create NAME`.

        The build runs in a machine of its own, by buildah; RUN has the network that network_policy allows, and no
        more. pyro on this computer fetches the images in FROM: any name of an environment. A .dockerignore
        holds. Layers are kept: the next build of this name does again only what changed.
        """

    @operation(
        cli="env suggest",
        read_only=True,
        idempotent=True,
        positional=("path",),
        host_paths=("path",),
        raises={"InvalidInput": "The path is not a directory."},
    )
    def suggest_environment(self, path: HostPath) -> SuggestedEnvironment:
        """Print a devcontainer.json for a project that has none, from its manifests.

        It reads pyproject.toml, requirements.txt, package.json, go.mod, Cargo.toml, pom.xml, Gemfile and others, and
        lock files beside them. It runs and writes nothing; save the result: `pyro env suggest . > .devcontainer.json`.
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
        """Save a workspace's root file system, with everything installed in it, as an environment.

        /workspace, /tmp and /run are left out, as are the machine's own names and certificates. If a changed file
        contains a secret's value, nothing is saved. Programs keep running; what they write meanwhile may be saved in
        part.
        """

    @operation(
        cli="env export",
        positional=("environment",),
        raises={
            "Conflict": "Something already exists at that path.",
            "EngineError": "The image could not be written.",
            "Cancelled": "The call was cancelled while it was written.",
        },
    )
    def export_environment(
        self,
        environment: EnvironmentName,
        *,
        output: Annotated[
            str,
            Field(description="oci:DIR, or DIR: a directory that does not exist yet.", min_length=1, max_length=4096),
        ],
    ) -> EnvironmentExported:
        """Write an installed environment as an OCI image that skopeo, podman, buildah and Docker can load.

        For example: `pyro env export kit --output oci:kit && skopeo copy oci:kit:latest docker-archive:kit.tar:kit:1`.
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
