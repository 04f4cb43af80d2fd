"""A machine's root, as a hostile guest sends it, becomes an environment and touches nothing else of this computer."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyro_mcp.environments import saving
from pyro_mcp.environments.cache import EnvironmentCache
from pyro_mcp.environments.oci.pull import pull
from pyro_mcp.environments.oci.reference import parse
from pyro_mcp.errors import Conflict
from tests.images import layer, layout, member, symlink


@pytest.fixture
def cache(tmp_path: Path) -> EnvironmentCache:
    found = EnvironmentCache(tmp_path / "cache")
    found.prepare()
    return found


def saved(cache: EnvironmentCache, tmp_path: Path, *members: object, secret: bytes | None = None) -> Path:
    image = layout(tmp_path / "image", [layer(member("etc"), member("etc/motd", b"hello"), member("bin"))])
    base = pull(parse(f"oci:{image}"), cache, "", lambda text, fraction: None)
    archive = tmp_path / "root.tar"
    archive.write_bytes(layer(*members))  # type: ignore[arg-type]
    made = saving.save("kit", base, archive, "ws-0", [secret] if secret else [], cache)
    return cache.tree(made.digest)


@pytest.mark.parametrize("at", ["etc", "etc/ssl", "etc/ssl/certs", "etc/apt", "etc/apt/apt.conf.d", "etc/hosts"])
def test_a_link_where_pyro_s_own_files_stand_leads_nowhere(cache: EnvironmentCache, tmp_path: Path, at: str) -> None:
    """All that is removed of a machine's root is removed by name: a link on the way would lead to this computer's."""
    outside = tmp_path / "outside"
    for path in saving.MACHINES_OWN:
        for prefix in ("", "etc/", "etc/ssl/", "etc/ssl/certs/", "etc/apt/", "etc/apt/apt.conf.d/"):
            if path.startswith(prefix):
                place = outside / path.removeprefix(prefix)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text("the user's")
    before = {place: place.read_text() for place in outside.rglob("*") if place.is_file()}
    parents = [member("/".join(at.split("/")[:n])) for n in range(1, at.count("/") + 1)]
    root = saved(cache, tmp_path, *parents, symlink(at, str(outside)))
    assert {place: place.read_text() for place in outside.rglob("*") if place.is_file()} == before
    assert not (root / "etc").is_symlink() and (root / "etc/hosts").read_text().startswith("127.0.0.1")


def test_a_secret_is_found_in_names_and_in_what_links_say(cache: EnvironmentCache, tmp_path: Path) -> None:
    for number, odd in enumerate(
        (member("a-topsecret99", b"x"), member("d-topsecret99"), symlink("l", "/x/topsecret99"))
    ):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(Conflict) as caught:
            saved(cache, tmp_path / str(number), odd, secret=b"topsecret99")
        assert "topsecret99" not in str(caught.value) + str(caught.value.details)
