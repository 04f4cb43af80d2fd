"""What a guest's programs are shown of the way out."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from pyro_mcp.environments.oci import dress
from pyro_mcp.network.guest_environment import environment


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "0", "0.0.0.0", "mine", "a.localhost"])
def test_what_means_the_machine_itself_goes_to_no_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(3128, "mine").items():
        monkeypatch.setenv(name, value)
    assert urllib.request.proxy_bypass(f"{host}:8000")
    for public in ("example.com", "10.example.com", "example0", "1.1.1.1", "notmine"):
        assert not urllib.request.proxy_bypass(public)


def test_an_image_s_own_gitconfig_is_kept_and_asks_for_credentials(tmp_path: Path) -> None:
    below = tmp_path / "layer"
    below.mkdir()
    (below / "gitconfig").write_text("[user]\n\tname = theirs\n[core]")
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / "etc" / "gitconfig").hardlink_to(below / "gitconfig")
    for _ in range(2):
        dress.dress(tmp_path / "root")
        text = (tmp_path / "root" / "etc" / "gitconfig").read_text()
        assert text == "[user]\n\tname = theirs\n[core]\n" + dress.INCLUDED
    assert (below / "gitconfig").read_text() == "[user]\n\tname = theirs\n[core]", "layers share it"
