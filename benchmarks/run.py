"""`make bench`: what each operation costs, beside a baseline measured in the same run.

Absolute times say little on a shared machine; the ratios do. Nothing is left behind: daemon, machines and trees
are of this run alone, except for the environment, which is the user's own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.bare import BareRunsc, proportional_bytes
from benchmarks.measure import Row, Table, clock
from benchmarks.network import network_rows
from benchmarks.peers.page import measured
from pyro_mcp.sdk import Pyro

TRUE = ["/bin/true"]
HEAVY = "import os, time; data = os.urandom(100 << 20); open('ready', 'w').close(); time.sleep(999)"
POOL_SECONDS = 1.2
"""Until a spare machine is there again after one was taken."""


def make_tree(root: Path, files: int) -> Path:
    """A tree of small files, old enough for the seed store to trust their times."""
    for number in range(files):
        directory = root / f"d{number // 200}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}.txt").write_text(f"file {number}\n" * 20)
    time.sleep(0.2)
    return root


def tar_copy(source: Path, work: Path) -> None:
    target = work / "tar-copy"
    target.mkdir()
    command = f"tar -C {source} -cf - . | tar -C {target} -xf -"
    subprocess.run(["sh", "-c", command], check=True)


def machine_rows(table: Table, pyro: Pyro, bare: BareRunsc, work: Path) -> None:
    made: list[str] = []

    def create_and_exec(**shape: Any) -> float:
        begun = time.perf_counter()
        workspace = pyro.create_workspace(**shape).id
        pyro.exec_workspace(workspace, TRUE)
        spent = (time.perf_counter() - begun) * 1000
        made.append(workspace)
        return spent

    def forget() -> None:
        while made:
            pyro.delete_workspace(made.pop())
        time.sleep(POOL_SECONDS)

    def nothing() -> None: ...

    bare_run = "runsc run --detach"
    sizes = iter(range(513, 10_000))
    create_and_exec()
    table.compare(
        "create → first exec, warm", nothing, bare_run, bare.run, aim="≤ 1.0", before=forget, timed=create_and_exec
    )
    table.compare(
        "create → first exec, cold",
        nothing,
        bare_run,
        bare.run,
        before=forget,
        timed=lambda: create_and_exec(mem_mib=next(sizes)),
    )
    forget()
    workspace = pyro.create_workspace().id
    idle = bare.run()
    runsc_exec = "runsc exec true"
    time.sleep(POOL_SECONDS)
    count = table.runs * 3
    table.compare(
        "exec true, SDK",
        lambda: pyro.exec_workspace(workspace, TRUE),
        runsc_exec,
        lambda: bare.exec_true(idle),
        aim="≤ 0.25",
        runs=count,
    )
    table.compare(
        "exec of the string true, SDK",
        lambda: pyro.exec_workspace(workspace, "true"),
        runsc_exec,
        lambda: bare.exec_true(idle),
        aim="≤ 0.2",
        runs=count,
    )
    table.compare(
        "exec of a string that needs bash, SDK",
        lambda: pyro.exec_workspace(workspace, "true && true"),
        runsc_exec,
        lambda: bare.exec_true(idle),
        runs=count,
    )
    table.add(mcp_row(table, workspace, pyro, work))
    cli = [sys.executable, "-m", "pyro_mcp"]
    table.compare(
        "exec true, CLI",
        lambda: subprocess.run([*cli, "workspace", "exec", workspace, "--", "/bin/true", ""], check=False),
        runsc_exec,
        lambda: bare.exec_true(idle),
    )
    python = [sys.executable, "-c", "pass"]
    table.compare(
        "CLI start-up (workspace list)",
        lambda: subprocess.run([*cli, "workspace", "list", "--json"], check=True, stdout=subprocess.DEVNULL),
        "python -c pass",
        lambda: subprocess.run(python, check=True),
        aim="≤ 120 ms idle",
    )
    table.compare(
        "MCP server start until tools/list is answered",
        lambda: tools_listed(cli, work),
        "python -c pass",
        lambda: subprocess.run(python, check=True),
        aim="≤ 500 ms idle",
    )
    pyro.write_workspace_file(workspace, "file", "x" * 1000)
    listing = "workspace list, SDK"
    table.compare(
        "file read, 1 kB",
        lambda: pyro.read_workspace_file(workspace, "file"),
        listing,
        pyro.list_workspaces,
        runs=count,
    )

    def write_and_read() -> None:
        pyro.write_workspace_file(workspace, "file", "x" * 1000)
        pyro.read_workspace_file(workspace, "file")

    table.compare("file write and read, 1 kB", write_and_read, listing, pyro.list_workspaces, aim="≤ 2 ms", runs=count)
    table.compare(
        "reset",
        lambda: pyro.reset_workspace(workspace),
        bare_run,
        bare.run,
        before=lambda: time.sleep(POOL_SECONDS),
    )
    table.compare("delete", lambda: pyro.delete_workspace(made.pop()), before=lambda: create_and_exec() and None)
    pyro.delete_workspace(workspace)


def state_rows(table: Table, pyro: Pyro, bare: BareRunsc) -> None:
    """Snapshots, forks, stop and start, services, shells and published ports."""
    workspace = pyro.create_workspace(name="bench", network_policy="egress+published-ports").id
    idle = bare.run()
    image = bare.checkpoint(idle)
    numbers = iter(range(1000))
    table.compare(
        "snapshot of an idle machine",
        lambda: pyro.create_snapshot(workspace, f"s{next(numbers)}"),
        "runsc checkpoint",
        lambda: bare.checkpoint(idle),
        aim="≤ 1.5",
    )
    snapshots = pyro.list_snapshots(workspace).snapshots
    table.add(Row("size of that snapshot", snapshots[-1].size_bytes / 1024**2, unit="MiB"))
    table.compare(
        "reset to a snapshot",
        lambda: pyro.reset_workspace(workspace, snapshot="s0"),
        "runsc restore",
        lambda: bare.restore(image),
        aim="≤ 1.5",
    )
    made: list[str] = []

    def forget() -> None:
        while made:
            pyro.delete_workspace(made.pop())

    for count in (1, 4):
        table.compare(
            f"fork, {count}",
            lambda count=count: made.extend(  # type: ignore[misc]
                fork.id for fork in pyro.fork_workspace(workspace, count=count).workspaces
            ),
            "runsc checkpoint",
            lambda: bare.checkpoint(idle),
            before=forget,
            runs=max(3, table.runs // 2),
        )
    forget()

    def stop_and_start() -> None:
        pyro.stop_workspace(workspace)
        pyro.start_workspace(workspace)

    table.compare("stop and start", stop_and_start, runs=max(3, table.runs // 2))
    server = "python3 -c 'import socket,time; s=socket.create_server((\"\", 9)); time.sleep(999)'"
    table.compare(
        "service start until its port accepts",
        lambda: pyro.start_service(workspace, "web", server, ready_tcp=9),
        "exec of python3 -c pass",
        lambda: pyro.exec_workspace(workspace, ["python3", "-c", "pass"]),
        before=lambda: pyro.stop_service(workspace, "web") if pyro.list_services(workspace).services else None,
    )
    shell = pyro.open_shell(workspace).shell
    pyro.read_shell(workspace, shell)

    def type_and_read() -> None:
        cursor = pyro.write_shell(workspace, shell, "echo $((20+3))x", enter=True).cursor
        pyro.read_shell(workspace, shell, cursor=cursor, wait_for="^23x", wait_for_idle_ms=0)

    table.compare("type a command into a shell, read its answer", type_and_read, runs=table.runs * 2)
    table.add(port_row(pyro, workspace))
    pyro.delete_workspace(workspace)


def port_row(pyro: Pyro, workspace: str) -> Row:
    """How much a published port carries."""
    import socket

    size = 64 * 1024 * 1024
    sender = (
        "import contextlib, socket\ns=socket.create_server(('127.0.0.1', 7))\n"
        "while True:\n c,_=s.accept()\n"
        # The readiness check connects and leaves.
        f" with contextlib.suppress(OSError), c: c.sendall(bytes({size}))\n"
    )
    service = pyro.start_service(workspace, "source", ["python3", "-c", sender], ready_tcp=7, publish=["7"])
    begun, got = time.perf_counter(), 0
    with socket.create_connection(("127.0.0.1", service.published_ports[0].host_port)) as connection:
        while data := connection.recv(1 << 20):
            got += len(data)
    assert got == size
    return Row("published port, 64 MiB out", got / 1024**2 / (time.perf_counter() - begun), unit="MiB/s")


def tools_listed(cli: list[str], work: Path) -> None:
    """Start the server as a host does, and ask for the tools at once."""
    client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
    asked = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    ]
    with subprocess.Popen([*cli, "mcp", "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=work) as server:
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write("".join(json.dumps(message) + "\n" for message in asked).encode())
        server.stdin.flush()
        while json.loads(server.stdout.readline()).get("id") != 2:
            pass
        server.terminate()


def mcp_row(table: Table, workspace: str, pyro: Pyro, work: Path) -> Row:
    """exec of a string through the official client and `pyro mcp serve`, beside the SDK with the same string."""
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    async def measure() -> Row:
        parameters = StdioServerParameters(
            command=sys.executable, args=["-m", "pyro_mcp", "mcp", "serve"], env=dict(os.environ), cwd=str(work)
        )
        async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            ours, theirs = [], []
            arguments = {"workspace": workspace, "command": "true"}
            await session.call_tool("workspace_exec", arguments)
            for _ in range(table.runs * 2):
                begun = time.perf_counter()
                await session.call_tool("workspace_exec", arguments)
                ours.append((time.perf_counter() - begun) * 1000)
                theirs.append(clock(lambda: pyro.exec_workspace(workspace, "true")))
        return Row(
            "exec of the string true, MCP",
            statistics.median(ours),
            min(ours),
            "the same, SDK",
            statistics.median(theirs),
            "≤ 1.3",
            samples=ours,
            baseline_samples=theirs,
        )

    print("  exec true, MCP …", file=sys.stderr, flush=True)
    return asyncio.run(measure())


def tree_rows(table: Table, pyro: Pyro, work: Path) -> None:
    for files in (1_000, 20_000):
        source = make_tree(work / f"tree{files}", files)
        made: list[str] = []
        changed = [0]

        def fresh(source: Path = source, made: list[str] = made, changed: list[int] = changed) -> None:
            shutil.rmtree(work / "tar-copy", ignore_errors=True)
            while made:
                pyro.delete_workspace(made.pop())
            changed[0] += 1
            (source / "mark").write_text(str(changed[0]))  # makes the source another one: nothing is reused
            time.sleep(POOL_SECONDS)

        def seed(source: Path = source, made: list[str] = made) -> None:
            made.append(pyro.create_workspace(seed_path=str(source)).id)

        runs = table.runs if files < 10_000 else max(3, table.runs // 2)
        table.compare(
            f"create, seed of {files} files",
            seed,
            "tar | tar",
            lambda source=source: tar_copy(source, work),  # type: ignore[misc]
            aim="≤ 1.5",
            runs=runs,
            before=fresh,
        )
        table.compare(
            f"create, seed of {files} files again",
            seed,
            runs=runs,
            before=lambda: time.sleep(POOL_SECONDS),
        )
        workspace = made[-1]
        script = "for n in 1 2 3 4 5; do echo changed >> d0/f$n.txt; done"
        pyro.exec_workspace(workspace, script)
        after = work / f"after{files}"
        shutil.copytree(source, after)
        subprocess.run(["sh", "-c", f"cd {after} && {script}"], check=True)
        git = ["git", "diff", "--no-index", "--quiet", str(source), str(after)]
        table.compare(
            f"diff, 5 changes in {files} files",
            lambda workspace=workspace: pyro.diff_workspace(workspace),  # type: ignore[misc]
            "git diff --no-index",
            lambda git=git: subprocess.run(git, check=False),  # type: ignore[misc]
        )
        for left in made:
            pyro.delete_workspace(left)


def memory_rows(table: Table, pyro: Pyro, state: Path) -> None:
    time.sleep(POOL_SECONDS)
    count = 5
    word = f"{state}/pyro/machines/"
    before = proportional_bytes(word)
    made = [pyro.create_workspace().id for _ in range(count)]
    time.sleep(POOL_SECONDS * 2)
    each = (proportional_bytes(word) - before) / count
    table.add(Row("memory of an idle workspace (PSS)", each / 1024**2, unit="MiB"))
    table.add(Row("memory of the daemon (RSS)", pyro.doctor().daemon["memory_bytes"] / 1024**2, unit="MiB"))
    for workspace in made:
        pyro.delete_workspace(workspace)
    heavy = pyro.create_workspace().id
    pyro.start_service(heavy, "heavy", ["python3", "-c", HEAVY], ready_file="ready")
    time.sleep(POOL_SECONDS * 2)
    before = proportional_bytes(word)
    forks = [fork.id for fork in pyro.fork_workspace(heavy, count=4).workspaces]
    time.sleep(POOL_SECONDS)
    each = (proportional_bytes(word) - before) / len(forks)
    table.add(Row("memory of a fork of a machine with 100 MiB in use (PSS)", each / 1024**2, unit="MiB"))
    for workspace in [heavy, *forks]:
        pyro.delete_workspace(workspace)


def about() -> dict[str, object]:
    """When and where the figures were taken."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    kernel = os.uname()
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit,
        "cores": os.cpu_count(),
        "kernel": kernel.release,
        "load": os.getloadavg(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 runs instead of 10")
    parser.add_argument("--json", metavar="FILE", help="also write the figures here, with every single time")
    parser.add_argument(
        "--peers", action=argparse.BooleanOptionalAction, default=True, help="what one could take instead"
    )
    options = parser.parse_args()
    table = Table(3 if options.quick else 10)
    with tempfile.TemporaryDirectory(prefix="pyro-bench-") as name:
        work = Path(name)
        (work / "run").mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(work / "run")
        os.environ["XDG_STATE_HOME"] = str(work / "state")
        with Pyro() as pyro:
            pyro.pull_environment()
            bare = BareRunsc(work)
            try:
                machine_rows(table, pyro, bare, work)
                state_rows(table, pyro, bare)
                network_rows(table, pyro)
                tree_rows(table, pyro, work)
                memory_rows(table, pyro, work / "state")
            finally:
                for workspace in pyro.list_workspaces().workspaces:
                    pyro.delete_workspace(workspace.id)
                bare.close()
                stop = [sys.executable, "-m", "pyro_mcp", "daemon", "stop"]
                subprocess.run(stop, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(table.render())
    peers: dict[str, object] = {}
    if options.peers:
        with tempfile.TemporaryDirectory(prefix="pyro-peers-") as name:
            text, peers = measured(Path(name), table.runs)
        print(f"\n{text}")
    if options.json:
        rows = [{**vars(row), "ratio": row.ratio} for row in table.rows]
        figures = {"about": about(), "rows": rows, "peers": peers}
        Path(options.json).write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
