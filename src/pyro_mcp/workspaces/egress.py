"""A workspace's way out: the guest's proxy connections, served on this side of the boundary.

The guest has no network card. Its agent listens on the guest's loopback; each connection there is handed to
the daemon as a byte stream, and the egress proxy decides. A few streams wait ahead, so that a connection of
the guest does not wait for a round trip.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import shlex
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal

from pyro_mcp.errors import GuestUnreachable, PyroError
from pyro_mcp.guest.duplex import Streams
from pyro_mcp.machines.protocol import Machine
from pyro_mcp.masking.substitution import Substitution
from pyro_mcp.models import RefusedConnection
from pyro_mcp.network.authority import Authority
from pyro_mcp.network.cache.registry_cache import RegistryCache
from pyro_mcp.network.cached import CachedWay
from pyro_mcp.network.connection import EgressEvent, Interception
from pyro_mcp.network.decisions import Decided, Decisions
from pyro_mcp.network.egress import EgressProxy
from pyro_mcp.network.grants import HOST, Grants
from pyro_mcp.network.guest_environment import (
    OFFLINE,
    SSH_AGENT,
    environment,
    files,
    git_configuration,
    ssh_configuration,
)
from pyro_mcp.network.notice import tell_desktop
from pyro_mcp.network.policy import EgressPolicy, Refused
from pyro_mcp.network.questions import Question, Questions
from pyro_mcp.network.ssh_agent import SshAgent, SshHost
from pyro_mcp.network.ssh_keys import UserKeys
from pyro_mcp.visible import as_typed
from pyro_mcp.vocabulary import asks, online
from pyro_mcp.workspaces.secrets import Secrets
from pyro_mcp.workspaces.workspace import Workspace

log = logging.getLogger(__name__)
PORT = 3128
"""The customary port of an HTTP proxy."""
WAITING = 4
"""Streams that wait for the guest's next connections."""
MAX_HOST = 253
AGAIN_SECONDS = 60.0
MAX_HEARD = 256
MAX_REFUSALS = 10
"""Refused messages of the ssh agent that are told of within `AGAIN_SECONDS`."""
PAUSE_SECONDS = 0.05
"""After an agent did not answer: it is frozen for a snapshot, or about to go."""
Note = Callable[[str, str, dict[str, Any]], None]


