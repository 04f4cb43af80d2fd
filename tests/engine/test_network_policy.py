"""What a workspace may reach, who decides about it, and what is told of it."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from mcp import ClientSession

from pyro_mcp.errors import InvalidInput
from pyro_mcp.models import HistoryEvent
from pyro_mcp.sdk import Pyro
from tests.faces.test_mcp import call, converse, refused
from tests.support import Installation, to_the_end, wait_until

CURL = "curl -sS -m 20 -o - -w '\\n%{http_code} %{http_connect}\\n'"


@functools.cache
def _index() -> str:
    """The host that pip fetches from, by its own configuration; empty when there is no pip, or none answers."""
    for command in ([sys.executable, "-m", "pip"], ["pip3"], ["/usr/bin/python3", "-m", "pip"]):
        if shutil.which(command[0]) is None:
            continue
        said = subprocess.run([*command, "config", "get", "global.index-url"], capture_output=True, text=True)
        url = said.stdout.strip()
        if not url.startswith("https://"):
            shown = subprocess.run([*command, "download", "--help"], capture_output=True, text=True).stdout
            words = [word.strip("().,") for word in shown.split()]
            url = next((word for word in words if word.startswith("https://") and "simple" in word), "")
        if url.startswith("https://"):
            return urlsplit(url).hostname or ""
    return ""


@functools.cache
def _answers(host: str) -> bool:
    done = subprocess.run(["curl", "-sS", "-m", "15", "-o", "/dev/null", f"https://{host}/"], capture_output=True)
    return done.returncode == 0


def index_host() -> str:
    """A reachable HTTPS host; skips the test when there is none."""
    host = _index()
    if not host:
        pytest.skip("pip's configuration names no HTTPS host")
    if not _answers(host):
        pytest.skip("no network: the package index does not answer")
    return host


def connections(pyro: Pyro, ws: str, count: int) -> list[HistoryEvent]:
    """The events of a workspace's connections, at least so many."""

    def found() -> list[HistoryEvent]:
        return [e for e in pyro.history_workspace(ws, limit=1000).events if e.operation == "egress"]

    wait_until(lambda: len(found()) >= count)
    return found()


def details(event: HistoryEvent) -> dict[str, Any]:
    assert event.details is not None
    return event.details


def test_off_offers_no_proxy_and_no_way(pyro: Pyro, workspace: str) -> None:
    said = pyro.exec_workspace(workspace, "env | grep -ic proxy; curl -sS -m 5 -x http://127.0.0.1:3128 http://a.test/")
    assert said.stdout == "0\n"
    assert said.exit_code == 7  # no connection (curl(1))
    assert not [e for e in pyro.history_workspace(workspace).events if e.operation == "egress"]
    with pytest.raises(InvalidInput, match="network is off"):
        pyro.create_workspace(allow_domains=["example.com"])
    with pytest.raises(InvalidInput, match="network is off"):
        pyro.update_workspace(workspace, allow_domains=["example.com"])


