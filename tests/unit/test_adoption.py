"""What a daemon makes of what an earlier one left, on a computer where none of its machines runs any more."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.errors import NotFound
from pyro_mcp.machines.fleet import Fleet
from pyro_mcp.network.cache.registry_cache import RegistryCache
from pyro_mcp.network.decisions import Decisions
from pyro_mcp.network.questions import Questions
from pyro_mcp.reserve import Reserve
from pyro_mcp.seeds.store import SeedStore
from pyro_mcp.store import CommandRow, SnapshotRow, Store, WorkspaceRow
from pyro_mcp.workspaces.adoption import Adoption
from pyro_mcp.workspaces.egress import Egress
from pyro_mcp.workspaces.manager import WorkspaceManager
from pyro_mcp.workspaces.moments import Images
from pyro_mcp.workspaces.occupancy import Occupancy
from pyro_mcp.workspaces.registry import Registry
from pyro_mcp.workspaces.secrets import Secret, Secrets, Vault
from pyro_mcp.workspaces.services import Services

AT = "2026-01-01T00:00:00.000Z"
ROW = WorkspaceRow(
    *("ws-0", None, "running", "m-0", "debian:12", "d", "gvisor", "off", 1, 1024, AT, AT),
)
STATES = ("creating", "running", "stopped", "lost", "deleting")


class Daemon(NamedTuple):
    """The parts of one that own workspaces, without an engine."""

    store: Store
    registry: Registry
    vault: Vault
    adoption: Adoption
    images: Images

    @classmethod
    async def begun(cls, home: Path) -> Daemon:
        (home / "outputs").mkdir(exist_ok=True)
        store, fleet = await Store.open(home / "db"), Fleet([])
        registry = Registry(store, home / "outputs", fleet.isolation)
        vault, images = Vault(home / "secrets"), Images(home / "images")
        occupancy = Occupancy(
            registry,
            fleet,
            Services(registry),
            Egress(
                Questions(),
                Decisions(home / "decisions"),
                cache := RegistryCache(home / "registries", home / "settings"),
            ),
            images,
            seed_tree=lambda digest: home / digest,
            find_root=lambda name, digest: (_ for _ in ()).throw(NotFound("no environment")),
        )
        seeds = SeedStore(home / "seeds")
        manager = WorkspaceManager(registry, occupancy, fleet, vault, images, seeds, Reserve(home / "reserve"), cache)
        return cls(store, registry, vault, Adoption(registry, occupancy, vault, images, manager.forget), images)

    async def end(self) -> None:
        await self.registry.close()
        await self.store.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STATES), st.booleans(), st.booleans()), max_size=5))
def test_every_workspace_is_whole_or_gone_and_a_second_look_changes_nothing(
    kept: list[tuple[str, bool, bool]],
) -> None:
    """Each: its state, whether it has a name, whether a command ran."""

    async def main(home: Path) -> None:
        first = await Daemon.begun(home)
        for number, (state, named, ran) in enumerate(kept):
            own = f"ws-{number}"
            image = {"image": "kept"} if state == "stopped" else None
            row = replace(ROW, id=own, name=f"n{number}" if named else None, state=state, suspended=image)
            await first.store.put_workspace(row)
            await first.store.begin_event(own, "cli", "exec_workspace", "make")
            if ran:
                await first.store.put_command(CommandRow(f"{number}-1", own, ["make"], "running", AT), 1)
            (home / "outputs" / own).mkdir()
            first.vault.write(own, Secrets({"TOKEN": Secret("TOKEN", "a value")}))
        (home / "outputs" / "ws-nobody").mkdir()
        first.vault.write("ws-nobody", Secrets({"TOKEN": Secret("TOKEN", "a value")}))
        await first.end()

        seen = []
        for _ in range(2):
            daemon = await Daemon.begun(home)
            await daemon.adoption.run()
            found = {}
            for workspace in daemon.registry.all():
                events = [(e.outcome, e.error) for e in await daemon.store.events(workspace.id, 10)]
                statuses = [command.row.status for command in workspace.commands.values()]
                found[workspace.id] = (workspace.row.state, statuses, events, sorted(workspace.secrets.by_name))
            seen.append(found)
            await daemon.end()
            wanted = {f"ws-{n}" for n, (state, _, _) in enumerate(kept) if state not in ("creating", "deleting")}
            assert found.keys() == wanted
            assert {path.name for path in (home / "outputs").iterdir()} <= wanted
            assert {path.stem for path in (home / "secrets").iterdir()} == wanted
            for own, (now, statuses, events, secrets) in found.items():
                state, _, ran = kept[int(own.removeprefix("ws-"))]
                assert now == {"running": "lost"}.get(state, state)
                assert secrets == ["TOKEN"]
                assert ("error", "the daemon was ended during this operation") in events
                assert "running" not in [outcome for outcome, _ in events]
                if ran:
                    assert statuses == [{"running": "lost", "stopped": "suspended"}.get(state, "running")]
        assert seen[0] == seen[1]

    with tempfile.TemporaryDirectory() as home:
        asyncio.run(main(Path(home)))


def test_why_a_machine_is_lost_is_said_and_its_name_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = await Daemon.begun(tmp_path)
        await daemon.store.put_workspace(replace(ROW, name="mine"))
        await daemon.adoption.run()
        workspace = daemon.registry.get("mine")
        assert workspace.row.state == "lost"
        assert "no daemon was running" in (workspace.row.cause or "")
        await daemon.end()

    asyncio.run(main())


def test_images_of_snapshots_are_kept_and_others_are_swept(tmp_path: Path) -> None:
    async def main() -> None:
        daemon = await Daemon.begun(tmp_path)
        await daemon.store.put_workspace(replace(ROW, state="stopped", suspended={"image": "stopped"}))
        await daemon.store.put_snapshot(SnapshotRow(ROW.id, "before", AT, 1, "kept"))
        for name in ("stopped", "kept", "nobodys"):
            daemon.images.path(ROW.id, name).mkdir(parents=True)
        await daemon.adoption.run()
        assert sorted(path.name for path in daemon.images.path(ROW.id, "kept").parent.iterdir()) == ["kept", "stopped"]
        assert [*daemon.registry.get(ROW.id).snapshots] == ["before"]
        await daemon.end()

    asyncio.run(main())
