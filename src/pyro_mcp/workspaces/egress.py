"""A workspace's way out: the guest's proxy connections, served on this side of the boundary.

The guest has no network card. Its agent listens on the guest's loopback; each connection there is handed to
the daemon as a byte stream, and the egress proxy decides. A few streams wait ahead, so that a connection of
the guest does not wait for a round trip.
"""

from __future__ import annotations

import asyncio
import logging

from pyro_mcp.errors import GuestUnreachable, PyroError
from pyro_mcp.machines.protocol import Machine
from pyro_mcp.network.egress import EgressEvent, EgressProxy
from pyro_mcp.network.guest_environment import environment, files
from pyro_mcp.network.policy import EgressPolicy
from pyro_mcp.workspaces.workspace import Workspace

log = logging.getLogger(__name__)
PORT = 3128
"""The customary port of an HTTP proxy."""
WAITING = 4
"""Streams that wait for the guest's next connections."""


class Egress:
    """Serves every workspace whose policy lets it out."""

    def environment(self, policy: str) -> dict[str, str]:
        """Variables of every process in a machine with this policy."""
        return environment(PORT) if policy != "off" else {}

    def files(self, policy: str) -> dict[str, str]:
        """Configuration files, for programs that read no variables."""
        return files(PORT) if policy != "off" else {}

    async def open(self, machine: Machine) -> None:
        """Have the agent listen for the guest's connections."""
        await machine.guest.call("POST", "/v1/egress/open", json_body={"port": PORT})

    async def run(self, workspace: Workspace, machine: Machine) -> None:
        """Serve the machine's connections until cancelled or the machine is gone."""

        def note(event: EgressEvent) -> None:
            log.info("workspace %s: %s", workspace.id, event)

        proxy = EgressProxy(EgressPolicy(), on_event=note)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(WAITING):
                    group.create_task(self._serve(machine, proxy, group))
        except* PyroError as failures:
            log.info("workspace %s: egress ended: %s", workspace.id, failures.exceptions[0])

    async def _serve(self, machine: Machine, proxy: EgressProxy, group: asyncio.TaskGroup) -> None:
        while True:
            try:
                reader, writer = await machine.guest.raw_stream("/v1/egress/accept")
            except GuestUnreachable:
                if not machine.alive():
                    return
                continue  # the agent was frozen for a snapshot
            group.create_task(self._one(proxy, reader, writer))

    async def _one(self, proxy: EgressProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await proxy.serve(reader, writer)
        except OSError:
            pass  # the guest's side went away
        finally:
            writer.close()
