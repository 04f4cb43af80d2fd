"""Secrets on real machines: in the one command that asks for them, and nowhere else that anybody looks."""

from __future__ import annotations

import base64
import codecs
import contextlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from pyro_mcp.errors import Conflict, InvalidInput, NotFound, PyroError
from pyro_mcp.sdk import Pyro
from tests.engine.test_network_policy import index_host
from tests.support import Installation, wait_until

VALUE = 'tok-7Fq/9+Zz~"w4Lue-9Kx'
LINES = "-----BEGIN THING-----\nMIIqqqqqqqq7777\nzzzzzzzz8888yyyy\n-----END THING-----\n"
ROT13 = "tr A-Za-z N-ZA-Mn-za-m"
"""What a mask does not recognise: shows whether a value is really there."""


def spellings(value: str) -> list[bytes]:
    raw = value.encode()
    inner = base64.b64encode(b"\0\0" + raw)[4:-4]
    found = [
        raw,
        quote(value, safe="").encode(),
        base64.b64encode(raw).rstrip(b"="),
        inner,
        json.dumps(raw.decode())[1:-1].encode(),
    ]
    return found + [line.encode() for line in value.splitlines() if "\n" in value]


def assert_clean(text: str | bytes, *values: str) -> None:
    data = text.encode() if isinstance(text, str) else text
    for value in values or (VALUE,):
        for form in spellings(value):
            at = data.find(form)
            assert at < 0, f"a value is in {data[max(0, at - 200) : at + 100]!r}"


