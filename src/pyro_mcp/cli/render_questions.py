"""What workspaces ask the user, what the user has decided, and what is kept of registries, as text for people."""

from __future__ import annotations

from pyro_mcp.cli.figures import ago, size
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


def cache_info(record: Fields) -> str:
    rows = [
        ("cache", "on" if record["enabled"] else "off"),
        ("directory", record["directory"]),
        ("answers", str(record["answers"])),
        ("size", f"{size(record['size_bytes'])} of at most {size(record['max_bytes'])}"),
        ("connections", f"{record['connections']} opened since the daemon began"),
        ("registries", ", ".join(record["hosts"])),
    ]
    return table(rows)


def cache_list(record: Fields) -> str:
    if not record["answers"]:
        return "Nothing is kept of package registries."
    rows = [
        (each["host"] + each["path"], size(each["size_bytes"]), ago(each["fetched_at"]), ago(each["used_at"]))
        for each in record["answers"]
    ]
    more = [f"and {record['more']} more: --limit"] if record["more"] else []
    return "\n".join([table(rows, ("ANSWER", "SIZE", "FETCHED", "USED")), *more])
