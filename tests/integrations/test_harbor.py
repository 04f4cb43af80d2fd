"""Harbor with pyro's environment: its oracle agent on tasks of our own, and what its interface promises."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("harbor", reason="harbor is not installed: make test-integrations")

from harbor.models.task.config import EnvironmentConfig, NetworkMode, NetworkPolicy
from harbor.models.trial.paths import TrialPaths

from pyro_mcp.integrations.harbor import LABELS, PyroEnvironment
from pyro_mcp.integrations.machine import Gone
from pyro_mcp.sdk import Pyro

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left")]
IMAGE = 'docker_image = "debian:12"\nworkdir = "/app"\nnetwork_mode = "no-network"\ncpus = 1\nmemory_mb = 512\n'
ANSWER = "echo $((2 + 3)) >answer.txt\n"
CHECK = """
test "$(cat answer.txt)" = 5 && reached=1 || reached=0
echo $reached >/logs/verifier/reward.txt
"""


def task(place: Path, *, environment: str = IMAGE, solve: str = ANSWER, check: str = CHECK, **files: str) -> Path:
    """A task's directory; `files` are its environment's."""
    for name, text in {
        "instruction.md": "Write the sum of 2 and 3 into answer.txt.\n",
        "task.toml": f'schema_version = "1.4"\n[verifier]\ntimeout_sec = 300.0\n[agent]\ntimeout_sec = 300.0\n'
        f"[environment]\n{environment}",
        "solution/solve.sh": f"#!/bin/bash\n{solve}",
        "tests/test.sh": f"#!/bin/bash\n{check}",
        **{f"environment/{name}": text for name, text in {"data.txt": "data\n", **files}.items()},
    }.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place


def run(tmp_path: Path, *arguments: str) -> dict[str, float | str]:
    """The oracle's reward for each task, or the kind of exception."""
    argv = [str(Path(sys.executable).parent / "harbor"), "run", "-a", "oracle", "-o", str(tmp_path / "jobs"), "--yes"]
    argv += ["-e", "pyro_mcp.integrations.harbor:PyroEnvironment", *arguments]
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "HARBOR_TELEMETRY": "off"}
    ended = subprocess.run(argv, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=600)
    rewards: dict[str, float | str] = {}
    for path in (tmp_path / "jobs").glob("*/*/result.json"):
        result = json.loads(path.read_text())
        broken, verified = result["exception_info"], result["verifier_result"]
        name = result["task_name"].rpartition("/")[2]
        rewards[name] = broken["exception_message"] if broken else verified["rewards"]["reward"]
    assert rewards, ended.stdout + ended.stderr
    return rewards


def test_the_oracle_solves_three_tasks_and_a_wrong_solution_is_worth_nothing(tmp_path: Path) -> None:
    tasks = tmp_path / "tasks"
    task(tasks / "right", check=f'test "$(cat data.txt)" = data || exit 1\n{CHECK}')
    task(tasks / "wrong", solve="echo 4 >answer.txt\n")
    task(
        tasks / "without-network",
        solve="if (exec 3<>/dev/tcp/1.1.1.1/53) 2>/dev/null; then echo open; else echo 5; fi >answer.txt\n",
    )
    assert run(tmp_path, "-p", str(tasks), "-n", "2") == {"right": 1.0, "wrong": 0.0, "without-network": 1.0}


def test_a_dockerfile_is_built_once_and_its_directory_is_where_commands_run(tmp_path: Path) -> None:
    files = {"Dockerfile": "FROM debian:12\nWORKDIR /srv/app\nCOPY data.txt kept.txt\nRUN echo built >built.txt\n"}
    check = f"cd /srv/app && grep -q data kept.txt && grep -q built built.txt || exit 1\n{CHECK}"
    made = task(tmp_path / "built", environment='network_mode = "no-network"\n', check=check, **files)
    assert run(tmp_path, "-p", str(made), "-k", "2", "-n", "2", "--ek", "build_network=false") == {"built": 1.0}
    with Pyro() as pyro:
        names = [e.name for e in pyro.list_environments().environments if e.name.startswith("harbor-")]
        assert len(names) == 1
        pyro.remove_environment(names[0])


@asynccontextmanager
async def running(
    tmp_path: Path, *, policy: NetworkPolicy | None = None, **config: Any
) -> AsyncIterator[PyroEnvironment]:
    (tmp_path / "environment").mkdir(exist_ok=True)
    paths = TrialPaths(tmp_path / "trial")
    environment = PyroEnvironment(
        environment_dir=tmp_path / "environment",
        environment_name="of-a-test",
        session_id="of-a-test__1__env",
        trial_paths=paths,
        task_env_config=EnvironmentConfig(**{"docker_image": "debian:12", **config}),
        network_policy=policy or NetworkPolicy(network_mode=NetworkMode.NO_NETWORK),
        logger=logging.getLogger("harbor-test"),
    )
    await environment.start(force_build=False)
    try:
        yield environment
    finally:
        await environment.stop(delete=True)


