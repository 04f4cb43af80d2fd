"""Results as text for people: aligned columns, relative times, sizes in words. Pure: record in, text out.

Every text of a record is made visible first (`pyro_mcp.visible`): a guest chose many of them.
"""

from __future__ import annotations

from collections.abc import Callable

from pyro_mcp.cli import render_questions as asked
from pyro_mcp.cli.figures import ago, duration, plural, size
from pyro_mcp.cli.shown import shown, table
from pyro_mcp.visible import as_typed, shortened, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Fields = dict[str, Any]


def render(kind: str, record: Fields) -> str:
    """The text for a result of the model named `kind`; ends with a line end unless it is empty."""
    renderer = _RENDERERS.get(kind, _facts)
    text = renderer(shown(record))
    return text if not text or text.endswith("\n") else text + "\n"


# -- pieces


def _facts(record: Fields) -> str:
    """Names and values, what is empty left out: for results without a form of their own."""
    rows = []
    for name, value in record.items():
        if value is None or value in ("", [], {}):
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{key}={item}" for key, item in value.items())
        elif isinstance(value, list):
            value = ", ".join(str(item) for item in value)
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        elif name.endswith("_bytes"):
            value = size(value)
        elif name.endswith("_at"):
            value = ago(value)
        elif name.endswith("_seconds"):
            value = duration(value)
        rows.append((name.replace("_", " "), value))
    return table(rows)


# -- results


def _workspaces(record: Fields) -> str:
    if not record["workspaces"]:
        return "No workspaces."
    rows = [
        (
            w["id"],
            w["name"] or "-",
            w["state"],
            w["environment"],
            w["network_policy"],
            ago(w["last_activity_at"]),
            " ".join(f"{key}={value}" for key, value in w["labels"].items()),
        )
        for w in record["workspaces"]
    ]
    return table(rows, ("ID", "NAME", "STATE", "ENVIRONMENT", "NETWORK", "LAST USED", "LABELS"))


def _workspace(record: Fields) -> str:
    seed = record.get("seed")
    shown = {key: value for key, value in record.items() if key not in ("seed", "devcontainer", "notes")}
    shown["secrets"] = [s["name"] + (f" (for {s['host']})" if s["host"] else "") for s in record["secrets"]]
    shown["published_ports"] = _ports(record)
    text = _facts(shown)
    if seed:
        text += f"\nseed  {seed['source']}: {plural(seed['files'], 'file')}, {size(seed['bytes'])}"
        text += "".join(f"\n      {note}" for note in seed["notes"])
        if seed["skipped"]:
            text += f"\n      skipped: {', '.join(seed['skipped'])}"
    if record.get("devcontainer"):
        text += f"\n{_devcontainer(record['devcontainer'])}"
    return "\n".join([text, *record.get("notes", ())])


def _devcontainer(record: Fields) -> str:
    text = str(record["path"])
    if record["setup_status"]:
        text += f": set-up {record['setup_status']}" + (f" (command {record['setup']})" if record["setup"] else "")
    said = [*record["notes"], *(f"ignored {each}" for each in record["passed_over"]), record["hint"]]
    return text + "".join(f"\n      {each}" for each in said if each)


def _environments(record: Fields) -> str:
    rows = [
        (
            e["name"] + (" (default)" if e["default"] else ""),
            "yes" if e["installed"] else "no",
            size(e["size_bytes"]),
            e["description"],
        )
        for e in record["environments"]
    ]
    text = table(rows, ("ENVIRONMENT", "INSTALLED", "SIZE", "DESCRIPTION"))
    kept = [
        (
            p["name"],
            size(p["size_bytes"]),
            ago(p["created_at"]),
            "in use" if p["in_use"] else ago(p["last_used_at"]),
            visible(p["project"]),
        )
        for p in record["prepared"]
    ]
    return text + ("\n\n" + table(kept, ("PREPARED", "SIZE", "MADE", "USED", "PROJECT")) if kept else "")


def _environment(record: Fields) -> str:
    contents = record.get("contents")
    text = _facts({key: value for key, value in record.items() if key != "contents"})
    if contents:
        text += "\n\n" + table(sorted(contents.items()), ("PACKAGE", "VERSION"))
    return text


