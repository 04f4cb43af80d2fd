"""@anthropic-ai/sandbox-runtime from npm: bubblewrap around a command on this computer's own root, with a proxy."""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile

from benchmarks.peers.bubblewrap import Bubblewrap
from benchmarks.peers.driver import Absent, call

PACKAGE = "@anthropic-ai/sandbox-runtime@0.0.54"
_DOMAINS = ["pypi.org", "*.pypi.org", "files.pythonhosted.org", "registry.npmjs.org"]


class SandboxRuntime(Bubblewrap):
    name = "sandbox-runtime"
    boundary = "namespaces and seccomp; this computer's kernel and root"

    def prepare(self) -> None:
        for program in ("npm", "bwrap", "socat", "rg"):
            if shutil.which(program) is None:
                raise Absent(f"{program} is not installed")
        place = self._work / "npm"
        done = call(["npm", "install", "--silent", "--no-fund", "--no-audit", f"--prefix={place}", PACKAGE])
        self._srt = place / "node_modules" / ".bin" / "srt"
        if done.status or not self._srt.exists():
            raise Absent(f"npm could not install {PACKAGE}: {done.output.strip()[-200:]}")
        self._settings = self._work / "settings.json"
        settings = {
            "network": {"allowedDomains": _DOMAINS, "deniedDomains": []},
            "filesystem": {"denyRead": [], "allowWrite": [str(self._work), tempfile.gettempdir()], "denyWrite": []},
        }
        self._settings.write_text(json.dumps(settings))

    def command(self, machine: str, line: str) -> list[str]:
        inside = f"cd {shlex.quote(machine)} && {line}"
        return [str(self._srt), "--settings", str(self._settings), shlex.join(["/bin/bash", "-c", inside])]
