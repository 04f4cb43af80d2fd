"""Dockerfiles, built in real machines by buildah, beginning with images of a real registry."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.client.answers import Event, Output
from pyro_mcp.environments.cache import EnvironmentCache
from pyro_mcp.environments.oci.pull import take
from pyro_mcp.errors import EngineError, PyroError
from pyro_mcp.sdk import Pyro
from tests.images import busybox_layer, layer, layout, member, push, registry
from tests.support import Installation, wait_until

TEN_STEPS = """# syntax=docker/dockerfile:1
ARG BASE
FROM ${BASE} AS tools
ARG WHO=nobody
ENV GREETING=hello
WORKDIR /made
COPY given.txt .
RUN <<END
set -e
echo "$GREETING $WHO" > greeting
rm /etc/os-release
head -c 32 /dev/urandom | sha256sum > uuid
END
FROM ${BASE}
RUN echo app:x:1000:1000::/:/bin/sh >> /etc/passwd && mkdir -p /srv/deep && echo kept > /srv/deep/old
COPY --from=tools /made /srv/made
COPY --chown=app *.txt /srv/
RUN rm -r /srv/deep && mkdir /srv/deep && mknod /srv/null c 1 3; mkfifo /srv/pipe; true
USER app
WORKDIR /srv
RUN cat /srv/made/greeting && id -un
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    layout(tmp_path / "image", [busybox_layer(), layer(member("etc/mark", b"base\n"))], Env=["FROM_BASE=yes"])
    with registry(tmp_path / "registry") as place:
        push(f"oci:{tmp_path}/image:latest", f"{place}/team/base:1")
        yield f"{place}/team/base:1"


def written(root: Path, dockerfile: str, **files: str) -> str:
    root.mkdir(exist_ok=True)
    (root / "Dockerfile").write_text(dockerfile)
    for name, text in files.items():
        (root / name.replace("_", ".")).write_text(text)
    return str(root)


def build(context: str, **more: Any) -> tuple[Any, str]:
    """The environment and the log; of a failed build the error and the log."""
    said: list[bytes] = []

    def heard(event: Event) -> None:
        if isinstance(event, Output):
            said.append(event.data)

    async def story() -> Any:
        async with AsyncPyro(on_event=heard) as pyro:
            try:
                return await pyro.build_environment("made", context=context, **more)
            except PyroError as error:
                return error

    found = asyncio.run(story())
    return found, b"".join(said).decode()


def test_ten_steps_their_cache_a_failure_and_what_reaches_out(pyro: Pyro, tmp_path: Path, host: str) -> None:
    (tmp_path / "secret").write_text("of this machine")
    context = written(tmp_path / "app", TEN_STEPS, given_txt="given\n", left_txt="left\n", _dockerignore="left.txt\n")
    arguments = {"BASE": host, "WHO": "world"}
    made, log = build(context, build_args=arguments, again=True)
    assert not isinstance(made, PyroError), (made, log)
    assert "STEP 8/8: RUN cat" in log and "hello world\napp\n" in log
    assert made.source == f"built from {context}/Dockerfile" and made.user == "app" and made.workdir == "/srv"
    assert any("1 devices, FIFOs" in note or "2 devices, FIFOs" in note for note in made.notes), made.notes
    ws = pyro.create_workspace("made").id
    done = pyro.exec_workspace(
        ws,
        "cat /srv/made/greeting /srv/given.txt /etc/mark; ls /srv /srv/deep; echo $FROM_BASE",
    )
    assert done.stdout.startswith("hello world\ngiven\nbase\n") and "yes\n" in done.stdout, done.stdout
    assert "left.txt" not in done.stdout and "old" not in done.stdout and "null" not in done.stdout
    uuid = pyro.exec_workspace(ws, "cat /srv/made/uuid").stdout
    assert [each.id for each in pyro.list_workspaces().workspaces] == [ws], "the machine of the build is gone"

    # The second build does again what changed, and nothing before it.
    (tmp_path / "app" / "Dockerfile").write_text(TEN_STEPS + "RUN echo more && touch /srv/more || exit 7\n")
    failed, log = build(context, build_args=arguments)
    assert isinstance(failed, EngineError) and failed.code == "build_failed", failed
    assert failed.details["exit_status"] == 7 and "RUN echo more" in failed.details["step"]
    assert "more\n" in failed.details["log"] and "Permission denied" in failed.details["log"]
    assert log.count("Using cache") == 12, log
    (tmp_path / "app" / "Dockerfile").write_text(TEN_STEPS + "USER root\nRUN touch /srv/more\n")
    made, log = build(context, build_args=arguments)
    assert not isinstance(made, PyroError) and log.count("Using cache") == 12, log
    after = pyro.create_workspace("made").id
    assert pyro.exec_workspace(after, "cat /srv/made/uuid; ls /srv/more").stdout == f"{uuid}/srv/more\n"
    assert pyro.exec_workspace(ws, "ls /srv/more").exit_code != 0, "workspaces keep what they began with"
    pyro.delete_workspace(after)

    # What leads out of the context, or asks for a network that is off, fails in words and brings nothing in.
    (tmp_path / "app" / "out").symlink_to(tmp_path)
    for step in ("COPY ../../secret /x", "COPY out/secret /x"):
        written(tmp_path / "app", f"FROM {host}\n{step}\nRUN cat /x\n")
        failed, log = build(context)
        assert isinstance(failed, EngineError) and "of this machine" not in log, (step, log)
    written(tmp_path / "app", f"FROM {host}\nADD http://example.com/x /x\n")
    failed, log = build(context)
    assert isinstance(failed, EngineError) and "egress" in failed.hint, (failed, failed.hint, log)
    for text, words in (
        ("FROM oci:/etc\n", "file of this computer"),
        (f"FROM {host}\nCOPY --from=no-such-thing /a /b\n", "There is no environment"),
    ):
        written(tmp_path / "app", text)
        failed, log = build(context)
        assert isinstance(failed, PyroError) and words in str(failed), (text, failed)
    assert pyro.inspect_environment("made").digest == made.digest, "what was built before stays"
    pyro.remove_environment("made")
    assert not list((pyro_cache() / "kept").glob("made*"))