def _doctor(record: Fields) -> str:
    def mark(item: Fields) -> str:
        return "ok" if item["ok"] else "--" if item.get("required") is False else "NO"

    lines = [("pyro works here." if record["ok"] else "pyro cannot create workspaces here."), "", "Engines"]
    for engine in record["engines"]:
        lines.append(f"  {mark(engine)}  {engine['name']}: {engine['detail']}")
        if engine["ok"] and engine["limits"]:
            lines.append(f"      {engine['limits']}")
    lines += ["", "Components"]
    for part in record["components"]:
        where = " ".join(x for x in (part["path"], part["version"]) if x) or part["source"]
        lines.append(f"  {mark(part)}  {part['name']}: {where}" + (f"  {part['remedy']}" if part["remedy"] else ""))
    lines += ["", "This computer"]
    for check in record["checks"]:
        lines.append(f"  {mark(check)}  {check['name']}: {check['detail']}")
        if check["remedy"] and not check["ok"]:
            lines.append(f"      {check['remedy']}")
    lines += ["", "Environments"]
    for env in record["environments"]:
        lines.append(f"  {'ok' if env['installed'] else '--'}  {env['name']}: {env['description']}")
    lines += ["", "Daemon", *("  " + line for line in _facts(record["daemon"]).splitlines())]
    if record["fixed"]:
        lines += ["", "Fixed", *(f"  {item}" for item in record["fixed"])]
    return "\n".join(lines)


def _logs(record: Fields) -> str:
    if record["handle"] is not None:
        text = str(record["output"])
        if record.get("cause"):
            text += ("" if text.endswith("\n") or not text else "\n") + f"[{record['cause']}]\n"
        if record["hint"]:
            text += ("" if text.endswith("\n") or not text else "\n") + f"[{record['hint']}]\n"
        return text
    if not record["commands"]:
        return "No command has run yet."
    rows = [
        (
            c["handle"],
            c["status"] if c["exit_code"] is None else f"{c['status']} {c['exit_code']}",
            ago(c["started_at"]),
            duration(c["duration_seconds"]),
            size(c["output_bytes"]),
            _command(c["command"]),
        )
        for c in record["commands"]
    ]
    return table(rows, ("HANDLE", "STATUS", "STARTED", "TOOK", "OUTPUT", "COMMAND"))


def _command(argv: list[str]) -> str:
    return shortened(" ".join(as_typed(argv).split()), 100)


def event_line(event: Fields) -> str:
    """One event of a history, for those who follow it."""
    took = duration(event["duration_seconds"]) if event["duration_seconds"] is not None else ""
    event = shown(event)
    event["error"] = visible(event["error"] or "")  # one event, one line
    words = [event["at"], event["face"], event["operation"], event["outcome"], took, event["error"] or event["summary"]]
    return "  ".join(word for word in words if word)


def _history(record: Fields) -> str:
    lines = [
        (
            event["at"],
            event["sequence"],
            ago(event["at"]),
            event["face"],
            event["operation"],
            event["outcome"],
            duration(event["duration_seconds"]),
            visible(event["error"] or event["summary"]),
        )
        for event in record["events"]
    ]
    lines += [_checkpoint_line(record["workspace"], one) for one in record.get("checkpoints", ())]
    rows = [line[1:] for line in sorted(lines, key=lambda line: str(line[0]))]
    return table(rows, ("#", "WHEN", "FACE", "OPERATION", "OUTCOME", "TOOK", "WHAT"))


def _checkpoint_line(workspace: str, one: Fields) -> tuple[Any, ...]:
    named = ", ".join(one["paths"]) + (", …" if one["files"] > len(one["paths"]) else "")
    what = f"{plural(one['files'], 'file')}: {named} (back to it: pyro workspace rewind {workspace} {one['number']})"
    return one["at"], "", ago(one["at"]), "daemon", f"checkpoint {one['number']}", "kept", "", what


def _file_list(record: Fields) -> str:
    rows = [
        (
            e["mode"],
            size(e["size"]) if e["kind"] == "file" else e["kind"],
            ago(e["modified_at"]),
            e["path"] + (f" -> {e['link']}" if e["link"] else ""),
        )
        for e in record["entries"]
    ]
    return _with_hint(table(rows), record)


def _file_content(record: Fields) -> str:
    if not record.get("files"):
        return _file_read(record)
    return "\n".join(f"==> {file['path']} <==\n{_file_read(file)}" for file in record["files"])


def _file_read(record: Fields) -> str:
    if record.get("error"):
        return f"({record['error']})\n"
    if record.get("media_type"):
        sides = f"{record['width']} by {record['height']} pixels"
        return (
            f"{record['media_type']}, {sides}, {size(record['size'])}; workspace export brings it to this computer.\n"
        )
    return _with_hint(str(record["content"]), record)


def _changes(files: list[Fields]) -> str:
    rows = []
    for f in files:
        name = f["path"] if not f["old_path"] else f"{f['old_path']} -> {f['path']}"
        rows.append((f["status"], "binary" if f["binary"] else f"+{f['insertions']} -{f['deletions']}", name))
    return table(rows)