def test_egress_reaches_public_hosts_and_nothing_inside_and_tells_of_each(pyro: Pyro) -> None:
    host = index_host()
    ws = pyro.create_workspace(network_policy="egress").id
    reached = pyro.exec_workspace(
        ws, f"curl -sS -m 20 -o /dev/null -w '%{{http_code}}' https://{host}/", timeout_seconds=30
    )
    assert reached.exit_code == 0, reached
    [event] = connections(pyro, ws, 1)
    told = details(event)
    assert (event.face, event.outcome) == ("guest", "ok")
    assert (told["protocol"], told["host"], told["port"], told["verdict"]) == ("cache", host, 443, "allowed")
    assert told["bytes_up"] > 50
    assert told["bytes_down"] > 10
    inside = ("127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "2130706433", "metadata.internal")
    each = "".join(f"{CURL} --noproxy '' http://{a}/; {CURL} --noproxy '' https://{a}/ 2>/dev/null; " for a in inside)
    said = pyro.exec_workspace(ws, each, timeout_seconds=45, wait_seconds=50).stdout
    assert said.count("pyro refused the connection") == said.count("\n403 000\n") == len(inside), said
    assert said.count("\n000 403\n") == len(inside), said
    assert "--allow-domain" not in said, "there is nothing that could be allowed"
    events = connections(pyro, ws, 13)
    assert [details(e)["verdict"] for e in events].count("refused") == 12
    assert {e.outcome for e in events if details(e)["verdict"] == "refused"} == {"error"}
    with pytest.raises(InvalidInput, match="every public host"):
        pyro.update_workspace(ws, allow_domains=["example.com"])


def test_a_list_is_exact_or_by_suffix_and_the_command_that_is_told_widens_it(pyro: Pyro) -> None:
    host = index_host()
    created = pyro.create_workspace(network_policy="egress", allow_domains=["Example.COM.", f"*.{host}"], name="listed")
    assert created.allow_domains == ["example.com", f"*.{host}"]
    before = pyro.status_workspace("listed")
    # The suffix itself is not included; nor is what only ends like it.
    for other in (host, f"x{host}", "www.example.com", "example.com.evil.test"):
        plain = pyro.exec_workspace("listed", f"{CURL} http://{other}/", timeout_seconds=30)
        assert "403 000" in plain.stdout, plain
        assert f"pyro refused the connection to {other}" in plain.stdout
        assert f"pyro workspace update listed --allow-domain {other}" in plain.stdout
    # What a program reads of a refused CONNECT: the body, byte by byte.
    raw = pyro.exec_workspace(
        "listed",
        "exec 3<>/dev/tcp/127.0.0.1/3128; "
        f"printf 'CONNECT {host}:443 HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n' >&3; cat <&3",
        timeout_seconds=30,
    ).stdout
    assert raw.startswith("HTTP/1.1 403")
    assert f"pyro refused the connection to {host}: {host} is not one of the allowed domains" in raw
    [told] = [line for line in raw.splitlines() if "pyro workspace update" in line]
    command = told[told.index("pyro workspace update") :].strip()
    assert command == f"pyro workspace update listed --allow-domain {host}"
    done = subprocess.run(
        [sys.executable, "-m", "pyro_mcp", *shlex.split(command)[1:]], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    allowed = pyro.exec_workspace("listed", f"curl -sS -m 20 -o /dev/null https://{host}/", timeout_seconds=30)
    assert allowed.exit_code == 0, allowed
    after = pyro.status_workspace("listed")
    assert after.allow_domains == ["example.com", f"*.{host}", host]
    assert (after.state, after.id) == (before.state, before.id)
    refused_events = [e for e in connections(pyro, "listed", 6) if details(e)["verdict"] == "refused"]
    assert {details(e)["host"] for e in refused_events} >= {host, f"x{host}"}
    assert all("allowed domains" in details(e)["reason"] for e in refused_events)


def test_a_suffix_lets_its_hosts_through(pyro: Pyro) -> None:
    host = index_host()
    suffix = host.partition(".")[2]
    ws = pyro.create_workspace(network_policy="egress", allow_domains=[f"*.{suffix}"] if "." in suffix else [host]).id
    assert pyro.exec_workspace(ws, f"curl -sS -m 20 -o /dev/null https://{host}/", timeout_seconds=30).exit_code == 0


@pytest.mark.parametrize("domain", ["", "*", "a.*.com", "https://example.com", "a b", "*.", "example.com/x", "*.*.com"])
def test_what_is_no_domain_is_refused(pyro: Pyro, domain: str) -> None:
    with pytest.raises(InvalidInput, match="not a domain"):
        pyro.create_workspace(network_policy="egress", allow_domains=[domain])


def test_a_list_holds_after_reset_fork_and_for_socks(pyro: Pyro) -> None:
    ws = pyro.create_workspace(network_policy="egress", allow_domains=["example.com"]).id
    fork = pyro.fork_workspace(ws).workspaces[0]
    assert fork.allow_domains == ["example.com"]
    pyro.reset_workspace(ws)
    for each in (ws, fork.id):
        assert "403 000" in pyro.exec_workspace(each, f"{CURL} http://b.test/", timeout_seconds=30).stdout
        socks = pyro.exec_workspace(
            each, "curl -sS -m 20 -x socks5h://127.0.0.1:3128 http://b.test/", timeout_seconds=30
        )
        assert socks.exit_code == 97  # refused by the proxy (curl(1))


# -- through MCP, where the agent asks and the user has decided


def test_the_users_list_is_imposed_on_what_the_agent_makes(
    installation: Installation, pyro: Pyro, project: Path
) -> None:
    async def story(session: ClientSession) -> None:
        ws = (await call(session, "workspace_create", seed_path="", network_policy="egress"))["id"]
        assert pyro.status_workspace(ws).allow_domains == ["example.com", "*.example.org"]
        told = await call(session, "workspace_exec", workspace=ws, command=f"{CURL} http://b.test/")
        assert "--allow-domain b.test" in told["stdout"]
        for tool, arguments in (
            ("workspace_update", {"workspace": ws, "allow_domains": ["b.test"]}),
            ("workspace_create", {"seed_path": "", "network_policy": "egress", "allow_domains": ["b.test"]}),
            ("workspace_create", {"seed_path": "", "secrets": {"A": "abcdef"}}),
            ("workspace_create", {"seed_path": "", "secret_files": {"A": "/etc/shadow"}}),
        ):
            assert "has no parameter" in await refused(session, tool, **arguments)
        # No way around it by a machine for one command.
        assert "only certain hosts" in await refused(session, "vm_run", command="true", network_policy="egress")
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        shown: Any = tools["workspace_update"]
        schema = getattr(shown, "inputSchema", None) or shown.input_schema
        assert "allow_domains" not in schema["properties"]
        offline = (await call(session, "workspace_create", seed_path=""))["id"]
        assert pyro.status_workspace(offline).allow_domains == []
        for each in (ws, offline):
            await call(session, "workspace_delete", workspace=each)

    converse(installation, project, story, "--allow-domain", "example.com", "--allow-domain", "*.example.org")


def test_the_most_that_the_user_allows_is_the_most(installation: Installation, pyro: Pyro, project: Path) -> None:
    async def at_most_egress(session: ClientSession) -> None:
        said = await refused(session, "workspace_create", network_policy="egress+published-ports")
        assert "--network egress+published-ports" in said

    async def everything(session: ClientSession) -> None:
        created = await call(session, "workspace_create", seed_path="", network_policy="egress+published-ports")
        ws = created["id"]
        serve = "python3 -m http.server 8000 --bind 127.0.0.1"
        for text in ("0.0.0.0:0:8000", "[::]:0:8000", "127.0.0.1:0:8000"):
            said = await refused(session, "service_start", workspace=ws, name="web", command=serve, publish=[text])
            assert "only on 127.0.0.1" in said
        started = await call(
            session, "service_start", workspace=ws, name="web", command=serve, publish=["8000"], ready_tcp=8000
        )
        [port] = started["published_ports"]
        assert port["host"] == "127.0.0.1"
        reader, writer = await asyncio.open_connection("127.0.0.1", port["host_port"])
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert b"200" in await reader.readline()
        writer.close()
        await call(session, "workspace_delete", workspace=ws)

    converse(installation, project, at_most_egress)
    converse(installation, project, everything, "--profile", "workspace-full", "--network", "egress+published-ports")


def test_a_refusal_is_in_the_answer_of_the_command(pyro: Pyro) -> None:
    ws = pyro.create_workspace(network_policy="egress", allow_domains=["example.com"], name="told").id
    said = pyro.exec_workspace(
        ws,
        "for n in 1 2; do curl -sS -m 20 https://b.test/; done; curl -sS -m 20 --noproxy '' https://10.0.0.1/; "
        "curl -v -m 20 https://b.test/ 2>&1 | grep -c 'not one of the allowed domains'; "
        "python3 -m http.server 8010 --bind 0.0.0.0 >/dev/null 2>&1 & "
        "curl -sS --retry 9 --retry-connrefused -o /dev/null http://0.0.0.0:8010/ 2>/dev/null && echo own; kill %1",
        timeout_seconds=30,
    )  # fmt: skip
    allow = "pyro workspace update told --allow-domain b.test"
    assert [(r.host, r.port, r.why, r.allow_with) for r in said.refused] == [
        ("b.test", 443, "not_allowed", allow),
        ("10.0.0.1", 443, "private", ""),
    ]
    assert allow in said.hint
    assert said.stdout == "1\nown\n", said
    logs = pyro.logs_workspace(ws, handle=said.handle)
    assert logs.refused == said.refused
    assert not pyro.exec_workspace(ws, "true").refused


def test_programs_without_proxy_variables_find_their_way_out_by_name(pyro: Pyro) -> None:
    """`sudo`, `su -`, sockets, Java, and whatever else reads no variable: names lead to the one policy."""
    host = index_host()
    ws = pyro.create_workspace(network_policy="egress", allow_domains=[host], name="led").id
    curl = "env -i curl -sS -m 20 -o /dev/null -w '%{http_code}'"
    python = (
        "import http.client,socket,ssl\n"
        f"c=http.client.HTTPSConnection('{host}',timeout=20);c.request('GET','/');print(c.getresponse().status<500)\n"
        f"s=ssl.create_default_context().wrap_socket(socket.create_connection(('{host}',443),20),server_hostname='{host}')\n"
        f"print(any(v=='{host}' or v.startswith('*.') for k,v in s.getpeercert()['subjectAltName']))\n"
    )

    def works(where: str) -> None:
        for command in (
            f"{curl} https://{host}/ | grep -q '^[234]'",
            f"su nobody -s /bin/sh -c \"{curl} https://{host}/\" | grep -q '^[234]'",
            f"getent hosts {host} | grep -q '^127\\.6[45]\\.'",
        ):
            done = pyro.exec_workspace(where, command, timeout_seconds=45, wait_seconds=50)
            assert done.exit_code == 0, (command, done)
        said = pyro.exec_workspace(where, ["python3", "-c", python], timeout_seconds=45, wait_seconds=50)
        assert said.stdout == "True\nTrue\n", said

    works(ws)
    told = {(details(e)["host"], details(e)["port"], details(e)["verdict"]) for e in connections(pyro, ws, 4)}
    assert told == {(host, 443, "allowed")}
    said = pyro.exec_workspace(ws, f"{curl} https://b.test/; {curl} http://www.b.test:8080/", timeout_seconds=45)
    assert [(r.host, r.port, r.why) for r in said.refused] == [
        ("b.test", 443, "not_allowed"),
        ("www.b.test", 8080, "not_allowed"),
    ], said
    assert said.stdout == "000000", said
    # What leads nowhere fails at once, and what is inside stays inside.
    said = pyro.exec_workspace(
        ws,
        f"{curl} http://1.2.3.4/; {curl} http://10.0.0.1/; {curl} http://x.internal/; {curl} http://127.65.7.7/; "
        "python3 -m http.server 8011 --bind 0.0.0.0 >/dev/null 2>&1 & "
        f"for a in 127.0.0.1 0.0.0.0 127.0.0.2 localhost $(hostname); do "
        f"{curl} --retry 9 --retry-connrefused http://$a:8011/ 2>/dev/null; done; kill %1; "
        "exec 3<>/dev/tcp/127.0.0.1/3129; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3",
        timeout_seconds=30,
        wait_seconds=40,
    )
    assert said.stdout == "000" * 4 + "200" * 5, said
    assert [(r.host, r.why, r.allow_with) for r in said.refused] == [("x.internal", "private", "")]
    # Programs that have no word for an exception of the proxy reach the machine's own services through it.
    own = (
        "import http.server as h,socket,threading,urllib.request as u\n"
        "class S(h.ThreadingHTTPServer):\n address_family=socket.AF_INET6\n"
        "class H(h.BaseHTTPRequestHandler):\n"
        " def do_GET(s): s.send_response(200); s.end_headers(); s.wfile.write(b'own')\n"
        "for t,a in ((S,'::1'),(h.ThreadingHTTPServer,'127.0.0.7')):\n"
        " threading.Thread(target=t((a,8012),H).serve_forever,daemon=True).start()\n"
        "for a in ('[::1]','[0:0:0:0:0:0:0:1]','127.0.0.7'): print(u.urlopen(f'http://{a}:8012/').read().decode())\n"
        "try: u.urlopen('http://[::1]:8013/')\nexcept u.HTTPError as e: print(e.code)\n"
        "try: u.urlopen('http://127.0.0.7:3128/')\nexcept u.HTTPError as e: print(e.code)"
    )
    said = pyro.exec_workspace(ws, ["python3", "-c", own], timeout_seconds=45)
    assert said.stdout == "own\n" * 3 + "403\n" * 2, said
    assert "A literal address has no route" in pyro.exec_workspace(ws, f"{curl} http://192.0.2.7/").hint
    assert not pyro.exec_workspace(ws, f"{curl} http://127.0.0.1:9/").hint
    fork = pyro.fork_workspace(ws).workspaces[0].id
    works(fork)
    pyro.reset_workspace(ws)
    works(ws)


NOT_GLOBAL = (
    *("::ffff:0:10.0.0.1", "::ffff:0:127.0.0.1", "2001:2::1", "2001:10::1", "2001:20::1", "192.88.99.1", "5f00::1"),
    *("100:0:0:1::1", "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:127.0.0.1", "64:ff9b::10.0.0.1"),
)
EACH_WAY = """
import json, os, re, socket, sys
proxy = re.match(r"http://([^:/]+):([0-9]+)", os.environ["http_proxy"])
for address in json.loads(sys.argv[1]):
    host = f"[{address}]" if ":" in address else address
    for head in (f"CONNECT {host}:443 HTTP/1.1\\r\\nHost: {host}:443\\r\\n\\r\\n",
                 f"GET http://{host}/ HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n"):
        with socket.create_connection((proxy[1], int(proxy[2])), 30) as s:
            s.sendall(head.encode())
            said = b"".join(iter(lambda: s.recv(4096), b"")).decode()
        print("proxy", address, said[9:12], "pyro refused" in said)
    try:
        socket.create_connection((address, 443), 30).close()
        print("straight", address, "CONNECTED")
    except OSError as error:
        print("straight", address, bool(error.strerror))
"""


def test_no_form_of_an_address_that_is_not_global_gets_out_by_any_way(pyro: Pyro) -> None:
    ws = pyro.create_workspace(network_policy="egress").id
    said = to_the_end(pyro, ws, ["python3", "-c", EACH_WAY, json.dumps(NOT_GLOBAL)]).output
    proxied = [line.split()[1:] for line in said.splitlines() if line.startswith("proxy")]
    assert proxied == [[address, "403", "True"] for address in NOT_GLOBAL for _ in range(2)], said
    straight = [line.split()[1:] for line in said.splitlines() if line.startswith("straight")]
    assert straight == [[address, "True"] for address in NOT_GLOBAL], said
    told = [details(event) for event in connections(pyro, ws, 2 * len(NOT_GLOBAL))]
    assert {one["verdict"] for one in told} == {"refused"}
    assert {ipaddress.ip_address(one["host"].strip("[]")) for one in told} >= set(map(ipaddress.ip_address, NOT_GLOBAL))
