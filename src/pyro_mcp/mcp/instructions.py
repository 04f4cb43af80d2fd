"""What the server tells a model about itself, once. Codex first shows 247 characters, so the first sentence counts."""

from __future__ import annotations

from pyro_mcp.mcp.access import Access
from pyro_mcp.operations import Profile
from pyro_mcp.visible import shortened
from pyro_mcp.vocabulary import asks, online

MAX_CHARACTERS = 2048
"""Claude Code cuts instructions there."""

_VM_RUN = (
    "pyro runs a command in a fresh, isolated, throwaway Linux machine: use vm_run for "
    "anything you would rather not run on the user's computer. Nothing is kept and none of the user's "
    "files are in it. A command that outlives wait_seconds returns status running and a handle: call vm_run "
    "again with that handle to keep waiting."
)

_WORKSPACE = (
    "pyro gives you a disposable Linux machine to work in: prefer it over the user's computer for "
    "building, testing, installing packages and running untrusted code. Nothing in it touches the "
    "user's files until you export.\n"
    "\n"
    "The loop: workspace_create fills /workspace with {project}; look around with workspace_file_list and"
    " workspace_file_read; change with workspace_edit (exact text), workspace_patch_apply (a unified or a Codex patch)"
    " or workspace_file_write; run "
    "with workspace_exec; see what changed with workspace_diff; bring it back with workspace_export "
    "(patch=true for all changes as a patch, or a path) and say where it is. workspace_rewind undoes a "
    "command or edit; workspace_reset returns everything to its initial state; workspace_delete when done.\n"
    "\n"
    "- Every call answers within 50 s. A longer command keeps running: status is running, and its "
    "handle works with workspace_logs (wait_seconds=45 waits for its end) and workspace_cancel. That is not a "
    "failure; do not start it again.\n"
    "- Long output keeps its head and tail; workspace_logs with handle and offset or grep reads the rest.\n"
    "- Each command starts in its own shell in /workspace, as root or the project's user; set cwd, "
    "or chain with &&.\n"
    "- The network is off unless you create the workspace with {network}.\n"
    "- When the user's files change, workspace_sync_push copies them in. {reach}\n"
    "- vm_run runs one command in an empty machine, without a workspace.\n"
    "- Errors say what to do next. Fields that are empty or false are left out of results."
)


FULL = (
    "\n- Also: snapshot_create before something risky, workspace_try for several fixes at once (keep the one that "
    "passes), service_start for servers (with a readiness), shell_open for interactive programs (shell_read with "
    "plain=true)."
)


def instructions(profile: Profile, access: Access) -> str:
    """The instructions for a profile, with what the user allowed."""
    if profile == "vm-run":
        return _VM_RUN
    project = f"the project ({access.project})" if access.project else "what seed_path names"
    network = "network_policy=egress, which reaches public hosts only"
    if not online(access.network):
        network += ", which the user does not allow here"
    if asks(access.network):
        network = (
            "network_policy=ask: the user is asked about each new host, and connections wait up to 60 s for an answer"
        )
    if online(access.network) and access.allow_domains:
        network += "; allowed already: " if asks(access.network) else ", of which the user allows "
        network += ", ".join(access.allow_domains[:8])
    reach = (
        "Paths on the user's computer must be inside the project directory"
        if access.project
        else ("No directory of the user's computer is in reach")
    )
    if access.allowed:
        reach += " or " + ", ".join(str(path) for path in access.allowed)
    text = _WORKSPACE.format(project=project, network=network, reach=reach + ".")
    names = [*access.secrets, *access.secret_files]
    if names:
        text += (
            f"\n- The user gives secrets: {', '.join(names[:16])}. Map one into a command with secret_env; you never "
            "see its value, and need not."
        )
    if profile == "workspace-full":
        text += FULL
    return shortened(text, MAX_CHARACTERS)