def _search(record: Fields) -> str:
    return _with_hint(record["content"] or "Nothing matches.", record)


def _edited(record: Fields) -> str:
    what = "created" if record["created"] else f"{plural(record['replacements'], 'replacement')}"
    return f"{record['path']}: {what}, +{record['insertions']} -{record['deletions']}"


def _applied(record: Fields) -> str:
    lines = [_changes(record["files"])]
    for p in record.get("placed", []):
        how = [f"{abs(p['offset'])} lines {'further down' if p['offset'] > 0 else 'further up'}"] if p["offset"] else []
        how += [f"{p['fuzz']} of its lines of context at each end did not fit"] if p["fuzz"] else []
        lines.append(f"Hunk {p['hunk']} of {p['path']} went to line {p['line']}: {', '.join(how)}.")
    return "\n".join(lines)


def _rewound(record: Fields) -> str:
    if record["rewound_to"] is not None:
        done = f"Back at checkpoint {record['rewound_to']}: {plural(record['changed_files'], 'file')} changed."
        return _with_hint("\n".join([done, *(f"left unchanged: {name}" for name in record["left"])]), record)
    rows = [(c["number"], c["at"][:19], plural(c["files"], "file"), c["after"]) for c in record["checkpoints"]]
    return _with_hint(table(rows, ("NUMBER", "AT", "CHANGED", "AFTER")), record)


def _tried(record: Fields) -> str:
    rows = []
    for one in record["alternatives"]:
        size = (
            "" if one["files"] is None else f"{plural(one['files'], 'file')} +{one['insertions']} -{one['deletions']}"
        )
        status = one["status"].replace("_", " ") + (f" ({one['exit_code']})" if one["exit_code"] else "")
        took = "" if one["seconds"] is None else duration(one["seconds"])
        rows.append((one["number"], status, took, size, one["name"]))
    lines = [table(rows, ("NUMBER", "STATUS", "TOOK", "CHANGED", "NAME"))]
    for one in record["alternatives"]:
        said = [*([one["error"]] if one["error"] else []), *one["failing"]]
        lines += [f"{one['number']}: {line}" for line in said]
    if record["kept"] is not None:
        lines.append(f"The workspace is alternative {record['kept']} now.")
    return _with_hint("\n".join(lines), record)


def _diff(record: Fields) -> str:
    if not record["files"] and not record["empty_directories"]:
        return "Nothing has changed since the baseline."
    parts = [
        f"{plural(len(record['files']), 'file')} changed, +{record['insertions']} -{record['deletions']}",
        _changes(record["files"]),
    ]
    parts += [f"new empty directory: {name}" for name in record["empty_directories"]]
    if record["patch"]:
        parts += ["", record["patch"].rstrip("\n")]
    return _with_hint("\n".join(parts), record)


def _with_hint(text: str, record: Fields) -> str:
    if not record.get("hint"):
        return text
    return text + ("" if not text or text.endswith("\n") else "\n") + f"[{record['hint']}]\n"


def _written(record: Fields) -> str:
    return f"{record['action']} {record['path']}, {size(record['size'])}, mode {record['mode']}"


def _deleted(record: Fields) -> str:
    return f"deleted {record['name'] or record['id']}"


def _synced(record: Fields) -> str:
    text = f"{record['source']} -> {record['destination']}: {plural(record['files'], 'file')}, {size(record['bytes'])}"
    return text + (f"\nskipped: {', '.join(record['skipped'])}" if record["skipped"] else "")


def _exported(record: Fields) -> str:
    text = f"{record['path']} -> {record['output']}: {plural(record['files'], 'file')}, {size(record['bytes'])}"
    lines = [text, *(f"empty directory, which a patch cannot contain: {d}" for d in record["empty_directories"])]
    return _with_hint("\n".join(lines), record)


def _left_out(record: Fields) -> list[str]:
    if not record.get("left_out_files"):
        return []
    groups = [f"{g['path']} ({plural(g['files'], 'file')}, {g['why']})" for g in record["left_out"][:5]]
    return [
        f"left out {plural(record['left_out_files'], 'file')}: {', '.join(groups)}; include them with --include-ignored"
    ]


def _pruned(record: Fields) -> str:
    if not record["removed"]:
        return "Nothing to remove."
    return "\n".join([*(f"removed {name}" for name in record["removed"]), f"{size(record['freed_bytes'])} freed"])


def _ports(record: Fields) -> list[str]:
    return [
        f"{port['host']}:{port['host_port']} -> {port['guest_port']}"
        + (f" ({port['problem']})" if port["problem"] else "")
        for port in record["published_ports"]
    ]


