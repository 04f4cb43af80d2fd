"""A project's Dockerfile and its features, built for its workspaces in machines, from a real registry."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp.sdk import Pyro
from tests.images import busybox_layer, digest, layer, layout, member, push, registry
from tests.support import Installation

FEATURE = ".devcontainer/ours"


def feature(place: Path, script: str, **said: Any) -> Path:
    place.mkdir(parents=True)
    (place / "devcontainer-feature.json").write_text(json.dumps({"version": "1.0.0", "name": place.name, **said}))
    (place / "install.sh").write_text(f"#!/bin/sh\nset -e\n{script}\n")
    return place


def pushed(place: Path, target: str) -> None:
    """Push a feature's folder to a registry, as containers.dev has it (implementors/features-distribution)."""
    files = [member(f"./{each.name}", each.read_bytes(), mode=0o644) for each in sorted(place.iterdir())]
    tar = layer(*files)
    out = place.with_name(f"{place.name}.oci")
    blobs = out / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str, **more: Any) -> dict[str, Any]:
        (blobs / digest(data).removeprefix("sha256:")).write_bytes(data)
        return {"mediaType": kind, "digest": digest(data), "size": len(data), **more}

    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(b"{}", "application/vnd.devcontainers"),
        "layers": [put(tar, "application/vnd.devcontainers.layer.v1+tar")],
    }
    entry = put(
        json.dumps(manifest).encode(),
        str(manifest["mediaType"]),
        annotations={"org.opencontainers.image.ref.name": "latest"},
    )
    (out / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (out / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    push(f"oci:{out}:latest", target)


def test_a_dockerfile_and_two_features_make_the_workspace(
    fresh: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout(tmp_path / "image", [busybox_layer()])
    tool = feature(
        tmp_path / "tool",
        'echo "tool $VERSION $FLAVOUR $_REMOTE_USER after $(cat /first)" > /tool',
        id="tool",
        options={"version": {"type": "string", "default": "1"}, "flavour": {"type": "string", "default": "it's $HOME"}},
        installsAfter=["127.0.0.1/none", "./ours"],
        containerEnv={"TOOL_HOME": "/opt/tool", "PATH": "/opt/tool/bin:${PATH}"},
        mounts=["source=/,target=/host,type=bind"],
    )
    root = tmp_path / "app"
    feature(root / FEATURE, "echo first > /first; ls /workspace/.. > /seen; touch ran-here", id="ours")
    (root / "Dockerfile").write_text(
        "ARG BASE\nFROM $BASE AS dev\nARG WHO\nCOPY . /copied\nRUN echo hello $WHO > /made\n"
        "FROM dev\nRUN touch /beyond\n"
    )
    (root / ".dockerignore").write_text("secret\n")
    (root / "secret").write_text("x")
    with registry(tmp_path / "registry") as host:
        monkeypatch.setenv("PYRO_MCP_IMAGES", f"{host}/*")
        push(f"oci:{tmp_path}/image:latest", f"{host}/team/base:1")
        pushed(tool, f"{host}/team/features/tool:1")
        said = {
            "build": {
                "dockerfile": "../Dockerfile", "context": "..", "target": "dev",
                "args": {"BASE": f"{host}/team/base:1", "WHO": "${localWorkspaceFolderBasename}"},
                "options": ["--privileged"],
            },
            "features": {
                f"{host}/team/features/tool:1": {"version": "2"},
                "./ours": {},
                "https://example.com/feature.tgz": {},
                "../../outside": {},
                "./missing": {},
            },
            "remoteUser": "dev",
            "onCreateCommand": "cat /made",
        }  # fmt: skip
        (root / ".devcontainer" / "devcontainer.json").write_text(json.dumps(said))
        with Pyro() as pyro:
            ws = pyro.create_workspace(seed_path=str(root))
            found = ws.devcontainer
            assert found is not None and found.followed and found.setup_status == "done", found
            done = pyro.exec_workspace(
                ws.id,
                "cat /made /tool; echo $TOOL_HOME $PATH; ls /copied /seen; ls /beyond /tmp/dev-container-features",
            ).stdout
            assert done.startswith("hello app\ntool 2 it's $HOME dev after first\n/opt/tool /opt/tool/bin:"), done
            assert "Dockerfile" in done and "secret" not in done and "beyond" not in done
            over = {each.partition(": ")[0] for each in found.passed_over}
            assert {"build.options", "remoteUser", f"{host}/team/features/tool"} & over or over, over
            shown = " ".join(found.passed_over)
            for name in ("build.options", "mounts", "https", "outside", "missing", "remoteUser"):
                assert name in shown, (name, found.passed_over)
            assert not list(tmp_path.glob("**/ran-here")) and not list(tmp_path.glob("**/beyond"))
    # All is here: nobody is asked, no machine builds; and another checkout of other contents is built anew.
    with Pyro() as pyro:
        again = pyro.create_workspace(seed_path=str(root))
        assert again.environment == ws.environment and pyro.exec_workspace(again.id, "cat /tool").exit_code == 0
        (root / "Dockerfile").write_text("FROM scratch\nRUN /nothing\n")
        broken = pyro.create_workspace(seed_path=str(root))
        told = broken.devcontainer
        assert told is not None and not told.followed and broken.environment == "debian:12"
        assert "Dockerfile is not used" in told.notes[0] and "has no stage 'dev'" in told.notes[0], told.notes


def test_what_a_project_builds_asks_nobody_the_user_did_not_allow(pyro: Pyro, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        name = f"127.0.0.1:{listener.getsockname()[1]}/team/it:1"
        for said, words in (
            ({"build": {"dockerfile": "Dockerfile"}}, "only the user can fetch it"),
            ({"build": {"dockerfile": "../outside"}}, "outside of the project"),
            ({"build": {"dockerfile": "link"}}, "no file link"),
            ({"dockerFile": "Dockerfile", "context": "../.."}, "outside of the project"),
            ({"build": {}}, "names no Dockerfile"),
        ):
            (tmp_path / "Dockerfile").write_text(f"FROM {name}\n")
            (tmp_path / ".devcontainer.json").write_text(json.dumps({**said, "onCreateCommand": "true"}))
            ws = pyro.create_workspace(seed_path=str(tmp_path))
            assert ws.devcontainer is not None and not ws.devcontainer.followed
            assert words in ws.devcontainer.notes[0], ws.devcontainer.notes
            pyro.delete_workspace(ws.id)
        (tmp_path / ".devcontainer.json").write_text(json.dumps({"image": "debian:12", "features": {name: {}}}))
        ws = pyro.create_workspace(seed_path=str(tmp_path))
        assert ws.devcontainer is not None and "PYRO_MCP_IMAGES" in " ".join(ws.devcontainer.passed_over)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert not os.path.exists(tmp_path / "ran-here")
