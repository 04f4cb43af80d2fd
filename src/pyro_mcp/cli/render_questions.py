"""What workspaces ask the user and what the user has decided, as text for people."""

from __future__ import annotations

from pyro_mcp.cli.figures import ago
from pyro_mcp.cli.shown import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Fields = dict[str, Any]


def questions(record: Fields) -> str:
    if not record["questions"]:
        return "No workspace is asking for a host."
    rows = [
        (q["id"], q["workspace_name"] or q["workspace"], f"{q['host']}:{q['port']}", ago(q["asked_at"]), q["command"])
        for q in record["questions"]
    ]
    return table(rows, ("ID", "WORKSPACE", "HOST", "ASKED", "COMMAND")) + "\nanswer: pyro allow HOST"


def decisions(record: Fields) -> str:
    if not record["decisions"]:
        return f"Nothing was decided for a project; {record['kept_in']} would keep it."
    rows = [(each["answer"], each["host"], each["project"] or "-") for each in record["decisions"]]
    return table(rows, ("ANSWER", "HOST", "PROJECT")) + f"\nkept in {record['kept_in']}"


def answered(record: Fields) -> str:
    lines = [f"{record['answer']}: {q['host']} for {q['workspace_name'] or q['workspace']}" for q in record["answered"]]
    return "\n".join([*lines, *([f"kept in {record['kept_in']}"] if record["kept_in"] else [])])