def _snapshots(record: Fields) -> str:
    rows = [
        (s["name"], ago(s["created_at"]), size(s["size_bytes"]) if s["size_bytes"] else "-", len(s["running"]))
        for s in record["snapshots"]
    ]
    return table(rows, ("SNAPSHOT", "TAKEN", "SIZE", "RUNNING"))


def _snapshot(record: Fields) -> str:
    return f"snapshot {record['name']} of {record['workspace']}: {size(record['size_bytes'])}"


def _snapshot_deleted(record: Fields) -> str:
    return f"deleted snapshot {record['name']}, {size(record['freed_bytes'])} freed"


def _forked(record: Fields) -> str:
    return _workspaces(record)


def _shell(record: Fields) -> str:
    state = record["status"] if record["exit_code"] is None else f"{record['status']} {record['exit_code']}"
    return f"{record['shell']}  {state}  {record['rows']}x{record['cols']}  cursor {record['cursor']}"


def _shell_output(record: Fields) -> str:
    return _with_hint(str(record["output"]), record)


def _service_state(record: Fields) -> str:
    return record["state"] if record["exit_code"] is None else f"{record['state']} {record['exit_code']}"


def _service(record: Fields) -> str:
    lines = [f"{record['name']}  {_service_state(record)}" + (f": {record['failure']}" if record["failure"] else "")]
    if record["ready_seconds"] is not None:
        lines.append(f"ready after {duration(record['ready_seconds'])} ({record['ready']})")
    lines += _ports(record)
    if record["log_tail"]:
        lines += ["", record["log_tail"]]
    return _with_hint("\n".join(lines), record)


def _services(record: Fields) -> str:
    if not record["services"]:
        return "No services."
    rows = [
        (s["name"], _service_state(s), ago(s["started_at"]), " ".join(_ports(s)), _command(s["command"]))
        for s in record["services"]
    ]
    return table(rows, ("SERVICE", "STATE", "STARTED", "PORTS", "COMMAND"))


def _landed(record: Fields) -> str:
    new = "new branch" if record["created"] else "branch"
    lines = [
        f"{new} {record['branch']} at {record['commit'][:12]}: {plural(record['files'], 'file')}, "
        f"+{record['insertions']} -{record['deletions']}",
    ]
    lines += [f"empty directory, which git cannot store: {name}" for name in record["empty_directories"]]
    lines += _left_out(record)
    if record["backup_ref"]:
        lines.append(f"its previous tip is kept at {record['backup_ref']}")
    lines.append(f"look: git -C {record['repository']} log -p {record['branch']} -1")
    lines.append(f"undo: {record['undo']}")
    return "\n".join(lines)


def _activity(record: Fields) -> str:
    rows = []
    for each in record["workspaces"]:
        w, now = each["workspace"], each["running"][-1] if each["running"] else None
        doing = f"{shortened(_command(now['command']), 60)}: {now['last_line']}" if now else "-"
        rows.append((w["name"] or w["id"], w["state"], ago(w["last_activity_at"]), doing))
    lines = [table(rows, ("WORKSPACE", "STATE", "LAST USED", "NOW")) if rows else "No workspaces."]
    return "\n".join(lines + [f"{e['workspace_name'] or e['workspace']}  {event_line(e)}" for e in record["events"]])


_RENDERERS: dict[str, Callable[[Fields], str]] = {
    "Activity": _activity,
    "DecisionList": asked.decisions,
    "Deleted": _deleted,
    "Diff": _diff,
    "Doctor": _doctor,
    "Environment": _environment,
    "EnvironmentList": _environments,
    "Exported": _exported,
    "FileContent": _file_content,
    "FileList": _file_list,
    "FileEdited": _edited,
    "Rewound": _rewound,
    "FileWritten": _written,
    "History": _history,
    "Logs": _logs,
    "PatchApplied": _applied,
    "QuestionAnswered": asked.answered,
    "QuestionList": asked.questions,
    "CacheInfo": asked.cache_info,
    "CacheList": asked.cache_list,
    "Pruned": _pruned,
    "Forked": _forked,
    "Landed": _landed,
    "SearchResult": _search,
    "Service": _service,
    "ServiceList": _services,
    "ServiceLogs": _shell_output,
    "Shell": _shell,
    "ShellOutput": _shell_output,
    "Snapshot": _snapshot,
    "SnapshotDeleted": _snapshot_deleted,
    "SnapshotList": _snapshots,
    "Synced": _synced,
    "Tried": _tried,
    "SuggestedEnvironment": lambda record: str(record["content"]),
    "Workspace": _workspace,
    "WorkspaceList": _workspaces,
}
