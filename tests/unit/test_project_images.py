"""The build of a project's environment, for which several wait, and what it reaches."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.context import Context
from pyro_mcp.daemon.handlers import builds, project_images
from pyro_mcp.devcontainers.read import Devcontainer
from pyro_mcp.environments.oci.reference import Reference
from pyro_mcp.errors import Conflict, InvalidInput
from pyro_mcp.seeds.scan import scan
from pyro_mcp.seeds.sources import Source
from pyro_mcp.vocabulary import NetworkPolicy


class Builder:
    """In place of `builds.build`: it ends when it is let go, and knows what was ordered and who listens."""

    def __init__(self) -> None:
        self.orders: list[builds.Order] = []
        self.calls: list[Call] = []
        self.go, self.cancelled = asyncio.Event(), False

    async def build(self, call: Call, context: Context, order: builds.Order) -> None:
        self.orders.append(order)
        self.calls.append(call)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


def asked(place: Path, policy: NetworkPolicy = "egress", domains: list[str] | None = None) -> project_images.Asked:
    plan = scan(place)
    return project_images.Asked(Source(place, plan, 0, 0), plan, "", policy, domains or [])


async def made(call: Call, wanted: project_images.Asked, said: Devcontainer | None = None) -> Any:
    environments = SimpleNamespace(
        cache=SimpleNamespace(current=lambda name: None, names=dict), root=lambda name: f"the root of {name}"
    )
    context = cast(Context, SimpleNamespace(environments=environments))
    order = builds.Order(name="", text=b"FROM a", context=wanted.source, said="")
    return await project_images._made(call, context, wanted, said or Devcontainer(), order, "", "mark")


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Builder:
    found = Builder()
    monkeypatch.setattr(builds, "build", found.build)
    return found


def person() -> Call:
    async def emit(event: dict[str, Any]) -> None:
        pass

    return Call("cli", "", emit=emit)


def test_a_person_who_leaves_ends_no_build_for_which_another_waits(tmp_path: Path, builder: Builder) -> None:
    async def run() -> None:
        wanted = asked(tmp_path)
        first, second = (asyncio.create_task(made(person(), wanted)) for _ in range(2))
        await asyncio.sleep(0.1)
        first.cancel()
        await asyncio.wait({first}, timeout=5)
        assert first.cancelled() and not builder.cancelled and builder.calls[0].emit is None
        builder.go.set()
        assert (await second).startswith("the root of project-") and len(builder.orders) == 1

    asyncio.run(run())


def test_a_build_ends_with_the_last_person_but_goes_on_without_a_chat_host(tmp_path: Path, builder: Builder) -> None:
    async def run() -> None:
        wanted = asked(tmp_path)
        alone = asyncio.create_task(made(person(), wanted))
        await asyncio.sleep(0.1)
        alone.cancel()
        await asyncio.wait({alone}, timeout=5)
        await asyncio.sleep(0)
        assert builder.cancelled
        builder.cancelled = False
        watching = asyncio.create_task(made(person(), wanted))
        await asyncio.sleep(0.1)
        with pytest.raises(Conflict, match="being fetched"):
            await made(Call("mcp", "", begun=-1000.0), wanted)
        assert builder.calls[-1].emit is not None, "whoever began it still hears of it"
        watching.cancel()
        await asyncio.wait({watching}, timeout=5)
        assert not builder.cancelled and len(builder.orders) == 2
        builder.go.set()
        await asyncio.sleep(0.1)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("policy", "domains", "reach", "words"),
    [
        ("off", [], ("off", []), ""),
        ("egress", [], ("egress", []), ""),
        ("egress", ["a.example"], ("egress", ["a.example"]), ""),
        ("egress", ["a.example", "b.example:GET"], ("off", []), "domains with rules"),
        ("ask", [], ("off", []), "nobody is asked"),
    ],
)
def test_a_build_reaches_what_the_caller_opened_or_a_note_says_why_not(
    tmp_path: Path,
    builder: Builder,
    policy: NetworkPolicy,
    domains: list[str],
    reach: tuple[str, list[str]],
    words: str,
) -> None:
    async def run() -> None:
        said = Devcontainer()
        builder.go.set()
        await made(person(), asked(tmp_path, policy, domains), said)
        assert (builder.orders[0].network_policy, builder.orders[0].allow_domains) == reach
        assert (words in said.notes[0]) if words else said.notes == []

    asyncio.run(run())


def test_what_features_need_is_tried_so_often_and_each_in_a_place_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs: dict[str, Any] = {f"r.example/features/f{number}:1": {} for number in range(100)}
    place = tmp_path / "project" / "tool"
    place.mkdir(parents=True)
    (place / "devcontainer-feature.json").write_text(json.dumps({"dependsOn": needs}))
    (place / "install.sh").touch()
    archives: list[Path] = []

    async def fetched(context: Context, reference: Reference, archive: Path, place: Path) -> None:
        archives.append(archive)
        raise InvalidInput("is not there")

    monkeypatch.setattr(project_images, "_fetched", fetched)
    monkeypatch.setenv("PYRO_MCP_IMAGES", "r.example/*")
    said = Devcontainer(features={"./tool": {}})
    collected = project_images._collected(
        Call("cli", ""), cast(Context, None), asked(tmp_path / "project"), said, tmp_path, "root"
    )
    with pytest.raises(InvalidInput, match="more than 32 features"):
        asyncio.run(collected)
    assert len(archives) == len(set(archives)) == 31


def test_no_link_in_a_feature_has_a_file_of_this_computer_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("as it was")

    async def fetched(context: Context, reference: Reference, archive: Path, place: Path) -> None:
        place.mkdir(parents=True)
        (place / "devcontainer-feature.json").write_text(json.dumps({"options": {"a": {"default": "x y"}}}))
        (place / "install.sh").touch()
        if "bad" in reference.name:
            (place / "devcontainer-features.env").mkdir()
        else:
            (place / "devcontainer-features.env").symlink_to(mine)

    monkeypatch.setattr(project_images, "_fetched", fetched)
    monkeypatch.setenv("PYRO_MCP_IMAGES", "r.example/*")
    (tmp_path / "project").mkdir()
    said = Devcontainer(features={"r.example/features/it:1": {}, "r.example/features/bad:1": {}})
    wanted = asked(tmp_path / "project")
    collected = project_images._collected(Call("cli", ""), cast(Context, None), wanted, said, tmp_path, "root")
    (found,) = asyncio.run(collected)
    told = tmp_path / "files" / found.folder / "devcontainer-features.env"
    assert mine.read_text() == "as it was" and "A='x y'\n" in told.read_text() and not told.is_symlink()
    assert "features/bad" in said.passed_over[0]
