"""Interception, as curl sees it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.test_intercept import BLOCK, HOST, PLACEHOLDER, SECRET, Scene, basic, scene

__all__ = ["scene"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_is_a_guest_like_any_other(scene: Scene, tmp_path: Path) -> None:
    trusted, body = tmp_path / "ca.pem", tmp_path / "body"
    trusted.write_text(scene.workspace.certificate_pem)
    body.write_bytes(BLOCK * 32)
    done = subprocess.run(
        ["curl", "-sS", "--compressed", "--cacert", trusted, "--connect-to", f"{HOST}:443:127.0.0.1:{scene.port}",
         "-u", f"me:{PLACEHOLDER}", "-T", body, f"https://{HOST}/upload"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == hashlib.sha256(BLOCK * 32).hexdigest().encode()
    assert scene.seen[0][1]["authorization"] == basic(f"me:{SECRET}")
