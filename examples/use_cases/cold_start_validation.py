"""Cold start: does a repository work on a machine that has never seen it? Tests, a service, a probe, a report.

docs/use-cases/cold-start-validation.md is the recipe.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from examples.use_cases.host import Host, contents, main, require

FILES = {
    "README.md": """# greeter

    python3 -B -m unittest -q       # tests
    python3 -B -m greeter 8000      # serves; GET /health says ok, GET /greet/NAME greets
""",
    "greeter/__init__.py": "def greet(name):\n    return f'Hello, {name}!'\n",
    "greeter/__main__.py": """import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from greeter import greet


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            self.answer(200, "ok")
        elif self.path.startswith("/greet/"):
            self.answer(200, greet(self.path.removeprefix("/greet/")))
        else:
            self.answer(404, "nothing here")

    def answer(self, status, text):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())


HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
""",
    "tests/__init__.py": "",
    "tests/test_greeter.py": """import unittest

from greeter import greet


class GreetTest(unittest.TestCase):
    def test_greets(self):
        self.assertEqual(greet("Ada"), "Hello, Ada!")
""",
}
PROBE = "python3 -c \"from urllib.request import urlopen; print(urlopen('http://127.0.0.1:8000/greet/Ada').read().decode())\""


async def story(host: Host) -> None:
    """Validate a repository from nothing: tests, a long-lived service, a probe, a report."""
    before = contents(host.project)
    begun = time.monotonic()
    ws = (await host.call("workspace_create", name="cold-start"))["id"]
    created = time.monotonic() - begun
    host.tell(f"created {ws} in {created:.2f} s")

    listed = await host.call("workspace_file_list", workspace=ws, recursive=True)
    found = {entry["path"].removeprefix("/workspace/") for entry in listed["entries"] if entry["kind"] == "file"}
    require(set(FILES) <= found, "the repository is not complete inside")
    readme = (await host.call("workspace_file_read", workspace=ws, path="README.md"))["content"]
    test, serve = (line.split("#")[0].strip() for line in readme.splitlines() if line.startswith("    "))
    host.tell(f"the README says: {test} · {serve}")

    tested = await host.run(ws, test)
    require(tested["exit_code"] == 0, f"the tests fail: {tested.get('stderr')}")
    host.tell("tests pass")

    service = await host.call(
        "service_start", workspace=ws, name="greeter", command=serve, ready_http="8000/health", ready_timeout_seconds=20
    )
    require(service["state"] == "running", f"the service is {service['state']}: {service.get('log_tail')}")
    probed = await host.run(ws, PROBE)
    require(probed["stdout"] == "Hello, Ada!\n", f"the probe says {probed}")
    logs = await host.call("service_logs", workspace=ws, name="greeter")
    require("GET /greet/Ada" in logs["output"], "the service did not log the request")
    status = await host.call("service_status", workspace=ws, name="greeter")
    require(status["state"] == "running", "the service did not stay")
    host.tell(f"service ready after {service['ready_seconds']:.2f} s, probed, logged")
    stopped = await host.call("service_stop", workspace=ws, name="greeter")
    require(stopped["state"] in ("stopped", "exited"), f"the service is {stopped['state']}")
    gone = await host.run(ws, PROBE)
    require(gone["exit_code"] != 0, "the service still answers after it was stopped")

    report = "# Cold start\n\n" + "".join(
        f"- {what}\n"
        for what in (
            f"tests: `{test}` exits with {tested['exit_code']} after {tested['duration_seconds']:.2f} s",
            f"service: `{serve}` ready after {service['ready_seconds']:.2f} s",
            f"probe: {json.dumps(probed['stdout'].strip())}",
            "verdict: works from nothing, without a network",
        )
    )
    await host.call("workspace_file_write", workspace=ws, path="report.md", text=report)
    exported = await host.call("workspace_export", workspace=ws, path="report.md", output="report.md")
    require(Path(exported["output"]).read_text() == report, "the report was not exported as it was written")
    await host.call("workspace_delete", workspace=ws)
    after = contents(host.project)
    require(after.pop("report.md").decode() == report and after == before, "more than the report came back")
    host.tell("exported report.md, and nothing else")


if __name__ == "__main__":
    sys.exit(main(story, FILES, "--profile", "workspace-full"))