class Egress:
    """Serves every workspace whose policy lets it out."""

    def __init__(self, questions: Questions, decisions: Decisions, cache: RegistryCache) -> None:
        self._questions = questions
        self._decisions = decisions
        self._cache = cache

    def environment(self, workspace: Workspace) -> dict[str, str]:
        """Variables of every process in its machine."""
        row = workspace.row
        if not online(row.network_policy):
            return dict(OFFLINE)
        return environment(PORT, workspace.hostname) | ({"SSH_AUTH_SOCK": SSH_AGENT} if row.ssh_hosts else {})

    async def files(self, workspace: Workspace) -> dict[str, str]:
        """Configuration files, for programs that read no variables."""
        if not online(workspace.row.network_policy):
            return {}
        found = await asyncio.to_thread(files, PORT, _certificate(workspace.secrets))
        keys = UserKeys()
        servers = {host: await keys.host_keys(host) for host in _ssh_hosts(workspace)}
        return (
            found
            | ssh_configuration(servers)
            | git_configuration(
                {
                    s.host: s.placeholder
                    for s in reversed(workspace.secrets.by_name.values())
                    if s.host and s.placeholder
                }
            )
        )

    async def open(self, workspace: Workspace, machine: Machine) -> None:
        """Have the agent listen for the guest's connections, or fail its names at once where the network is off."""
        if not online(workspace.row.network_policy):
            body: dict[str, Any] = {"off": True}
        else:
            body = {"port": PORT, "local": _grants(workspace).names(), "keys": bool(workspace.row.ssh_hosts)}
        await machine.guest.call("POST", "/v1/egress/open", json_body=body)

    async def run(self, workspace: Workspace, machine: Machine, note: Note) -> None:
        """Serve the machine's connections until cancelled or the machine is gone."""
        known, interception = workspace.secrets, await asyncio.to_thread(_interception, workspace.secrets)
        heard, refusals, group = _Heard(), Refusals(), asyncio.TaskGroup()

        def on_event(event: EgressEvent) -> None:
            outcome = "ok" if event.verdict == "allowed" else "error"
            summary = f"{event.verdict}: {event.protocol} {event.host}:{event.port}"
            if event.verdict == "allowed":
                summary += f", {event.bytes_up} bytes up, {event.bytes_down} down"
                summary += f" ({event.reason})" if event.reason else ""
            else:
                summary += f" ({event.reason})"
            if event.verdict != "allowed":
                refused = _refused(workspace, event)
                for command in workspace.running_commands():
                    command.was_refused(refused)
            if event.protocol == "name" and not heard.first(event.host):
                return
            # A value may stand in a host's name; the summary is masked where it is kept.
            note(outcome, summary, workspace.redactor.record(asdict(event)))

        async def ask(host: str, port: int) -> None:
            if not _PUBLIC_NAME.fullmatch(host):
                raise Refused(f"the user is asked only about public names, and {host} is not one", "not_allowed")
            if workspace.redactor.text(host) != host:
                raise Refused("the name contains a secret", "not_allowed")
            running = workspace.running_commands()
            command = workspace.redactor.text(as_typed(running[-1].row.command) if running else "")

            def asked(question: Question) -> None:
                note("ok", f"asked: may it reach {question.host}:{question.port}?", {"question": question.id})
                title = f"{workspace.row.name or workspace.id} wants to reach {host}"
                group.create_task(tell_desktop(title, f"pyro allow {host}"))

            await self._questions.ask(workspace.id, host, port, command, asked, heard)

        def proxy() -> EgressProxy:
            # Made anew for each connection: what the user allows meanwhile holds at once.
            nonlocal known, interception
            if workspace.secrets is not known:
                known, interception = workspace.secrets, _interception(workspace.secrets)
            return EgressProxy(
                self._policy(workspace),
                ask=ask,
                on_event=on_event,
                interception=interception,
                how_to_allow=lambda host, port, rule: how_to_allow(workspace, host, port, rule),
                grants=_grants(workspace),
                inside=inside,
                ssh_agent=SshAgent(hosts, UserKeys(), signed) if (hosts := _ssh_hosts(workspace)) else None,
                cached=CachedWay(self._cache, workspace.id, interception.authority) if interception else None,
            )

        def signed(well: bool, told: str) -> None:
            if well:
                note("ok", workspace.redactor.text(told), {})
            elif (text := refusals.told(told)) is not None:
                note("error", workspace.redactor.text(text), {})

        async def inside(host: str, port: int) -> Streams | None:
            if port == PORT:
                return None  # the proxy, to the proxy
            try:
                return await machine.guest.open_stream("/v1/connect", {"host": host, "port": port})
            except PyroError:
                return None

        try:
            async with group:
                for _ in range(WAITING if online(workspace.row.network_policy) else 1):
                    group.create_task(self._serve(machine, proxy, group))
        except* PyroError as failures:
            log.info("workspace %s: egress ended: %s", workspace.id, failures.exceptions[0])
        finally:
            self._questions.forget(workspace.id, heard)  # the next run asks for itself

    def _policy(self, workspace: Workspace) -> EgressPolicy:
        row = workspace.row
        ask = asks(row.network_policy)
        decided = self._decisions.of(row.project or "") if ask else Decided()
        domains = (*row.allow_domains, *decided.allow)
        return EgressPolicy(domains, off=not online(row.network_policy), ask=ask, never=decided.never)

    async def _serve(self, machine: Machine, proxy: Callable[[], EgressProxy], group: asyncio.TaskGroup) -> None:
        while True:
            try:
                reader, writer = await machine.guest.open_stream("/v1/egress/accept", owed=False)
            except GuestUnreachable:
                if not machine.alive():
                    return
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            group.create_task(self._one(proxy(), reader, writer))

    async def _one(self, proxy: EgressProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await proxy.serve(reader, writer)
        except OSError:
            pass  # the guest's side went away
        except Exception:
            log.exception("an egress connection failed")  # one connection must not end all others
        finally:
            writer.close()


def new_authority(name: str) -> bytes:
    """A certificate authority for a workspace, as `Secrets.authority` keeps it. Takes some milliseconds; blocks."""
    return Authority.create(name).dump()


def _certificate(secrets: Secrets) -> str:
    return Authority.load(secrets.authority).certificate_pem if secrets.authority else ""


def _interception(secrets: Secrets) -> Interception | None:
    if not secrets.authority:
        return None
    values: dict[str, dict[str, str]] = {}
    for secret in secrets.by_name.values():
        if secret.host is not None and secret.placeholder is not None:
            values.setdefault(secret.host, {})[secret.placeholder] = secret.value
    return Interception(
        Authority.load(secrets.authority), {host: Substitution(found) for host, found in values.items()}
    )


_PUBLIC_NAME = re.compile(
    r"(?=.{4,253}$)(?!.*\.(?:local|localhost|internal|lan|home\.arpa|invalid|onion)$)"
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+(?:[a-z][a-z0-9-]*[a-z0-9])",
    re.I,
)


class _Heard:
    """Names that were told of: a program that asks for one again and again is one row of the history."""

    def __init__(self) -> None:
        self._at: OrderedDict[str, float] = OrderedDict()

    def first(self, host: str) -> bool:
        """Whether this is the first time in a while."""
        now = time.monotonic()
        if now - self._at.get(host, -math.inf) < AGAIN_SECONDS:
            return False
        self._at[host] = now
        self._at.move_to_end(host)
        if len(self._at) > MAX_HEARD:
            self._at.popitem(last=False)
        return True


class Refusals:
    """What the ssh agent refused, a few in a while: a guest can have any number refused, each in words of its own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = -math.inf
        self._told = self._kept = 0

    def told(self, text: str) -> str | None:
        """What the history says of one; None is nothing, and a later one says how many those were."""
        now = self._clock()
        if now - self._since >= AGAIN_SECONDS:
            self._since, self._told = now, 0
        if self._told >= MAX_REFUSALS:
            self._kept += 1
            return None
        self._told += 1
        kept, self._kept = self._kept, 0
        return f"{text} ({kept} more were refused before it)" if kept else text


_WHY: dict[str, Literal["off", "not_allowed", "private"]] = {
    "off": "off",
    "not_allowed": "not_allowed",
    "ask": "not_allowed",
    "host_port": "not_allowed",
    "rule": "not_allowed",
}


def _grants(workspace: Workspace) -> Grants:
    return Grants.parse(workspace.row.allow_host_ports, workspace.row.allow_addresses)


def _ssh_hosts(workspace: Workspace) -> tuple[SshHost, ...]:
    return tuple(map(SshHost.parse, workspace.row.ssh_hosts))


def _refused(workspace: Workspace, event: EgressEvent) -> RefusedConnection:
    host = workspace.redactor.text(event.host)[:MAX_HOST]
    allow = how_to_allow(workspace, host, event.port, event.rule) if host == event.host else ""
    why: Literal["off", "failed", "not_allowed", "private"] = _WHY.get(event.rule.partition(" ")[0], "private")
    if event.verdict == "failed":
        why = "failed"
    return RefusedConnection(
        host="".join(c if c.isprintable() else "?" for c in host), port=event.port, why=why, allow_with=allow
    )


def how_to_allow(workspace: Workspace, host: str, port: int, rule: str) -> str:
    """The command with which the user lets a workspace reach what was refused; empty where none would."""
    row = workspace.row
    if row.one_shot:
        return ""  # it is gone before anybody can change it
    update = f"pyro workspace update {shlex.quote(row.name or workspace.id)}"
    if rule == "host_port" and 0 < port < 65536:
        return f"{update} --allow-host-port {port}"
    kind, _, asked = rule.partition(" ")
    if kind == "rule":
        return f"{update} --allow-domain {shlex.quote(f'{host}:{asked}')}" if asked else ""
    # An address, or a name of this network: its advice would open another thing than a domain.
    if rule not in ("off", "not_allowed", "ask") or host == HOST or not _PUBLIC_NAME.fullmatch(host.rstrip(".")):
        return ""
    if rule == "ask":
        return f"pyro allow {shlex.quote(host)}"
    opening = " --network-policy egress" if rule == "off" else ""
    return f"{update}{opening} --allow-domain {shlex.quote(host)}"