async def test_directories_go_in_and_come_back_whole(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub" / "empty").mkdir(parents=True)
    (source / "sub" / "blob").write_bytes(os.urandom(2_000_000))
    (source / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (source / "run.sh").chmod(0o755)
    (source / "link").symlink_to("sub/blob")
    (source / "ünï '$(id)'").write_text("x")
    async with running(tmp_path) as environment:
        await environment.upload_dir(source, "/srv/in to")
        assert (await environment.exec("./run.sh && id -u && stat -c %U run.sh", cwd="/srv/in to")).stdout == (
            "ran\n0\nroot\n"
        )
        await environment.download_dir("/srv/in to", tmp_path / "back")
        await environment.upload_file(source / "run.sh", "/srv/deep/er/run.sh")
        assert (await environment.exec("/srv/deep/er/run.sh")).stdout == "ran\n"
        await environment.download_file("/srv/in to/sub/blob", tmp_path / "out" / "blob")
        assert await environment.is_dir("/srv/in to") and not await environment.is_file("/srv/in to")
        with pytest.raises(FileNotFoundError):
            await environment.download_file("/srv/none", tmp_path / "none")
        with pytest.raises(RuntimeError, match="none"):
            await environment.download_dir("/srv/none", tmp_path / "none")
    same = await asyncio.create_subprocess_exec("diff", "-r", str(source), str(tmp_path / "back"))
    assert await same.wait() == 0
    assert (tmp_path / "back" / "link").is_symlink() and os.access(tmp_path / "back" / "run.sh", os.X_OK)
    assert (tmp_path / "out" / "blob").read_bytes() == (source / "sub" / "blob").read_bytes()


async def test_what_a_machine_packs_cannot_leave_the_directory(tmp_path: Path) -> None:
    forge = (
        "mkdir -p /srv/evil && cd /srv/evil && ln -s /etc/passwd absolute && ln -s ../../.. up && mkfifo pipe && "
        "echo fine >fine && mkdir dir && echo x >dir/x"
    )
    tar = (
        "import io, sys, tarfile\n"
        "with tarfile.open(fileobj=sys.stdout.buffer, mode='w|') as t:\n"
        "    for name in ('../escaped', '/tmp/pyro-escaped', 'fine'):\n"
        "        i = tarfile.TarInfo(name); i.size = 4; t.addfile(i, io.BytesIO(b'evil'))\n"
    )
    async with running(tmp_path) as environment:
        assert (await environment.exec(forge)).return_code == 0
        await environment.download_dir("/srv/evil", tmp_path / "honest")
        assert sorted(p.name for p in (tmp_path / "honest").iterdir()) == ["dir", "fine"]
        (tmp_path / "tar").write_text("#!/usr/bin/python3\n" + tar)
        (tmp_path / "tar").chmod(0o755)
        await environment.upload_file(tmp_path / "tar", "/usr/local/sbin/tar")
        await environment.download_dir("/srv/evil", tmp_path / "forged" / "in")
    assert [p.name for p in (tmp_path / "forged").iterdir()] == ["in"]
    assert not Path("/tmp/pyro-escaped").exists()


async def test_users_variables_and_timeouts(tmp_path: Path) -> None:
    async with running(tmp_path, workdir="/app/deep", env={"OF_THE_TASK": "1"}) as environment:
        with environment.with_default_user(1234), environment.scoped_exec_env({"SCOPED": "2"}):
            said = await environment.exec(
                "pwd; id -u; echo $OF_THE_TASK$SCOPED$MINE; echo no >&2; exit 7", env={"MINE": "3"}
            )
        assert (said.stdout, said.stderr, said.return_code) == ("/app/deep\n1234\n123\n", "no\n", 7)
        pieces: list[tuple[str, str]] = []

        async def told(text: str, stream: str) -> None:
            pieces.append((text, stream))

        with environment.scoped_output_callback(told):
            await environment.exec("printf '\\303'; sleep 0.2; printf '\\251\\n'; echo e >&2")
        assert "".join(text for text, stream in pieces if stream == "stdout") == "é\n"
        with pytest.raises(RuntimeError, match="timed out after 1 seconds"):
            await environment.exec("exec sleep 14142", timeout_sec=1)
        assert "14142" not in str((await environment.exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")).stdout)
        assert (await environment.exec("id -u", user="root")).stdout == "0\n"


async def test_a_list_of_hosts_is_what_the_proxy_lets_through(tmp_path: Path) -> None:
    policy = NetworkPolicy(network_mode=NetworkMode.ALLOWLIST, allowed_hosts=["example.com", "*.example.org"])
    async with running(tmp_path, policy=policy) as environment:
        with Pyro() as pyro:
            (made,) = pyro.list_workspaces(labels={**LABELS, "session": "of-a-test__1__env"})
            assert (made.network_policy, made.allow_domains) == ("egress", ["example.com", "*.example.org"])
        assert environment.network_policy == policy
    for bad in (["10.0.0.0/8"], ["192.0.2.1"]):
        with pytest.raises(ValueError, match="not supported"):
            async with running(tmp_path, policy=NetworkPolicy(network_mode=NetworkMode.ALLOWLIST, allowed_hosts=bad)):
                pass


async def test_what_cannot_be_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with running(tmp_path, docker_image=None):
            pass
    (tmp_path / "environment" / "docker-compose.yaml").write_text("services: {}\n")
    with pytest.raises(ValueError, match="compose"):
        async with running(tmp_path, docker_image=None):
            pass
    with pytest.raises(RuntimeError, match="GPU"):
        async with running(tmp_path, gpus=1):
            pass


async def test_a_lost_machine_and_a_cancelled_start_leave_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as environment:
        with Pyro() as pyro:
            (made,) = pyro.list_workspaces(labels=LABELS)
            made.delete()
        with pytest.raises(Gone):
            await environment.exec("true")

    async def start() -> None:
        async with running(tmp_path):
            await asyncio.Event().wait()

    starting = asyncio.ensure_future(start())
    await asyncio.sleep(0.05)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