def pyro_cache() -> Path:
    import os

    return Path(os.environ["XDG_CACHE_HOME"]) / "pyro" / "environments"


def test_a_killed_daemon_leaves_nothing_of_a_build(fresh: Installation, tmp_path: Path, host: str) -> None:
    context = written(tmp_path / "app", f"FROM {host}\nRUN echo begun; while [ ! -e /go ]; do sleep 1; done\n")
    begun = threading.Event()

    def heard(event: Event) -> None:
        if isinstance(event, Output) and b"begun\n" in event.data:
            begun.set()

    async def story() -> None:
        async with AsyncPyro(on_event=heard) as tools:
            with pytest.raises(PyroError):
                await tools.build_environment("cut-off", context=context)

    thread = threading.Thread(target=asyncio.run, args=(story(),), daemon=True)
    thread.start()
    assert begun.wait(120)
    fresh.kill_daemon()
    thread.join(30)
    with Pyro() as pyro:
        wait_until(lambda: not pyro.list_workspaces().workspaces)
        wait_until(lambda: not list((pyro_cache() / "staging").glob("build-*")))
        written(tmp_path / "app", f"FROM {host}\nRUN echo again\n")
        assert pyro.build_environment("cut-off", context=context).installed
        pyro.remove_environment("cut-off")


def packed(files: dict[str, bytes], **links: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, target in links.items():
            info = tarfile.TarInfo(name.replace("_", "."))
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return out.getvalue()


def lying(tmp_path: Path) -> Iterator[bytes]:
    """What a builder that a Dockerfile has taken over may send for its result."""
    yield b""
    yield b"no tar at all" * 100
    yield packed({"index.json": b"[]"})
    yield packed({}, index_json="/etc/passwd")
    yield packed({}, index_json="index.json")
    good = layout(tmp_path / "good", [busybox_layer()])
    whole = {str(each.relative_to(good)): each.read_bytes() for each in good.rglob("*") if each.is_file()}
    biggest = max(whole, key=lambda name: len(whole[name]))
    yield packed({**whole, biggest: whole[biggest] + b"x"})
    yield packed({name: data for name, data in whole.items() if name != biggest})
    yield packed({name: data for name, data in whole.items() if name != biggest}, **{biggest: "/etc/passwd"})
    index = json.loads(whole["index.json"])
    index["manifests"][0]["digest"] = "sha256:" + hashlib.sha256(b"").hexdigest()
    yield packed({**whole, "index.json": json.dumps(index).encode()})
    yield packed({**whole, "index.json": b"[" * 100_000})
    outside = layer(member("../../outside", b"x"), member("etc/passwd", b"x"))
    bad = layout(tmp_path / "bad", [outside])
    yield packed({str(each.relative_to(bad)): each.read_bytes() for each in bad.rglob("*") if each.is_file()})


def test_a_builder_that_lies_installs_nothing(tmp_path: Path) -> None:
    cache = EnvironmentCache(tmp_path / "cache")
    cache.prepare()
    for number, data in enumerate(lying(tmp_path)):
        archive = tmp_path / f"{number}.tar"
        archive.write_bytes(data)
        with pytest.raises(PyroError):
            take("made", archive, "Dockerfile", cache)
        assert cache.current("made") is None and cache.builds() == [], number
    assert not list((tmp_path / "cache" / "staging").iterdir()) and not list(tmp_path.glob("**/outside"))