def cli(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pyro_mcp", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def kept_files(installation: Installation) -> dict[str, bytes]:
    """What stands in the state directory, the vault and the machines' memory and disks left out."""
    state = installation.locations.state
    found = {}
    for file in state.rglob("*"):
        part = file.relative_to(state).parts[0]
        with contextlib.suppress(PermissionError):  # disks of machines belong to other users
            if not file.is_file() or file.is_symlink() or part == "secrets":
                continue
            plain = file.suffix in (".json", ".log") and file.stat().st_size < 1 << 20
            if plain or part not in (installation.machines.name, "images"):
                found[str(file.relative_to(state))] = file.read_bytes()
    return found


def test_a_secret_is_in_the_one_command_that_asks_for_it(pyro: Pyro, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from-a-file-4711\n")
    ws = pyro.create_workspace(secrets={"TOKEN": VALUE}, secret_files={"FILED": str(tmp_path / "file")})
    assert {(s.name, s.host) for s in ws.secrets} == {("TOKEN", None), ("FILED", None)}
    both = pyro.exec_workspace(ws.id, f'printf \'%s\\n\' "$T" "$F" | {ROT13}', secret_env={"T": "TOKEN", "F": "FILED"})
    assert both.stdout == codecs.encode(f"{VALUE}\nfrom-a-file-4711\n", "rot13")
    waiting = pyro.exec_workspace(ws.id, "sleep 60", secret_env={"T": "TOKEN"}, wait_seconds=0)
    others = "pid=$(pgrep -x sleep); for p in /proc/[0-9]*; do [ $p = /proc/$pid ] || cat $p/environ $p/cmdline; done"
    for command in (f"env | {ROT13}", f"cat /proc/1/environ | {ROT13}", f"({others}) | {ROT13}"):
        seen = pyro.exec_workspace(ws.id, command).stdout
        assert seen
        assert codecs.encode("tok-7Fq", "rot13") not in seen
        assert codecs.encode("from-a-file", "rot13") not in seen
    pyro.cancel_workspace_exec(ws.id, waiting.handle)


def test_the_command_line_takes_secrets_by_name_by_value_and_by_file(pyro: Pyro, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from-a-file-4711\n")
    made = cli(
        *("workspace", "create", "debian:12", "--name", "by-cli", "--secret", "TOKEN", "--secret", "SAID=said-value=1"),
        *("--secret-file", f"FILED={tmp_path / 'file'}", "--json"),
        TOKEN=VALUE,
    )
    assert made.returncode == 0, made.stderr
    assert_clean(made.stdout + made.stderr)
    assert [s["name"] for s in json.loads(made.stdout)["secrets"]] == ["TOKEN", "SAID", "FILED"]
    ran = cli(
        *("workspace", "exec", "by-cli", "--secret-env", "TOKEN", "--secret-env", "S=SAID", "--secret-env", "F=FILED"),
        *("--", f'printf \'%s\\n\' "$TOKEN" "$S" "$F" | {ROT13}; echo "$TOKEN"; echo "$S" >&2'),
    )
    assert ran.stdout == codecs.encode(f"{VALUE}\nsaid-value=1\nfrom-a-file-4711\n", "rot13") + "*" * len(VALUE) + "\n"
    assert "said-value" not in ran.stderr
    missing = cli("workspace", "create", "debian:12", "--name", "never", "--secret", "NOT_THERE_AT_ALL")
    assert missing.returncode == 2
    assert "NOT_THERE_AT_ALL" in missing.stderr
    assert "never" not in {w.name for w in pyro.list_workspaces().workspaces}


PRINTS = """
import base64, json, os, sys, time, urllib.parse
value = os.environ["T"]
out, err = sys.stdout, sys.stderr
for character in value:                       # over many writes, each by itself
    out.write(character); out.flush(); time.sleep(0.002)
out.write("\\n"); out.flush()
half = len(value) // 2
out.write(value[:half]); out.flush()          # the other stream in the middle of it
err.write("between\\n"); err.flush(); time.sleep(0.02)
out.write(value[half:] + "\\n"); out.flush()
err.write(value[:half]); err.flush()
time.sleep(0.3)                               # longer than anything is held back
err.write(value[half:] + "\\n"); err.flush()
print(base64.b64encode(value.encode()).decode(), base64.b64encode(b"user:" + value.encode()).decode())
print(urllib.parse.quote(value, safe=""), json.dumps(value))
"""


def test_no_output_shows_a_value_however_it_is_printed(pyro: Pyro) -> None:
    ws = pyro.create_workspace(secrets={"TOKEN": VALUE, "KEY": LINES}).id
    result = pyro.exec_workspace(ws, ["python3", "-c", PRINTS], secret_env={"T": "TOKEN"})
    assert result.exit_code == 0, result.stderr
    assert_clean(result.model_dump_json())
    stars = "*" * len(VALUE)
    assert result.stdout.startswith(f"{stars}\n")
    shown = result.stderr.splitlines()[-1]
    # Held back no longer than a moment: the beginning may show, a little of it.
    assert len(shown) == len(VALUE)
    assert len(shown.replace("*", "")) <= len(VALUE) // 4
    keys = pyro.exec_workspace(ws, 'echo "$K"; echo "$K" | sed -n 2p; echo "$K" | base64', secret_env={"K": "KEY"})
    assert_clean(keys.stdout, LINES)
    pieces = list(pyro.stream_exec_workspace(ws, ["python3", "-c", PRINTS], secret_env={"T": "TOKEN"}))
    assert len(pieces) > 2
    assert_clean(b"".join(piece.data for piece in pieces))
    assert_clean(b"".join(piece.data for piece in pieces if piece.stream == "stdout"))
    streamed = cli("workspace", "exec", ws, "--secret-env", "T=TOKEN", "--", 'echo "$T"; echo "$T" >&2')
    assert streamed.stdout == f"{stars}\n"
    assert_clean(streamed.stderr)


def test_a_value_printed_character_by_character_shows_none_of_it(pyro: Pyro) -> None:
    ws = pyro.create_workspace(secrets={"TOKEN": VALUE, "PIN": "4711"}).id
    each = 'for ((i = 0; i < ${#v}; i++)); do printf %s "${v:i:1}"; sleep 0.15; done'
    slowly = f'printf "<"; for v in "$T" "$P"; do {each}; done'
    pieces = b""
    for piece in pyro.stream_exec_workspace(ws, ["bash", "-c", slowly], secret_env={"T": "TOKEN", "P": "PIN"}):
        pieces += piece.data
        assert set(pieces) <= set(b"<*"), pieces
    assert pieces == b"<" + b"*" * (len(VALUE) + 4)


def test_offsets_of_logs_stay_right(pyro: Pyro) -> None:
    ws = pyro.create_workspace(secrets={"TOKEN": VALUE}).id
    ran = pyro.exec_workspace(ws, 'printf "head\\n%s\\ntail %s end\\n" "$T" "$T"', secret_env={"T": "TOKEN"})
    size = len(VALUE)
    assert ran.stdout_bytes == 5 + size + 1 + 5 + size + 5
    logs = pyro.logs_workspace(ws, handle=ran.handle, offset=5 + size + 1)
    assert logs.output == f"tail {'*' * size} end\n"
    assert logs.next_offset == logs.total_bytes == ran.stdout_bytes
    inside = pyro.logs_workspace(ws, handle=ran.handle, offset=7, max_output_bytes=1000)
    assert inside.output.startswith("*" * (size - 2) + "\n")
    found = pyro.logs_workspace(ws, handle=ran.handle, grep="tok|tail")
    assert (found.matches, found.output) == (1, f"tail {'*' * size} end")


def test_nothing_that_leaves_a_workspace_or_stays_on_this_machine_holds_a_value(
    installation: Installation, pyro: Pyro, tmp_path: Path
) -> None:
    seed = tmp_path / "seed"
    seed.mkdir()
    (seed / "old.txt").write_text("one\ntwo\n")
    ws = pyro.create_workspace(seed_path=str(seed), secrets={"TOKEN": VALUE, "KEY": LINES}, name="leaky").id
    with_it = {"T": "TOKEN", "K": "KEY"}
    pyro.exec_workspace(
        ws,
        'mkdir d; printf "a\\n%s\\nb\\n" "$T" > d/new.txt; '
        'printf "\\0bin%s\\1" "$T" > d/bin; printf "%s" "$K" > d/key; '
        'printf "%s" "$T" > d/alone; cp d/new.txt d/new.txt.masked; chmod 755 d/alone; echo "$T" >> old.txt; '
        "touch -d @1600000000 d/alone; chmod 400 d/bin",
        secret_env=with_it,
    )
    said: list[str] = []

    def note(model: object) -> None:
        said.append(model.model_dump_json())  # type: ignore[attr-defined]

    # The value in the command's own text, also where a summary is cut in the middle of it.
    for padding in (0, 160, 180, 190, 196):
        command = f"true {'x' * padding} '{VALUE}'"
        note(pyro.exec_workspace(ws, command))
        note(pyro.exec_workspace(ws, ["echo", "y" * padding, LINES, f"--token={VALUE}"]))
    note(pyro.read_workspace_file(ws, "d/new.txt"))
    note(pyro.read_workspace_file(ws, "d/new.txt", grep="tok|a"))
    note(pyro.read_workspace_file(ws, "d/key", offset=2, limit=2))
    note(pyro.diff_workspace(ws))
    note(pyro.write_workspace_file(ws, "written.txt", f"x {VALUE}\n"))
    note(pyro.list_workspace_files(ws, recursive=True))
    with pytest.raises(PyroError) as mismatch:
        pyro.apply_workspace_patch(ws, f"--- a/d/new.txt\n+++ b/d/new.txt\n@@ -1,2 +1,2 @@\n a\n-{VALUE}x\n+b\n")
    said.append(json.dumps(mismatch.value.to_record()))
    with pytest.raises(PyroError) as missing:
        pyro.read_workspace_file(ws, f"no-{VALUE.replace('/', '')}/{VALUE}")
    said.append(json.dumps(missing.value.to_record()))

    shell = pyro.open_shell(ws, secret_env=with_it).shell
    pyro.write_shell(ws, shell, 'echo "<$T>"; echo "$K"', enter=True)
    pyro.write_shell(ws, shell, f"echo '{VALUE}' end-of-it", enter=True)
    note(pyro.read_shell(ws, shell, wait_for=r"\n[^\n]*\*\*\* end-of-it", wait_seconds=10))
    note(pyro.read_shell(ws, shell, plain=True))
    assert "<" + "*" * len(VALUE) + ">" in said[-2]
    pyro.close_shell(ws, shell)

    note(
        pyro.start_service(
            ws,
            "talks",
            f'echo "$T"; echo "{VALUE[:4]}" >/dev/null; echo ready > /tmp/ready; echo "$K" >&2; exec sleep 300',
            secret_env=with_it,
            ready_file="/tmp/ready",
        )
    )
    note(pyro.logs_service(ws, "talks"))
    note(pyro.logs_service(ws, "talks", grep="tok|MII"))
    note(pyro.start_service(ws, "fails", 'echo "$T"; exit 3', secret_env=with_it, ready_tcp=1))
    note(pyro.list_services(ws))
    note(pyro.create_snapshot(ws, "moment"))
    for name, path in (("tree", "d"), ("file", "d/new.txt"), ("alone", "d/alone")):
        note(pyro.export_workspace(ws, path, output=str(tmp_path / name)))
    note(pyro.export_workspace(ws, patch=True, output=str(tmp_path / "all.patch")))
    assert (tmp_path / "tree" / "alone").read_text() == "*" * len(VALUE)
    assert (tmp_path / "tree" / "new.txt.masked").read_text() == f"a\n{'*' * len(VALUE)}\nb\n"
    assert stat.S_IMODE((tmp_path / "tree" / "alone").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "tree" / "bin").stat().st_mode) == 0o400
    assert (tmp_path / "tree" / "alone").stat().st_mtime == 1_600_000_000
    for file in [*(tmp_path / "tree").iterdir(), tmp_path / "file", tmp_path / "alone", tmp_path / "all.patch"]:
        assert_clean(file.read_bytes(), VALUE, LINES)
    # Binary content is compressed in a patch: applied, it must not bring the value back.
    subprocess.run(["git", "apply", str(tmp_path / "all.patch")], cwd=seed, check=True)
    assert (seed / "d" / "bin").read_bytes() == b"\0bin" + b"*" * len(VALUE) + b"\1"

    note(pyro.status_workspace(ws))
    note(pyro.list_workspaces())
    note(pyro.list_snapshots(ws))
    note(pyro.logs_workspace(ws, limit=1000))
    note(pyro.history_workspace(ws, limit=1000))
    for words in (("logs", ws), ("history", ws), ("status", ws), ("diff", ws), ("file", "read", ws, "d/new.txt")):
        shown = cli("workspace", *words, "--json")
        assert shown.returncode == 0, shown.stderr
        said += [shown.stdout, shown.stderr, cli("workspace", *words).stdout]
    for text in said:
        assert_clean(text, VALUE, LINES)
    # Where a summary is cut, no large part of a value is left.
    history = pyro.history_workspace(ws, limit=1000).model_dump_json()
    assert VALUE[:8] not in history
    assert "MIIqqqq" not in history

    wait_until(lambda: installation.locations.daemon_log.exists())
    kept = kept_files(installation)
    assert {"daemon.log", "pyro.sqlite3"} <= set(kept)
    for name, data in kept.items():
        try:
            assert_clean(data, VALUE, LINES)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert_clean(process.read_bytes())
        except OSError:
            continue


def test_parts_of_files_and_names_of_files_show_no_value_either(pyro: Pyro) -> None:
    value = "n4me-0f-a-s3cret"
    ws = pyro.create_workspace(secrets={"TOKEN": value}).id
    command = 'printf "aaaa %s bbbb\\n" "$T" > f; mkdir -p "d/$T"; echo x > "d/$T/x-$T"; ln -s "/$T" l'
    assert pyro.exec_workspace(ws, command, secret_env={"T": "TOKEN"}).exit_code == 0
    for at in range(len(value) + 2):
        parts = (
            pyro.read_workspace_file(ws, "f", byte_offset=5 + at).content,
            pyro.read_workspace_file(ws, "f", byte_offset=0, max_bytes=5 + at).content,
        )
        for part in parts:
            assert sum(part.count(value[n : n + 5]) for n in range(len(value) - 4)) == 0, (at, part)
    assert pyro.read_workspace_file(ws, "f", byte_offset=5 + len(value)).content == " bbbb\n"
    names = pyro.list_workspace_files(ws, recursive=True)
    stars = "*" * len(value)
    assert {entry.path for entry in names.entries} == {"f", "l", "d", f"d/{stars}", f"d/{stars}/x-{stars}"}
    assert_clean(names.model_dump_json() + pyro.diff_workspace(ws).model_dump_json(), value)


def test_the_vault_is_private_and_empty_after_the_workspace(installation: Installation, pyro: Pyro) -> None:
    ws = pyro.create_workspace(secrets={"TOKEN": VALUE}).id
    directory = installation.locations.secrets
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(installation.locations.state.stat().st_mode) == 0o700
    file = directory / f"{ws}.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert VALUE in json.loads(file.read_text())["secrets"][0]["value"]
    fork = pyro.fork_workspace(ws).workspaces[0].id
    assert {f.name for f in directory.iterdir()} >= {f"{ws}.json", f"{fork}.json"}
    for each in (ws, fork):
        pyro.delete_workspace(each)
        assert not (directory / f"{each}.json").exists()


def test_secrets_survive_the_daemon_a_reset_a_snapshot_and_a_fork(fresh: Installation) -> None:
    show = f'printf %s "$T" | {ROT13}; printf %s "$T"'
    expected = codecs.encode(VALUE, "rot13") + "*" * len(VALUE)
    with_it = {"T": "TOKEN"}
    with Pyro() as pyro:
        ws = pyro.create_workspace(secrets={"TOKEN": VALUE}).id
        running = pyro.exec_workspace(
            ws, 'while [ ! -e go ]; do sleep 0.05; done; echo "$T"', secret_env=with_it, wait_seconds=0
        )
        fresh.kill_daemon()
    with Pyro() as pyro:
        assert pyro.exec_workspace(ws, show, secret_env=with_it).stdout == expected
        pyro.write_workspace_file(ws, "go", "")
        done = pyro.logs_workspace(ws, handle=running.handle, wait_seconds=20)
        assert done.output == "*" * len(VALUE) + "\n"
        pyro.create_snapshot(ws, "moment")
        pyro.reset_workspace(ws)
        assert pyro.exec_workspace(ws, show, secret_env=with_it).stdout == expected
        pyro.reset_workspace(ws, snapshot="moment")
        assert pyro.exec_workspace(ws, show, secret_env=with_it).stdout == expected
        fork = pyro.fork_workspace(ws).workspaces[0]
        assert [s.name for s in fork.secrets] == ["TOKEN"]
        assert pyro.exec_workspace(fork.id, show, secret_env=with_it).stdout == expected
        pyro.delete_workspace(ws)
        assert pyro.exec_workspace(fork.id, show, secret_env=with_it).stdout == expected
        pyro.stop_workspace(fork.id)
        pyro.start_workspace(fork.id)
        assert pyro.exec_workspace(fork.id, show, secret_env=with_it).stdout == expected
    assert_clean(b"".join(kept_files(fresh).values()))


def test_what_cannot_be_a_secret_is_refused_and_nothing_is_made(
    installation: Installation, pyro: Pyro, tmp_path: Path
) -> None:
    before = {w.id for w in pyro.list_workspaces().workspaces}
    (tmp_path / "big").write_bytes(b"x" * 70_000)
    (tmp_path / "nul").write_bytes(b"abc\0def")
    for secrets, files, said in (
        ({"1TOKEN": VALUE}, {}, "1TOKEN"),
        ({"TOKEN": "abc"}, {}, "TOKEN"),
        ({"TOKEN": "x" * 65537}, {}, "65536"),
        ({"TOKEN": "ab\0cd"}, {}, "NUL"),
        ({}, {"TOKEN": str(tmp_path / "missing")}, "No such file"),
        ({}, {"TOKEN": str(tmp_path)}, "not a regular file"),
        ({}, {"TOKEN": str(tmp_path / "big")}, "65536"),
        ({}, {"TOKEN": str(tmp_path / "nul")}, "NUL"),
        ({"TOKEN": VALUE}, {"TOKEN": str(tmp_path / "nul")}, "twice"),
    ):
        with pytest.raises(InvalidInput, match=said) as caught:
            pyro.create_workspace(name="never", secrets=secrets, secret_files=files)
        assert caught.value.exit_status == 2
    with pytest.raises(InvalidInput, match="network is off"):
        pyro.create_workspace(name="never", secrets={"TOKEN": VALUE}, secret_hosts={"TOKEN": "a.test"})
    assert {w.id for w in pyro.list_workspaces().workspaces} == before
    assert not {f.stem for f in installation.locations.secrets.iterdir()} - before
    ws = pyro.create_workspace(name="never", secrets={"ONE": VALUE, "TWO": VALUE + "2"}).id
    for call in (
        lambda: pyro.exec_workspace(ws, "true", secret_env={"X": "THREE"}),
        lambda: pyro.open_shell(ws, secret_env={"X": "THREE"}),
        lambda: pyro.start_service(ws, "s", "sleep 9", secret_env={"X": "THREE"}),
    ):
        with pytest.raises(NotFound, match="ONE, TWO"):
            call()
    with pytest.raises(InvalidInput, match="bad-name"):
        pyro.exec_workspace(ws, "true", secret_env={"bad-name": "ONE"})
    assert pyro.list_services(ws).services == []


def test_landing_keeps_a_value_out_of_git(pyro: Pyro, project: Path) -> None:
    (project / "had.txt").write_text(f"{VALUE}\n")
    ws = pyro.create_workspace(seed_path=str(project), secrets={"TOKEN": VALUE}).id
    pyro.exec_workspace(ws, 'echo "$T" > .npmrc; echo more >> had.txt; echo x > good.txt', secret_env={"T": "TOKEN"})
    with pytest.raises(Conflict, match=r"secret is in `.npmrc` and") as caught:
        pyro.land_workspace(ws, branch="work")
    assert caught.value.code == "secret_in_changes"
    branches = subprocess.run(["git", "-C", str(project), "branch"], capture_output=True, text=True, check=True).stdout
    assert "work" not in branches
    pyro.exec_workspace(ws, "rm .npmrc had.txt")
    assert pyro.land_workspace(ws, branch="work").created


def test_a_bound_secret_is_a_placeholder_inside_and_its_host_alone_is_intercepted(pyro: Pyro) -> None:
    host = index_host()
    ws = pyro.create_workspace(network_policy="egress", secrets={"TOKEN": VALUE}, secret_hosts={"TOKEN": host.upper()})
    assert [(s.name, s.host) for s in ws.secrets] == [("TOKEN", host)]
    seen = pyro.exec_workspace(
        ws.id,
        'echo "$T"; echo "$T" > kept; for f in kept /proc/[0-9]*/environ /etc/ssl/pyro-workspace.crt; do cat $f; done'
        f" | {ROT13}",
        secret_env={"T": "TOKEN"},
    ).stdout
    placeholder = seen.splitlines()[0]
    assert placeholder.startswith("pyro-secret-TOKEN-")
    assert codecs.encode("tok-7Fq", "rot13") not in seen
    assert pyro.read_workspace_file(ws.id, "kept").content == f"{placeholder}\n"

    script = (
        f"curl -sS -m 20 -v -o /dev/null -w '%{{http_code}}\\n' -H \"Authorization: Bearer $T\" https://{host}/ 2>&1"
        " | grep -iE 'issuer:|^[0-9]{3}$'"
    )
    curl = pyro.exec_workspace(ws.id, script, secret_env={"T": "TOKEN"}, timeout_seconds=40)
    assert "issuer: CN=pyro workspace" in curl.stdout, curl
    assert "authorization" not in curl.stdout.lower()
    python = (
        "import ssl, urllib.request, urllib.error\n"
        f"try: print(urllib.request.urlopen('https://{host}/', timeout=20).status)\n"
        "except urllib.error.HTTPError as error: print(error.code)\n"
    )
    assert pyro.exec_workspace(ws.id, ["python3", "-c", python], timeout_seconds=40).stdout.strip().isdigit()
    git = pyro.exec_workspace(ws.id, f"git ls-remote https://{host}/no.git; type node >&2", timeout_seconds=40)
    assert "certificate" not in git.stderr.lower(), git
    if "node is" in git.stderr:
        node = f"fetch('https://{host}/').then(r => console.log(r.status))"
        assert pyro.exec_workspace(ws.id, ["node", "-e", node], timeout_seconds=40).stdout.strip().isdigit()
    pip = pyro.exec_workspace(
        ws.id,
        # The pip that a virtual environment would get, without making one.
        "export PYTHONPATH=$(echo /usr/share/python-wheels/pip-*.whl); "
        "python3 -m pip download -q --no-deps -d out six==1.16.0 && ls out",
        wait_seconds=50,
        timeout_seconds=60,
    )
    assert "six-1.16.0" in pip.stdout, pip
    events = [e for e in pyro.history_workspace(ws.id, limit=1000).events if e.operation == "egress" and e.details]
    to_host = {e.details["protocol"] for e in events if e.details and e.details["host"].lower() == host}
    others = {e.details["protocol"] for e in events if e.details and e.details["host"].lower() != host}
    assert "intercepted" in to_host
    assert "intercepted" not in others
    # The files of packages come from another host: no secret's, and answered by the registries' cache.
    assert "cache" in others, "nothing went to another host"


def test_a_value_in_a_hosts_name_is_not_kept(installation: Installation, pyro: Pyro) -> None:
    word = "n4me-0f-a-s3cret"
    ws = pyro.create_workspace(network_policy="egress", allow_domains=["example.com"], secrets={"TOKEN": word}).id
    said = pyro.exec_workspace(ws, 'curl -sS -m 10 "http://$T.test/"', secret_env={"T": "TOKEN"}, timeout_seconds=20)
    assert "pyro refused the connection" in said.stdout
    wait_until(lambda: any(e.operation == "egress" for e in pyro.history_workspace(ws).events))
    assert_clean(said.model_dump_json() + pyro.history_workspace(ws).model_dump_json(), word)
    assert_clean(b"".join(kept_files(installation).values()), word)
