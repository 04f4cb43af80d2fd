"""Pulling an environment: killed in the middle, and twice at once. In a cache of its own, for real."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp.errors import PyroError
from pyro_mcp.models import Environment
from pyro_mcp.sdk import Progress, Pyro
from tests.support import Installation, slowness

pytestmark = pytest.mark.as_root

SMALL = "debian:12-base"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Installation, Path]]:
    """An installation whose caches are empty, and which takes them along when it goes."""
    # mmdebstrap's target must be reachable for dpkg's helpers: not below pytest's private directory.
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    with Installation() as installation:
        cache = installation.root / "cache"
        installation.environment["XDG_CACHE_HOME"] = str(cache)
        for key, value in installation.environment.items():
            monkeypatch.setenv(key, value)
        yield installation, cache / "pyro" / "environments"
        with Pyro() as pyro:
            pyro.prune_environments(all=True)


def test_a_killed_pull_goes_on_and_two_at_once_do_the_work_once(empty_cache: tuple[Installation, Path]) -> None:
    installation, environments = empty_cache
    begun = threading.Event()
    said: list[str] = []

    def watch(event: object) -> None:
        if isinstance(event, Progress):
            said.append(event.text)
            if "installing the base" in event.text:
                begun.set()

    def pull() -> None:
        with Pyro(on_event=watch) as client:
            try:
                client.pull_environment(SMALL)
            except PyroError as error:
                said.append(str(error))
            finally:
                begun.set()  # one that fails before is not waited for

    killed = threading.Thread(target=pull)
    killed.start()
    assert begun.wait(120 * slowness()), said
    assert any("installing the base" in text for text in said), said
    installation.kill_daemon()
    killed.join(30 * slowness())
    assert not killed.is_alive()

    phases: list[str] = []
    results: list[Environment | PyroError] = []

    def pull_again() -> None:
        with Pyro(on_event=lambda e: phases.append(e.text) if isinstance(e, Progress) else None) as client:
            try:
                results.append(client.pull_environment(SMALL))
            except PyroError as error:
                results.append(error)

    threads = [threading.Thread(target=pull_again) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240 * slowness())
    made = [result for result in results if isinstance(result, Environment)]
    assert len(made) == 2, (results, phases)
    assert made[0].installed
    assert made[0].digest == made[1].digest
    builds = [p for p in environments.iterdir() if (p / "manifest.json").exists()]
    assert len(builds) == 1
    assert list((environments / "staging").iterdir()) == []
    # What the killed one had downloaded was taken over, and is still there for the next.
    assert list((environments / "packages").rglob("*.deb"))
    with Pyro() as pyro:
        contents = pyro.inspect_environment(SMALL).contents
        assert contents is not None
        assert "ca-certificates" in contents
        assert pyro.run_in_vm(SMALL, "cat /etc/debian_version").stdout.startswith("12")
