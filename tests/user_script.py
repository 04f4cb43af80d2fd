"""What a user writes against the package: for mypy, pyright (`make lint`) and the eyes; it is never run."""

from __future__ import annotations

from datetime import datetime

from pyro_mcp import AsyncPyro, AsyncWorkspace, Diff, ExecResult, NotFound, Pyro, Workspace, create_server


def sync() -> int | None:
    with Pyro() as pyro, pyro.workspace("debian:12", seed_path=".") as made:
        ran: ExecResult = pyro.exec_workspace(made, "make test")
        pyro.write_workspace_file(made, "a", "text")
        pyro.write_workspace_file(made.id, "a", "text")
        other: Workspace = pyro.reset_workspace(made)
        try:
            pyro.delete_workspace(other)
        except NotFound:
            pass
        ran = made.exec("make test", cwd="src")
        ran = made.run(["make", "test"])
        text: str = made.read("a").content
        size: int = made.write("a", text).size
        diff: Diff = made.diff()
        for sibling in made.fork(3):
            sibling.delete()
        siblings: list[Workspace] = made.fork(2).workspaces
        listed: list[str] = [w.id for w in pyro.list_workspaces()]
        for piece in made.stream("make"):
            print(piece.data, diff.patch, siblings, listed, size)
        kept, shell = made.snapshot("kept"), made.open_shell()
        pyro.write_shell(made, shell, "ls")
        print({made: kept}, made.logs(ran), made.reset(snapshot=kept).fork(snapshot=kept))
        web = pyro.start_service(made, "web", "python3 -m http.server")
        print(pyro.stop_service(made, web).state, pyro.delete_snapshot(made, kept))
        when: datetime = made.created_at
        print(when, made.reset().status().snapshot("s").created_at.tzinfo)
        return ran.exit_code


server = create_server("workspace-full", allow_paths=["/srv"])


async def later() -> str:
    async with AsyncPyro() as pyro:
        made = await pyro.create_workspace("debian:12")
        ran = await pyro.exec_workspace(made, "make test")
        await pyro.logs_workspace(made, handle=ran)
        await pyro.delete_workspace(made)
        async with pyro.workspace(seed_path=".") as other:
            kept: AsyncWorkspace = await other.reset()
            for sibling in await kept.fork(2):
                ran = await sibling.run("make test")
            async for piece in other.stream("make"):
                print(piece.stream)
            print((await other.read("a")).content, (await other.diff("src")).patch)
        return ran.stdout
