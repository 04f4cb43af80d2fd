"""git and package managers log in from inside, with credentials that never are inside."""

from __future__ import annotations

import base64
import http.server
import subprocess
from pathlib import Path

from pyro_mcp.network.authority import Authority
from pyro_mcp.sdk import Pyro
from tests.support import Installation
from tests.tls import git_server, serving

HOST = "host.pyro.internal"
TOKEN = "ghp_t0ken+of/the=user"


def git(*words: str, at: Path) -> str:
    return subprocess.run(["git", *words], cwd=at, check=True, capture_output=True, text=True).stdout.strip()


def test_git_pushes_with_a_token_that_the_machine_does_not_have(
    authority: Authority, fresh: Installation, tmp_path: Path
) -> None:
    repositories, seen = tmp_path / "git", list[str]()
    for name in ("app", "other"):
        (repositories / f"{name}.git").mkdir(parents=True)
        git("init", "-q", "--bare", "-b", "main", at=repositories / f"{name}.git")
        git("config", "http.receivepack", "true", at=repositories / f"{name}.git")
    with serving(git_server(repositories, TOKEN, seen), authority, HOST) as port, Pyro() as pyro:
        url = f"https://{HOST}:{port}"
        ws = pyro.create_workspace(
            name="coder",
            network_policy="egress",
            allow_domains=[f"{HOST}:GET"],
            allow_host_ports=[str(port)],
            secrets={"TOKEN": TOKEN},
            secret_hosts={"TOKEN": HOST},
        ).id
        work = (
            f"git clone -q {url}/app.git app; cd app && git config user.name t && git config user.email t@example.com"
            " && head -c 3000000 /dev/urandom > big && git add big && git commit -qm one"
        )
        made = pyro.exec_workspace(ws, work, timeout_seconds=60)
        assert made.exit_code == 0, made
        # What the environment says to git holds as well.
        assert pyro.exec_workspace(ws, "git config --system user.name").stdout == "agent\n"
        # The token may fetch, and not push, unless the user says so; and then to this one repository.
        push = "cd app && git push origin HEAD:refs/heads/main"
        shut = pyro.exec_workspace(ws, push, timeout_seconds=60)
        assert shut.exit_code != 0
        [told] = shut.refused
        assert (told.host, told.port, told.why) == (HOST, port, "not_allowed")
        assert told.allow_with == f"pyro workspace update coder --allow-domain {HOST}:PUSH/app.git"
        assert "git push" in pyro.history_workspace(ws).model_dump_json()
        assert git("for-each-ref", at=repositories / "app.git") == ""
        pyro.update_workspace(ws, allow_domains=[f"{HOST}:PUSH/app.git"])
        for way in ("", "env -i HOME=/root "):
            pushed = pyro.exec_workspace(ws, push.replace("git push", f"{way}git push"), timeout_seconds=60)
            assert pushed.exit_code == 0, pushed
        assert git("cat-file", "-s", "main:big", at=repositories / "app.git") == "3000000"
        other = pyro.exec_workspace(
            ws, f"{push.replace('origin', f'{url}/other.git')}; git fetch -q", timeout_seconds=60
        )
        assert [r.allow_with for r in other.refused] == [
            f"pyro workspace update coder --allow-domain {HOST}:PUSH/other.git"
        ]
        assert git("for-each-ref", at=repositories / "other.git") == ""
        # Bearer, and Basic by hand, as npm and pip send them.
        header = (
            'curl -sS -o /dev/null -w "%{http_code} " -H "Authorization: Bearer $T" '
            f'"{url}/app.git/info/refs?service=git-upload-pack"; curl -sS -o /dev/null -w "%{{http_code}}" '
            f'-u "x-access-token:$T" "{url}/app.git/info/refs?service=git-upload-pack"; echo " $T"'
        )
        by_hand = pyro.exec_workspace(ws, header, secret_env={"T": "TOKEN"}, timeout_seconds=40)
        assert by_hand.stdout.startswith("200 200 pyro-secret-TOKEN-"), by_hand
        inside = pyro.exec_workspace(ws, f"grep -rF '{TOKEN[4:]}' /etc /root /workspace /proc/*/environ 2>/dev/null")
        assert inside.stdout == "", "the token is inside"
        basic = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
        assert any(line.startswith("POST /app.git/git-receive-pack") and basic in line for line in seen), seen[-5:]
        pyro.delete_workspace(ws)


def test_a_rule_holds_for_every_way_to_its_host(authority: Authority, fresh: Installation) -> None:
    asked: list[str] = []

    class Server(http.server.BaseHTTPRequestHandler):
        def _serve(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok" if self.command != "HEAD" else b"")

        do_GET = do_POST = do_HEAD = do_DELETE = do_PUT = _serve

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Server, authority, HOST) as tls, serving(Server, None, HOST) as plain, Pyro() as pyro:
        ws = pyro.create_workspace(network_policy="egress", allow_domains=["none"]).id
        rules = [f"{HOST}:GET", f"{HOST}:POST/in/"]
        pyro.update_workspace(ws, allow_domains=rules, allow_host_ports=[str(tls), str(plain)])
        status = "curl -sS -m 20 -o /dev/null -w '%{http_code} '"
        for url in (f"https://{HOST}:{tls}", f"http://{HOST}:{plain}"):
            for way in ("", "env -i "):
                good = f"{url}/a; {way}{status} -I {url}/a; {way}{status} -d x {url}/in/b"
                bad = "; ".join(
                    f"{way}{status} --path-as-is {words}"
                    for words in (
                        f"-d x {url}/a",
                        f"-X DELETE {url}/in/b",
                        f"-d x {url}/in/../a",
                        f"-d x {url}/in/%2e%2e/a",
                        f"-d x {url}/in%2fb",
                        f"-d x {url}/inside",
                        f"-H 'X-HTTP-Method-Override: DELETE' {url}/a",
                        f"-H 'Upgrade: websocket' -H 'Connection: Upgrade' {url}/a",
                        *(
                            [] if way == "" and "http:" in url else [f"-H 'Host: other.example.com' {url}/a"]
                        ),  # a proxy sets it
                    )
                )
                asked.clear()
                said = pyro.exec_workspace(ws, f"{way}{status} {good}; {bad}", timeout_seconds=90, wait_seconds=50)
                codes = said.stdout.split()
                assert codes[:3] == ["200"] * 3, (url, way, said)
                assert set(codes[3:]) <= {"403", "421", "000"}, (url, way, said)
                assert asked == ["GET /a", "HEAD /a", "POST /in/b"], (url, way, asked)
        # What is not HTTP at all gets nowhere, nor does SOCKS get around.
        asked.clear()
        said = pyro.exec_workspace(
            ws,
            f"{status} -x socks5h://127.0.0.1:3128 -d x http://{HOST}:{plain}/a; "
            f"{status} -x socks5h://127.0.0.1:3128 -d x https://{HOST}:{tls}/a; "
            f"exec 3<>/dev/tcp/{HOST}/{plain}; printf 'SSH-2.0-x\\r\\n\\r\\n' >&3; timeout 10 cat <&3",
            timeout_seconds=60,
        )
        assert asked == []
        assert said.stdout.startswith("403 403 "), said
        pyro.delete_workspace(ws)
