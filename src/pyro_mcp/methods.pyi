"""Written by `python -m pyro_mcp.reference` from the operations' definitions; do not edit."""

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Literal

from pyro_mcp.aio import AsyncExecStream
from pyro_mcp.handles import AsyncForked, AsyncWorkspace, AsyncWorkspaceList, Forked, Workspace, WorkspaceList
from pyro_mcp.models import Workspace as WorkspaceRecord
from pyro_mcp.models import (
    Activity,
    CacheInfo,
    CacheList,
    CommandRecord,
    DecisionList,
    Deleted,
    Diff,
    Doctor,
    Environment,
    EnvironmentExported,
    EnvironmentList,
    ExecResult,
    Exported,
    FileContent,
    FileEdited,
    FileList,
    FileWritten,
    History,
    Landed,
    Logs,
    Noted,
    PatchApplied,
    Pruned,
    QuestionAnswered,
    QuestionList,
    Rewound,
    RunResult,
    SearchResult,
    Service,
    ServiceList,
    ServiceLogs,
    Shell,
    ShellOutput,
    Snapshot,
    SnapshotDeleted,
    SnapshotList,
    SuggestedEnvironment,
    Synced,
    Tried,
)
from pyro_mcp.sdk import ExecStream

class PyroMethods:
    """Every operation by its name."""

    def follow_activity(
        self,
        *,
        after: str | None = None,
        wait_seconds: float = 0,
        limit: int = 50,
    ) -> Activity:
        """Show what goes on in all workspaces: what runs, its last line, what was done, what is asked.

        Without `after`, all workspaces and the newest events; with it, what changed since. It leaves no trace in any
        history and keeps no workspace in use. A cursor of an earlier daemon gives everything again.

        Args:
            after: Only what changed since: the cursor of an earlier answer. At most 64 characters.
            wait_seconds: Seconds to wait until something changes, 0 to 50.
            limit: The newest events, 0 to 1000.

        Returns:
            Activity: What changed since a moment, over all workspaces.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def note_workspace(
        self,
        workspace: str | WorkspaceRecord,
        text: str,
        *,
        path: str | None = None,
        line: int | None = None,
    ) -> Noted:
        """Tell the agent that works in a workspace something: its next tool call says it as your note.

        For example: `pyro note fix-add "use a set here" --path calc.py --line 12`. Only an agent over MCP gets it.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            text: What to tell it. At most 8192 characters.
            path: The file that it is about. At most 4096 characters.
            line: The line of it, from 1.

        Returns:
            Noted: A note that waits for the agent.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: So many notes wait already that the agent has not been told.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def exec_workspace(
        self,
        workspace: str | WorkspaceRecord,
        command: str | list[str],
        *,
        cwd: str | None = None,
        session: str | None = None,
        background: bool = False,
        until: str | None = None,
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        stdin: str | None = None,
        stdin_open: bool = False,
        timeout_seconds: float | None = None,
        wait_seconds: float = 30.0,
        max_output_bytes: int = 10000,
        raw: bool = False,
    ) -> ExecResult:
        """Run a command, as root unless the image, devcontainer.json or `user` says otherwise.
        If it outlives `wait_seconds`, it keeps running: status `running`, and a handle for logs and cancel.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            command: Shell command line, run by bash.
            cwd: Default: /workspace, or the session's directory. At most 4096 characters.
            session: Any name; cd, export and functions persist across calls with the same name.
            background: Return a handle at once and let it run: servers, watchers.
            until: Wait only until this is ready: a port (8000), http://localhost:8000/path, file:PATH, or a
                regex in its output.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            stdin: Standard input, at most 1 MiB.
            stdin_open: Keep standard input open, to be fed piece by piece.
            timeout_seconds: Timeout in seconds, at most 86400. Default: 1800; in the background, 86400.
            wait_seconds: Seconds to wait for its end, 0 to 50.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.

        Returns:
            ExecResult: One command's outcome, or its state so far when it still runs.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no bash, and the call needs one: a session, or a command line for
                it.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def feed_workspace_exec(
        self,
        workspace: str | WorkspaceRecord,
        handle: str | ExecResult | CommandRecord | Service,
        *,
        data: str = '',
        end: bool = False,
    ) -> CommandRecord:
        """Give a running command a piece of its standard input.

        The command must have been started with `stdin_open`. Waits at most 30 s for it to read earlier input.
        Its input is closed after 90 s without a call.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            handle: The command's handle. At most 64 characters. Or its `ExecResult`, `CommandRecord` or
                `Service`.
            data: Base64, at most 1 MiB.
            end: This is the last piece.

        Returns:
            CommandRecord: A past or running command of a workspace.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such handle.
            Conflict: The command does not take input, or has not read what it was sent for 30 s.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def cancel_workspace_exec(
        self,
        workspace: str | WorkspaceRecord,
        handle: str | ExecResult | CommandRecord | Service,
    ) -> CommandRecord:
        """End a running command: INT (as Ctrl-C does), then TERM, then KILL, 2 s apart.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            handle: The command's handle. At most 64 characters. Or its `ExecResult`, `CommandRecord` or
                `Service`.

        Returns:
            CommandRecord: A past or running command of a workspace.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such handle.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def logs_workspace(
        self,
        workspace: str | WorkspaceRecord,
        handle: str | None | ExecResult | CommandRecord | Service = None,
        *,
        offset: int | None = None,
        wait_seconds: float = 0,
        until: str | None = None,
        grep: str | None = None,
        max_output_bytes: int = 10000,
        raw: bool = False,
        limit: int = 20,
    ) -> Logs:
        """List commands, or read the output of one by `handle`.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            handle: One command's handle. At most 64 characters. Or its `ExecResult`, `CommandRecord` or
                `Service`.
            offset: First byte; negative: from the end.
            wait_seconds: Seconds to wait for its end, 0 to 50.
            until: Wait only until this is ready: a port (8000), http://localhost:8000/path, file:PATH, or a
                regex in its output.
            grep: Only lines that match this regex. At most 1000 characters.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.
            limit: Commands to list, 1 to 1000.

        Returns:
            Logs: A workspace's commands, and the output of one of them from an offset on.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such handle.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def run_in_vm(
        self,
        environment: str | Environment = 'debian:12',
        command: str | list[str] | None = None,
        *,
        handle: str | None | ExecResult | CommandRecord | Service = None,
        user: str | None = None,
        env: dict[str, str] | None = None,
        stdin: str | None = None,
        stdin_open: bool = False,
        network_policy: Literal['off', 'egress'] = 'off',
        vcpu_count: int = 1,
        mem_mib: int = 1024,
        timeout_seconds: float = 600,
        wait_seconds: float = 45.0,
        max_output_bytes: int = 10000,
        raw: bool = False,
    ) -> RunResult:
        """Run a command in a fresh, throwaway Linux machine.

        Args:
            environment: For example debian:12, or an image: node:22. Or the `Environment`.
            command: Shell command line, run by bash.
            handle: Keep waiting for this run instead. At most 64 characters. Or its `ExecResult`,
                `CommandRecord` or `Service`.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            stdin: Standard input, at most 1 MiB.
            stdin_open: Keep standard input open, to be fed piece by piece.
            network_policy: egress: public hosts only. One of off, egress.
            vcpu_count: 1 to 32.
            mem_mib: MiB, 128 to 65536.
            timeout_seconds: Timeout in seconds, at most 3600.
            wait_seconds: Seconds to wait for its end, 0 to 50.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.

        Returns:
            RunResult: The outcome of a one-shot machine.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such environment.
            EngineError: No machine could be started.
            ComponentMissing: This computer lacks something; `doctor` shows what.
            Conflict: The environment is being built; try again later.
            Unsupported: The requested engine does not work here.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def list_workspace_files(
        self,
        workspace: str | WorkspaceRecord,
        path: str = '/workspace',
        *,
        recursive: bool = False,
        limit: int = 200,
    ) -> FileList:
        """List a directory.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Below /workspace. At most 4096 characters.
            recursive: Include subdirectories.
            limit: 1 to 20000.

        Returns:
            FileList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def read_workspace_file(
        self,
        workspace: str | WorkspaceRecord,
        path: str | None = None,
        *,
        paths: list[str] | None = None,
        offset: int | None = None,
        limit: int | None = None,
        number_lines: bool = False,
        grep: str | None = None,
        byte_offset: int | None = None,
        encoding: str | None = None,
        max_bytes: int = 65536,
    ) -> FileContent:
        """Read text files or parts of them. Lists a directory; shows a picture.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Below /workspace. At most 4096 characters.
            paths: Several files in one call, at most 20.
            offset: First line, from 1; negative: from the end.
            limit: How many lines.
            number_lines: Number the lines, as `cat -n` does.
            grep: Only lines that match this regex, as number:line. At most 1000 characters.
            byte_offset: First byte; use instead of lines.
            encoding: If not UTF-8, for example windows-1252.
            max_bytes: Bytes of content, counted as JSON, at most 1048576; tools default to 10000.

        Returns:
            FileContent: What was read: one file, or several in `files`.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def search_workspace(
        self,
        workspace: str | WorkspaceRecord,
        pattern: str | None = None,
        *,
        path: str = '/workspace',
        glob: list[str] | None = None,
        literal: bool = False,
        ignore_case: bool = False,
        context: int = 0,
        files_only: bool = False,
        include_ignored: bool = False,
        limit: int = 100,
        max_bytes: int = 10000,
    ) -> SearchResult:
        """Search file contents, or find files by name.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            pattern: Regular expression (RE2) for a line. Omit to find files by name.
            path: Only below this path. At most 4096 characters.
            glob: Only files like *.py or src/**; !docs excludes. At most 64 entries.
            literal: The pattern is plain text.
            ignore_case: Ignore case.
            context: Lines around each match, 0 to 20.
            files_only: List only files, with counts.
            include_ignored: Also search ignored files and node_modules.
            limit: Matches or files to return, 1 to 10000.
            max_bytes: Bytes of content, 200 to 1048576.

        Returns:
            SearchResult: Lines or files that were found, as text: `path:line:text`, with `path-line-text`
            for lines of context.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or directory.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            GuestError: The search could not be carried out; the message says why.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def write_workspace_file(
        self,
        workspace: str | WorkspaceRecord,
        path: str,
        text: str,
        *,
        executable: bool | None = None,
        encoding: str | None = None,
    ) -> FileWritten:
        """Write a whole text file, creating its directories.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Below /workspace. At most 4096 characters.
            text: At most 1 MiB.
            executable: Default: unchanged.
            encoding: If not UTF-8, for example windows-1252.

        Returns:
            FileWritten:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def edit_workspace_file(
        self,
        workspace: str | WorkspaceRecord,
        path: str,
        old_string: str | None = None,
        new_string: str | None = None,
        *,
        replace_all: bool = False,
        edits: list[dict[str, Any]] | None = None,
    ) -> FileEdited:
        """Replace exact text in a file. Whitespace counts; include enough lines to be unique.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Below /workspace. At most 4096 characters.
            old_string: Exact text, once in the file; empty creates a new file. At most 1048576 characters.
            new_string: What replaces it. At most 1048576 characters.
            replace_all: Replace every occurrence.
            edits: Instead: several edits in order, all or none: [{old_string, new_string, replace_all}]. At
                most 200 entries.

        Returns:
            FileEdited:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            PatchMismatch: The text is not in the file, or occurs more than once. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def apply_workspace_patch(
        self,
        workspace: str | WorkspaceRecord,
        patch: str,
    ) -> PatchApplied:
        """Apply a patch, all or nothing: create, modify, delete, rename.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            patch: Unified diff or `*** Begin Patch`, at most 1 MiB; @@ may name the function.

        Returns:
            PatchApplied:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            PatchMismatch: The patch does not fit; the message says where. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def rewind_workspace(
        self,
        workspace: str | WorkspaceRecord,
        to: int | None = None,
        *,
        limit: int = 20,
    ) -> Rewound:
        """Undo: put files back as they were after an earlier command or edit, or list these checkpoints.

        Checkpoints are made automatically: at most 200, 256 MiB, 7 days. A reset keeps them. Processes and memory are
        untouched, and so are files over 8 MiB, .git and tool-made files (node_modules). Undo a rewind with another.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            to: Checkpoint number, 0 to 1000000. Omit to list them.
            limit: Checkpoints to list, 1 to 200.

        Returns:
            Rewound: The checkpoints of a workspace, and what became of the files.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def diff_workspace(
        self,
        workspace: str | WorkspaceRecord,
        path: str | None = None,
        *,
        summary: bool = False,
        max_bytes: int = 20000,
        include_ignored: bool = False,
    ) -> Diff:
        """Show what changed since the baseline, as a patch for `git apply`.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Only below this path. At most 4096 characters.
            summary: File names only.
            max_bytes: Bytes of patch, 200 to 1048576.
            include_ignored: Include ignored and tool-made files.

        Returns:
            Diff: What changed since the baseline.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def create_snapshot(
        self,
        workspace: str | WorkspaceRecord,
        name: str,
    ) -> Snapshot:
        """Save the whole machine's state under a name: files, memory, running processes.

        The machine keeps running. Open connections into it (published ports) and out of it (egress) are
        cut.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            name: Snapshot name; baseline is reserved.

        Returns:
            Snapshot: A named state of the whole machine: files, memory, processes.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The name is taken, or the workspace has the most snapshots it may have.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def list_snapshots(
        self,
        workspace: str | WorkspaceRecord,
    ) -> SnapshotList:
        """List a workspace's snapshots; baseline always exists.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.

        Returns:
            SnapshotList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def delete_snapshot(
        self,
        workspace: str | WorkspaceRecord,
        name: str | Snapshot,
    ) -> SnapshotDeleted:
        """Delete a snapshot. The machine is not affected.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            name: Snapshot name; baseline is reserved. Or the `Snapshot`.

        Returns:
            SnapshotDeleted:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def fork_workspace(
        self,
        workspace: str | WorkspaceRecord,
        count: int = 1,
        *,
        snapshot: str | None | Snapshot = None,
    ) -> Forked:
        """Make independent copies of the machine, running processes included.

        Each copy has its own id, a numbered name, its own history and copies of the secrets; its published ports get
        free ports of this computer. A fork keeps its parent's baseline for diff and reset.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            count: 1 to 16.
            snapshot: Fork from this snapshot instead of now. At most 64 characters. Or the `Snapshot`.

        Returns:
            Forked: Siblings of a workspace, from the same moment.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such snapshot.
            Conflict: The name is taken, or the workspace is stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            EngineError: The machine could not be copied.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def try_workspace(
        self,
        workspace: str | WorkspaceRecord,
        alternatives: list[dict[str, Any]] | None = None,
        *,
        check: str | list[str] | None = None,
        keep: int | None = None,
        timeout_seconds: float = 600,
        wait_seconds: float | None = None,
    ) -> Tried:
        """Try several fixes at once, each in a fork of this moment, and see which passes the check.

        For each: whether it passed, exit status, time, telling lines, size of its diff. The workspace stays as it is,
        unless `keep` says which is to take its place: files, memory and processes, as after the check. One that
        cannot be carried out is refused by name, and the others go on. The forks are always deleted. What passed can
        be kept until the next try or reset.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            alternatives: 1 to 8, each {patch: text} or {commands: [text]}, with a name if you like. Without
                them: the last try.
            check: The command that must succeed, such as the tests.
            keep: 1 to 8: make this one the workspace if it passes; 0: the first that does. Also afterwards,
                alone.
            timeout_seconds: Seconds for all, at most 3600.
            wait_seconds: Seconds to wait, 0 to 3600; then it goes on.

        Returns:
            Tried: Alternatives that were tried side by side, each in a copy of the machine that is gone
            again.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no alternative of that number to keep.
            Conflict: The workspace tries something already, or is stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def stop_workspace(
        self,
        workspace: str | WorkspaceRecord,
    ) -> Workspace:
        """Suspend the machine to disk, processes included; it then uses no memory.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            EngineError: The machine could not be saved; it keeps running.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def start_workspace(
        self,
        workspace: str | WorkspaceRecord,
    ) -> Workspace:
        """Resume a stopped workspace as it was.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            EngineError: The machine could not be restored; it stays stopped.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def list_workspace_disk(
        self,
        workspace: str | WorkspaceRecord,
        path: str = '/workspace',
        *,
        recursive: bool = False,
        limit: int = 200,
    ) -> FileList:
        """List files of a stopped workspace without starting it.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Below /workspace. At most 4096 characters.
            recursive: Include subdirectories.
            limit: 1 to 20000.

        Returns:
            FileList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is not stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def read_workspace_disk(
        self,
        workspace: str | WorkspaceRecord,
        path: str,
        *,
        offset: int | None = None,
        limit: int | None = None,
        byte_offset: int | None = None,
        max_bytes: int = 65536,
    ) -> FileContent:
        """Read a text file of a stopped workspace.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Below /workspace. At most 4096 characters.
            offset: First line, from 1; negative: from the end.
            limit: How many lines.
            byte_offset: First byte; use instead of lines.
            max_bytes: Bytes of content, counted as JSON, at most 1048576; tools default to 10000.

        Returns:
            FileContent: What was read: one file, or several in `files`.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is not stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def export_workspace_disk(
        self,
        workspace: str | WorkspaceRecord,
        path: str,
        *,
        output: str,
        overwrite: bool = False,
    ) -> Exported:
        """Copy a file or tree of a stopped workspace to the user's computer.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Below /workspace. At most 4096 characters.
            output: Destination on the user's computer. At most 4096 characters.
            overwrite: Replace existing files; a backup is kept.

        Returns:
            Exported:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is not stopped, or something stands in the way at `output`.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            HostError: This computer cannot read or write a file: no permission, or no space.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def list_questions(
        self,
        *,
        wait_seconds: float = 0,
        known: list[str] | None = None,
    ) -> QuestionList:
        """List the hosts that workspaces are asking to reach, oldest first.

        With network policy `ask`, a workspace reaches a host only after the user has allowed it. A connection waits
        60 s for the answer; the question stays open for 15 minutes.

        Args:
            wait_seconds: Seconds to wait for a new question, 0 to 300.
            known: Ids of questions you already know. At most 256 entries.

        Returns:
            QuestionList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def answer_question(
        self,
        asked: str,
        *,
        answer: Literal['once', 'workspace', 'project', 'no', 'never'] = 'workspace',
    ) -> QuestionAnswered:
        """Allow or refuse a host that workspaces are asking for. Waiting connections continue at once.

        For example: `pyro allow pypi.org --answer project`. A host answers every question about it; an id answers
        only that question.

        Args:
            asked: A host, or a question's id. At most 253 characters.
            answer: once: for a minute; workspace: until it is deleted; project: always for this project,
                saved in a file; no: not now; never: not for this project. One of once, workspace, project,
                no, never.

        Returns:
            QuestionAnswered:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: No workspace is asking for that.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def list_decisions(
        self,
    ) -> DecisionList:
        """List which hosts you allowed or refused for whole projects.

        Returns:
            DecisionList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def change_decision(
        self,
        host: str,
        *,
        project: str,
        answer: Literal['allow', 'never', 'forget'],
    ) -> DecisionList:
        """Decide about a host for a whole project, or take it back. It holds for connections from now on.

        Args:
            host: An exact name, or *.suffix. At most 253 characters.
            project: The project's directory. At most 4096 characters.
            answer: forget: ask again when it is wanted. One of allow, never, forget.

        Returns:
            DecisionList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: It was not decided.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def inspect_cache(
        self,
    ) -> CacheInfo:
        """Show what is kept of package registries' answers: where, how much, for which hosts, and whether it is on.

        Returns:
            CacheInfo: What is kept of package registries' answers.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def list_cache(
        self,
        *,
        limit: int = 100,
    ) -> CacheList:
        """List the answers of package registries that are kept, those used last first.

        Args:
            limit: At most so many answers, 1 to 10000.

        Returns:
            CacheList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def prune_cache(
        self,
        *,
        keep_gib: float = 0,
    ) -> Pruned:
        """Remove kept answers of package registries, those used longest ago first. Workspaces fetch them again.

        Args:
            keep_gib: GiB, 0 to 65536, of what was used last to keep; 0 removes everything.

        Returns:
            Pruned: What a prune removed.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def configure_cache(
        self,
        *,
        enabled: bool | None = None,
        max_gib: float | None = None,
    ) -> CacheInfo:
        """Turn the cache of package registries on or off, or change how large it may grow. It holds for all workspaces.

        Workspaces that were created while it was off use it only after their network policy was changed.

        Args:
            enabled: Whether registries are cached at all.
            max_gib: GiB that the cache may take, 0.1 to 65536; 0: a tenth of the disk, at most 10.

        Returns:
            CacheInfo: What is kept of package registries' answers.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            HostError: It could not be saved on this computer.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def start_service(
        self,
        workspace: str | WorkspaceRecord,
        name: str,
        command: str | list[str],
        *,
        cwd: str = '/workspace',
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        ready_file: str | None = None,
        ready_tcp: int | None = None,
        ready_http: str | None = None,
        ready_command: str | None = None,
        ready_timeout_seconds: float = 30,
        publish: list[str] | None = None,
        wait_seconds: float = 45.0,
    ) -> Service:
        """Start a long-lived process and wait until it is ready.

        Readiness is a file, a port, an HTTP response or a command. A service that is not ready in time is
        ended and marked `failed`. Published ports need network policy egress+published-ports; they listen on
        127.0.0.1 unless you give ADDRESS:HOST:GUEST, and close with the service.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            name: Service name.
            command: Shell command line, run by bash.
            cwd: Working directory. At most 4096 characters.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            ready_file: Ready when this file exists. At most 4096 characters.
            ready_tcp: Ready when this port, 1 to 65535, accepts connections.
            ready_http: Ready when PORT/path answers with a status below 400.
            ready_command: Ready when this command succeeds. At most 65536 characters.
            ready_timeout_seconds: Seconds it may take to get ready, at most 3600.
            publish: Ports to publish on the user's computer: GUEST (picks a free one) or HOST:GUEST. At
                most 32 entries.
            wait_seconds: Seconds to wait until it is ready, 0 to 50.

        Returns:
            Service: A long-lived process with a name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: A service with this name is running, its port is taken, or the workspace is stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no shell for a command line.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def list_services(
        self,
        workspace: str | WorkspaceRecord,
    ) -> ServiceList:
        """List a workspace's services and their states.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.

        Returns:
            ServiceList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def status_service(
        self,
        workspace: str | WorkspaceRecord,
        name: str | Service,
        *,
        wait_seconds: float = 0,
    ) -> Service:
        """Show a service's state.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            name: Service name. Or the `Service`.
            wait_seconds: Seconds to wait while it starts, 0 to 50.

        Returns:
            Service: A long-lived process with a name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or service.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def logs_service(
        self,
        workspace: str | WorkspaceRecord,
        name: str | Service,
        *,
        tail: int = 200,
        offset: int | None = None,
        grep: str | None = None,
        wait_seconds: float = 0,
        max_output_bytes: int = 10000,
        raw: bool = False,
    ) -> ServiceLogs:
        """Read a service's output.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            name: Service name. Or the `Service`.
            tail: The last lines, 1 to 10000.
            offset: First byte; use instead of the last lines.
            grep: Only lines that match this regex. At most 1000 characters.
            wait_seconds: Seconds to wait for more, 0 to 50.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.

        Returns:
            ServiceLogs:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or service.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def stop_service(
        self,
        workspace: str | WorkspaceRecord,
        name: str | Service,
        *,
        grace_seconds: float = 5,
    ) -> Service:
        """End a service and all its processes.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            name: Service name. Or the `Service`.
            grace_seconds: Seconds from TERM to KILL, 0 to 40.

        Returns:
            Service: A long-lived process with a name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or service.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def open_shell(
        self,
        workspace: str | WorkspaceRecord,
        command: str | list[str] | None = None,
        *,
        cwd: str = '/workspace',
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        rows: int = 30,
        cols: int = 120,
    ) -> Shell:
        """Open a terminal that persists across calls, running an interactive bash or a command.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            command: Shell command line, run by bash.
            cwd: Working directory. At most 4096 characters.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            rows: 1 to 500.
            cols: 1 to 500.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no shell.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def read_shell(
        self,
        workspace: str | WorkspaceRecord,
        shell: str | Shell,
        *,
        cursor: int | None = None,
        plain: bool = False,
        max_bytes: int = 16384,
        wait_for_idle_ms: int = 300,
        wait_for: str | None = None,
        wait_seconds: float = 30,
    ) -> ShellOutput:
        """Read a shell's output.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            shell: From shell_open. At most 64 characters. Or the `Shell`.
            cursor: From the last result; returns only what is new since then.
            plain: As a person sees it: without control sequences, the screen and what scrolled off.
            max_bytes: 200 to 65536.
            wait_for_idle_ms: Wait until nothing is printed for this many ms, 0 to 10000.
            wait_for: Wait until what is new matches this regex. At most 1000 characters.
            wait_seconds: Seconds to wait for wait_for, 0 to 50.

        Returns:
            ShellOutput: What a shell printed from a cursor on, raw or as the screen that a person would
            see.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def write_shell(
        self,
        workspace: str | WorkspaceRecord,
        shell: str | Shell,
        text: str,
        *,
        enter: bool = False,
    ) -> Shell:
        """Type into a shell; then read from the returned cursor.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            shell: From shell_open. At most 64 characters. Or the `Shell`.
            text: Keys, such as ls or \\u0003 for Ctrl-C.
            enter: Press Enter after it.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The shell has ended, or its program is not reading input.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def signal_shell(
        self,
        workspace: str | WorkspaceRecord,
        shell: str | Shell,
        signal: Literal['HUP', 'INT', 'QUIT', 'TERM', 'KILL', 'TSTP', 'CONT'] = 'INT',
    ) -> Shell:
        """Send a signal to a shell's foreground program.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            shell: From shell_open. At most 64 characters. Or the `Shell`.
            signal: Signal for the foreground program. One of HUP, INT, QUIT, TERM, KILL, TSTP, CONT.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The shell has ended.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def resize_shell(
        self,
        workspace: str | WorkspaceRecord,
        shell: str | Shell,
        *,
        rows: int,
        cols: int,
    ) -> Shell:
        """Change a shell's size.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            shell: From shell_open. At most 64 characters. Or the `Shell`.
            rows: 1 to 500.
            cols: 1 to 500.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The shell has ended.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def close_shell(
        self,
        workspace: str | WorkspaceRecord,
        shell: str | Shell,
    ) -> Shell:
        """End a shell and everything running in it.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            shell: From shell_open. At most 64 characters. Or the `Shell`.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def doctor(
        self,
        *,
        fix: bool = False,
    ) -> Doctor:
        """Show which engines work on this computer and why, with components, environments and the daemon.

        An engine counts as working only after it has booted a machine. The verdict is kept until this
        machine restarts.

        Args:
            fix: Fetch what is missing and needs no root.

        Returns:
            Doctor: What `doctor` found. `ok` is true when workspaces can be created.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def list_environments(
        self,
    ) -> EnvironmentList:
        """List the environments and which are installed, and what is kept of projects' set-ups.

        Returns:
            EnvironmentList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def inspect_environment(
        self,
        environment: str | Environment,
    ) -> Environment:
        """Show an environment's origin, its size, and every package with its version.

        Args:
            environment: For example debian:12, or an image: node:22. Or the `Environment`.

        Returns:
            Environment: A root file system by name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such environment.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def pull_environment(
        self,
        environment: str | Environment = 'debian:12',
        *,
        force: bool = False,
    ) -> Environment:
        """Install an environment: built from Debian's signed archive, or an image from a registry or a file.

        Images: `docker.io/library/node:22-bookworm`, `ghcr.io/OWNER/NAME@sha256:…`, `oci:DIR`, `docker-archive:FILE`.
        An image that is already installed is checked again, and what is new is fetched. An interrupted pull
        resumes its download. Two simultaneous pulls of one environment do the work once.

        Args:
            environment: For example debian:12, or an image: node:22. Or the `Environment`.
            force: Rebuild it even if it is installed.

        Returns:
            Environment: A root file system by name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such environment.
            Conflict: Another call is building it right now.
            EngineError: It could not be built.
            Unsupported: The image cannot run here.
            Cancelled: The call was cancelled while it was built.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def build_environment(
        self,
        name: str,
        *,
        context: str,
        file: str | None = None,
        target: str | None = None,
        build_args: dict[str, str] | None = None,
        network_policy: Literal['off', 'egress'] = 'off',
        allow_domains: list[str] | None = None,
        vcpu_count: int = 2,
        mem_mib: int = 2048,
        disk_gib: int = 20,
        again: bool = False,
        overwrite: bool = False,
    ) -> Environment:
        """Build a Dockerfile, and make an environment of the result, for `create NAME`.

        The build runs in a machine of its own, by buildah; RUN has the network that network_policy allows, and no
        more. pyro on this computer fetches the images in FROM: any name of an environment. A .dockerignore
        holds. Layers are kept: the next build of this name does again only what changed.

        Args:
            name: Letters, digits, ._-; at most 64.
            context: The directory that COPY takes from. At most 4096 characters.
            file: Path on the user's computer. At most 4096 characters.
            target: Build only up to this stage. At most 128 characters.
            build_args: Values of the file's ARGs. At most 64 entries.
            network_policy: egress: public hosts only. One of off, egress.
            allow_domains: Egress reaches only these: exact names or *.suffix, optionally with the requests
                allowed, such as :GET (git fetch, no push) or :GET,PUSH/team/app.git. Omitted: every public
                host; empty: no public host. At most 256 entries.
            vcpu_count: 1 to 32.
            mem_mib: MiB, 128 to 65536.
            disk_gib: Disk limit in GiB, 1 to 1024.
            again: Do every step again, whatever is kept.
            overwrite: Replace an environment that was not built so.

        Returns:
            Environment: A root file system by name.

        Raises:
            InvalidInput: The Dockerfile is none, or the context cannot be read.
            HostError: This computer cannot read or write a file: no permission, or no space.
            EngineError: A step failed: `details` has `exit_status`, `step` and the end of its `log`.
            Conflict: The name is taken by something else, or a build of this name is under way.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def suggest_environment(
        self,
        path: str,
    ) -> SuggestedEnvironment:
        """Print a devcontainer.json for a project that has none, from its manifests.

        It reads pyproject.toml, requirements.txt, package.json, go.mod, Cargo.toml, pom.xml, Gemfile and others, and
        lock files beside them. It runs and writes nothing; save the result: `pyro env suggest . > .devcontainer.json`.

        Args:
            path: Path on the user's computer. At most 4096 characters.

        Returns:
            SuggestedEnvironment: A devcontainer.json that a project could have.

        Raises:
            InvalidInput: The path is not a directory.
            HostError: This computer cannot read or write a file: no permission, or no space.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def save_environment(
        self,
        workspace: str | WorkspaceRecord,
        name: str,
        *,
        overwrite: bool = False,
    ) -> Environment:
        """Save a workspace's root file system, with everything installed in it, as an environment.

        /workspace, /tmp and /run are left out, as are the machine's own names and certificates. If a changed file
        contains a secret's value, nothing is saved. Programs keep running; what they write meanwhile may be saved in
        part.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            name: Letters, digits, ._-; at most 64.
            overwrite: Replace a saved environment of this name.

        Returns:
            Environment: A root file system by name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The name is taken, the value of a secret would be saved, or the workspace is stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def export_environment(
        self,
        environment: str | Environment,
        *,
        output: str,
    ) -> EnvironmentExported:
        """Write an installed environment as an OCI image that skopeo, podman, buildah and Docker can load.

        For example: `pyro env export kit --output oci:kit && skopeo copy oci:kit:latest docker-archive:kit.tar:kit:1`.

        Args:
            environment: For example debian:12, or an image: node:22. Or the `Environment`.
            output: oci:DIR, or DIR: a directory that does not exist yet. At most 4096 characters.

        Returns:
            EnvironmentExported: An environment as an image on this computer.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such environment.
            Conflict: Something already exists at that path.
            EngineError: The image could not be written.
            Cancelled: The call was cancelled while it was written.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def remove_environment(
        self,
        environment: str | Environment,
    ) -> Pruned:
        """Remove one environment by its name, or what is kept of a set-up (`prepared:…`).

        Workspaces that stand on it keep it until they are deleted.

        Args:
            environment: For example debian:12, or an image: node:22. Or the `Environment`.

        Returns:
            Pruned: What a prune removed.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such environment.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def prune_environments(
        self,
        *,
        all: bool = False,
        keep_gib: float | None = None,
    ) -> Pruned:
        """Remove environments that no workspace uses: outdated builds, and all of them with `all`.

        With `keep_gib`, what is kept of projects' set-ups and current environments go as well, those used longest ago
        first, until all together take no more on the disk; never one that a workspace stands on.

        Args:
            all: Also remove current environments that no workspace uses.
            keep_gib: Then remove those used longest ago until the rest takes so many GiB, 0 to 65536.

        Returns:
            Pruned: What a prune removed.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def create_workspace(
        self,
        environment: str | None | Environment = None,
        *,
        seed_path: str | None = None,
        name: str | None = None,
        labels: dict[str, str] | None = None,
        user: str | None = None,
        network_policy: Literal['off', 'ask', 'egress', 'egress+published-ports'] = 'off',
        vcpu_count: int | None = None,
        mem_mib: int | None = None,
        disk_gib: int | None = None,
        ttl_seconds: int | None = None,
        lifetime_seconds: int | None = None,
        allow_domains: list[str] | None = None,
        allow_host_ports: list[str] | None = None,
        allow_addresses: list[str] | None = None,
        ssh_hosts: list[str] | None = None,
        secrets: dict[str, str] | None = None,
        secret_files: dict[str, str] | None = None,
        secret_hosts: dict[str, str] | None = None,
        include_ignored: bool = False,
        no_devcontainer: bool = False,
        rebuild: bool = False,
        setup_wait_seconds: float | None = None,
        engine: Literal['auto', 'firecracker', 'gvisor'] = 'auto',
    ) -> Workspace:
        """Create a disposable Linux machine, its /workspace filled from `seed_path`.

        That state is the baseline for diff and reset. A git work tree comes with its history, without ignored files.
        Map secrets into single commands by name (`secret_env`); they are deleted with the workspace.
        Without `environment`, the seed's devcontainer.json sets the image, variables, size and set-up
        commands. It cannot open the network; `devcontainer` lists what was ignored and has the set-up's log.

        Args:
            environment: For example debian:12, or an image: node:22. Default: devcontainer.json's, else
                debian:12. Or the `Environment`.
            seed_path: Directory, git work tree or tar to start from. At most 4096 characters.
            name: Letters, digits, ._-; at most 64.
            labels: Key to value. At most 64 entries.
            user: Owner of the project, as whom commands run: name, uid or uid:gid. Default:
                devcontainer.json's, else the image's, else root. At most 256 characters.
            network_policy: egress: public hosts only; ask: the user approves each. One of off, ask, egress,
                egress+published-ports.
            vcpu_count: 1 to 32; default: 1, or what devcontainer.json requires.
            mem_mib: MiB, 128 to 65536; default: 1024, or what devcontainer.json requires.
            disk_gib: Disk limit in GiB, 1 to 1024; default: 20, or what it requires.
            ttl_seconds: Delete when unused for this many seconds, 10 to 2592000.
            lifetime_seconds: Delete this many seconds after creation, 10 to 31536000.
            allow_domains: Egress reaches only these: exact names or *.suffix, optionally with the requests
                allowed, such as :GET (git fetch, no push) or :GET,PUSH/team/app.git. Omitted: every public
                host; empty: no public host. At most 256 entries.
            allow_host_ports: PORT or PORT:NAME: a loopback port of this computer, reached as
                host.pyro.internal:PORT. At most 64 entries.
            allow_addresses: ADDRESS or ADDRESS:PORT: a host on this computer's network. At most 64 entries.
            ssh_hosts: HOST, USER@HOST, with :PORT: a server where your ssh keys log in, from outside. At
                most 16 entries.
            secrets: Name to value, 4 bytes to 64 KiB; values never appear in output.
            secret_files: Name to the file with the value. At most 64 entries.
            secret_hosts: Name to the only host whose requests get the value; the machine gets a
                placeholder. At most 64 entries.
            include_ignored: Also seed files that .gitignore excludes.
            no_devcontainer: Ignore the seed's devcontainer.json.
            rebuild: Run all of its set-up, and keep that in place of what is kept of it.
            setup_wait_seconds: Seconds to wait for its set-up, 0 to 7200; default: until it ends. The
                set-up continues afterwards.
            engine: auto: firecracker if KVM boots a guest, else gvisor. One of auto, firecracker, gvisor.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such environment.
            EngineError: No machine could be started.
            ComponentMissing: This computer lacks something; `doctor` shows what.
            HostError: This computer cannot read or write a file: no permission, or no space.
            Conflict: The name is taken, or the environment is being built; try again later.
            Unsupported: The requested engine does not work here, or cannot do what was asked.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def list_workspaces(
        self,
        *,
        labels: dict[str, str] | None = None,
    ) -> WorkspaceList:
        """List workspaces, last used first.

        Args:
            labels: Only workspaces with these labels.

        Returns:
            WorkspaceList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def status_workspace(
        self,
        workspace: str | WorkspaceRecord,
    ) -> Workspace:
        """Show a workspace's state and what is running.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def update_workspace(
        self,
        workspace: str | WorkspaceRecord,
        *,
        name: str | None = None,
        clear_name: bool = False,
        labels: dict[str, str] | None = None,
        clear_labels: list[str] | None = None,
        ttl_seconds: int | None = None,
        clear_ttl: bool = False,
        lifetime_seconds: int | None = None,
        clear_lifetime: bool = False,
        network_policy: Literal['off', 'ask', 'egress', 'egress+published-ports'] | None = None,
        allow_domains: list[str] | None = None,
        allow_host_ports: list[str] | None = None,
        allow_addresses: list[str] | None = None,
        ssh_hosts: list[str] | None = None,
    ) -> Workspace:
        """Change name or labels.

        From the command line and Python, also its time limits and its network. That takes effect at once: closing it
        ends open connections. Programs started before it was opened have no proxy variables.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            name: Letters, digits, ._-; at most 64.
            clear_name: Remove the name.
            labels: Labels to set.
            clear_labels: Keys to remove.
            ttl_seconds: Delete when unused for this many seconds, 10 to 2592000.
            clear_ttl: Remove the idle limit.
            lifetime_seconds: Delete this many seconds after creation, 10 to 31536000.
            clear_lifetime: Remove the lifetime limit.
            network_policy: egress: public hosts only; ask: the user approves each. One of off, ask, egress,
                egress+published-ports.
            allow_domains: More hosts that egress may reach. At most 256 entries.
            allow_host_ports: PORT or PORT:NAME: a loopback port of this computer, reached as
                host.pyro.internal:PORT. At most 64 entries.
            allow_addresses: ADDRESS or ADDRESS:PORT: a host on this computer's network. At most 64 entries.
            ssh_hosts: HOST, USER@HOST, with :PORT: a server where your ssh keys log in, from outside. At
                most 16 entries.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The name is taken.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def delete_workspace(
        self,
        workspace: str | WorkspaceRecord,
    ) -> Deleted:
        """Delete a workspace and everything in it.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.

        Returns:
            Deleted: A workspace that is gone.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def reset_workspace(
        self,
        workspace: str | WorkspaceRecord,
        snapshot: str | None | Snapshot = None,
    ) -> Workspace:
        """Put the machine back to its baseline: files, memory, processes.

        With `last`, a fresh machine gets the files as they were at the last checkpoint (see rewind), also where the
        old one is lost; `notes` says what is missing.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            snapshot: Instead of the baseline. last: the files of the last checkpoint. At most 64
                characters. Or the `Snapshot`.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or snapshot.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            EngineError: The machine could not be restored.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def history_workspace(
        self,
        workspace: str | WorkspaceRecord,
        *,
        limit: int = 200,
        after: int | None = None,
        wait_seconds: float = 0,
    ) -> History:
        """Show what was done in a workspace, including network connections: when, by whom, how long, outcome.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            limit: The newest events, 1 to 10000.
            after: Only what started or ended since this cursor from an earlier result.
            wait_seconds: Seconds to wait for an event, 0 to 50.

        Returns:
            History:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def push_workspace_sync(
        self,
        workspace: str | WorkspaceRecord,
        path: str,
        *,
        dest: str = '/workspace',
        include_ignored: bool = False,
    ) -> Synced:
        """Copy a file or tree from the user's computer in, all or nothing.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Path on the user's computer. At most 4096 characters.
            dest: Below /workspace. At most 4096 characters.
            include_ignored: Also copy files that .gitignore excludes.

        Returns:
            Synced:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: A directory is in the way, or the workspace is stopped. Nothing was changed.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            HostError: This computer cannot read or write a file: no permission, or no space.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def export_workspace(
        self,
        workspace: str | WorkspaceRecord,
        path: str | None = None,
        *,
        output: str,
        patch: bool = False,
        overwrite: bool = False,
        include_git: bool = False,
        include_ignored: bool = False,
    ) -> Exported:
        """Copy a file, a tree or the diff to the user's computer. An existing directory receives it.

        Nothing is ever removed. Files are replaced only with `overwrite`, and kept in a backup that the result names. A
        directory never replaces a file, nor a file a directory. Files that git tracks in the user's project are not
        replaced: use `land` for these. Git repositories are left out, because their settings and hooks could run
        programs here. Ignored and tool-made files (node_modules, a venv) in a directory are left out and counted,
        unless you export that directory itself.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Path in the workspace; omit with `patch`. At most 4096 characters.
            output: Destination on the user's computer. At most 4096 characters.
            patch: Export the diff as a patch instead.
            overwrite: Replace existing files; a backup is kept.
            include_git: Also .git, without hooks and most settings.
            include_ignored: Include ignored and tool-made files.

        Returns:
            Exported:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: Something stands in the way at `output`, or the workspace is stopped. Nothing was
                changed.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            HostError: This computer cannot read or write a file: no permission, or no space.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def land_workspace(
        self,
        workspace: str | WorkspaceRecord,
        branch: str,
        *,
        repo: str | None = None,
        message: str | None = None,
        include_ignored: bool = False,
    ) -> Landed:
        """Commit the workspace's changes to a branch of the git repository it was seeded from.

        Your work tree and index are not touched. Changes are merged three-way; on a conflict nothing is
        changed. An existing branch is first saved under a backup ref, and the command that undoes it is printed.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            branch: Branch to commit on; created if missing.
            repo: The git repository; default: the one it was seeded from. At most 4096 characters.
            message: Commit message. At most 65536 characters.
            include_ignored: Include ignored and tool-made files.

        Returns:
            Landed: A workspace's changes as a commit of the user's repository.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The branch cannot be moved, or the value of a secret would be committed. Nothing was
                changed.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            HostError: This computer cannot read or write a file: no permission, or no space.
            ComponentMissing: git is not on this computer.
            EngineError: git failed; the message says how.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def stream_exec_workspace(
        self,
        workspace: str | WorkspaceRecord,
        command: str | list[str],
        *,
        cwd: str | None = None,
        session: str | None = None,
        background: bool = False,
        until: str | None = None,
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        stdin: str | None = None,
        timeout_seconds: float | None = None,
        max_output_bytes: int = 10000,
        raw: bool = False,
    ) -> ExecStream:
        """Run a command and iterate over its output while it runs, however long it takes.

        Iterate over what comes back, which gives `Output` pieces; `result` is the command's outcome then.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            command: Shell command line, run by bash.
            cwd: Default: /workspace, or the session's directory. At most 4096 characters.
            session: Any name; cd, export and functions persist across calls with the same name.
            background: Return a handle at once and let it run: servers, watchers.
            until: Wait only until this is ready: a port (8000), http://localhost:8000/path, file:PATH, or a
                regex in its output.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            stdin: Standard input, at most 1 MiB.
            timeout_seconds: Timeout in seconds, at most 86400. Default: 1800; in the background, 86400.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.

        Returns:
            The stream.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no bash, and the call needs one: a session, or a command line for
                it.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def workspace(
        self,
        environment: str | None | Environment = None,
        *,
        seed_path: str | None = None,
        name: str | None = None,
        labels: dict[str, str] | None = None,
        user: str | None = None,
        network_policy: Literal['off', 'ask', 'egress', 'egress+published-ports'] = 'off',
        vcpu_count: int | None = None,
        mem_mib: int | None = None,
        disk_gib: int | None = None,
        ttl_seconds: int | None = None,
        lifetime_seconds: int | None = None,
        allow_domains: list[str] | None = None,
        allow_host_ports: list[str] | None = None,
        allow_addresses: list[str] | None = None,
        ssh_hosts: list[str] | None = None,
        secrets: dict[str, str] | None = None,
        secret_files: dict[str, str] | None = None,
        secret_hosts: dict[str, str] | None = None,
        include_ignored: bool = False,
        no_devcontainer: bool = False,
        rebuild: bool = False,
        setup_wait_seconds: float | None = None,
        engine: Literal['auto', 'firecracker', 'gvisor'] = 'auto',
    ) -> AbstractContextManager[Workspace]:
        """`create_workspace` as a context manager: the workspace is deleted on exit, whatever happened inside.

        Args:
            environment: For example debian:12, or an image: node:22. Default: devcontainer.json's, else
                debian:12. Or the `Environment`.
            seed_path: Directory, git work tree or tar to start from. At most 4096 characters.
            name: Letters, digits, ._-; at most 64.
            labels: Key to value. At most 64 entries.
            user: Owner of the project, as whom commands run: name, uid or uid:gid. Default:
                devcontainer.json's, else the image's, else root. At most 256 characters.
            network_policy: egress: public hosts only; ask: the user approves each. One of off, ask, egress,
                egress+published-ports.
            vcpu_count: 1 to 32; default: 1, or what devcontainer.json requires.
            mem_mib: MiB, 128 to 65536; default: 1024, or what devcontainer.json requires.
            disk_gib: Disk limit in GiB, 1 to 1024; default: 20, or what it requires.
            ttl_seconds: Delete when unused for this many seconds, 10 to 2592000.
            lifetime_seconds: Delete this many seconds after creation, 10 to 31536000.
            allow_domains: Egress reaches only these: exact names or *.suffix, optionally with the requests
                allowed, such as :GET (git fetch, no push) or :GET,PUSH/team/app.git. Omitted: every public
                host; empty: no public host. At most 256 entries.
            allow_host_ports: PORT or PORT:NAME: a loopback port of this computer, reached as
                host.pyro.internal:PORT. At most 64 entries.
            allow_addresses: ADDRESS or ADDRESS:PORT: a host on this computer's network. At most 64 entries.
            ssh_hosts: HOST, USER@HOST, with :PORT: a server where your ssh keys log in, from outside. At
                most 16 entries.
            secrets: Name to value, 4 bytes to 64 KiB; values never appear in output.
            secret_files: Name to the file with the value. At most 64 entries.
            secret_hosts: Name to the only host whose requests get the value; the machine gets a
                placeholder. At most 64 entries.
            include_ignored: Also seed files that .gitignore excludes.
            no_devcontainer: Ignore the seed's devcontainer.json.
            rebuild: Run all of its set-up, and keep that in place of what is kept of it.
            setup_wait_seconds: Seconds to wait for its set-up, 0 to 7200; default: until it ends. The
                set-up continues afterwards.
            engine: auto: firecracker if KVM boots a guest, else gvisor. One of auto, firecracker, gvisor.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such environment.
            EngineError: No machine could be started.
            ComponentMissing: This computer lacks something; `doctor` shows what.
            HostError: This computer cannot read or write a file: no permission, or no space.
            Conflict: The name is taken, or the environment is being built; try again later.
            Unsupported: The requested engine does not work here, or cannot do what was asked.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

class WorkspaceMethods:
    """Every operation on a workspace."""

    def note(
        self,
        text: str,
        *,
        path: str | None = None,
        line: int | None = None,
    ) -> Noted:
        """Tell the agent that works in a workspace something: its next tool call says it as your note.

        For example: `pyro note fix-add "use a set here" --path calc.py --line 12`. Only an agent over MCP gets it.

        Args:
            text: What to tell it. At most 8192 characters.
            path: The file that it is about. At most 4096 characters.
            line: The line of it, from 1.

        Returns:
            Noted: A note that waits for the agent.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: So many notes wait already that the agent has not been told.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def exec(
        self,
        command: str | list[str],
        *,
        cwd: str | None = None,
        session: str | None = None,
        background: bool = False,
        until: str | None = None,
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        stdin: str | None = None,
        stdin_open: bool = False,
        timeout_seconds: float | None = None,
        wait_seconds: float = 30.0,
        max_output_bytes: int = 10000,
        raw: bool = False,
    ) -> ExecResult:
        """Run a command, as root unless the image, devcontainer.json or `user` says otherwise.
        If it outlives `wait_seconds`, it keeps running: status `running`, and a handle for logs and cancel.

        Args:
            command: Shell command line, run by bash.
            cwd: Default: /workspace, or the session's directory. At most 4096 characters.
            session: Any name; cd, export and functions persist across calls with the same name.
            background: Return a handle at once and let it run: servers, watchers.
            until: Wait only until this is ready: a port (8000), http://localhost:8000/path, file:PATH, or a
                regex in its output.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            stdin: Standard input, at most 1 MiB.
            stdin_open: Keep standard input open, to be fed piece by piece.
            timeout_seconds: Timeout in seconds, at most 86400. Default: 1800; in the background, 86400.
            wait_seconds: Seconds to wait for its end, 0 to 50.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.

        Returns:
            ExecResult: One command's outcome, or its state so far when it still runs.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no bash, and the call needs one: a session, or a command line for
                it.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def feed(
        self,
        handle: str | ExecResult | CommandRecord | Service,
        *,
        data: str = '',
        end: bool = False,
    ) -> CommandRecord:
        """Give a running command a piece of its standard input.

        The command must have been started with `stdin_open`. Waits at most 30 s for it to read earlier input.
        Its input is closed after 90 s without a call.

        Args:
            handle: The command's handle. At most 64 characters. Or its `ExecResult`, `CommandRecord` or
                `Service`.
            data: Base64, at most 1 MiB.
            end: This is the last piece.

        Returns:
            CommandRecord: A past or running command of a workspace.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such handle.
            Conflict: The command does not take input, or has not read what it was sent for 30 s.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def cancel(
        self,
        handle: str | ExecResult | CommandRecord | Service,
    ) -> CommandRecord:
        """End a running command: INT (as Ctrl-C does), then TERM, then KILL, 2 s apart.

        Args:
            handle: The command's handle. At most 64 characters. Or its `ExecResult`, `CommandRecord` or
                `Service`.

        Returns:
            CommandRecord: A past or running command of a workspace.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such handle.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def logs(
        self,
        handle: str | None | ExecResult | CommandRecord | Service = None,
        *,
        offset: int | None = None,
        wait_seconds: float = 0,
        until: str | None = None,
        grep: str | None = None,
        max_output_bytes: int = 10000,
        raw: bool = False,
        limit: int = 20,
    ) -> Logs:
        """List commands, or read the output of one by `handle`.

        Args:
            handle: One command's handle. At most 64 characters. Or its `ExecResult`, `CommandRecord` or
                `Service`.
            offset: First byte; negative: from the end.
            wait_seconds: Seconds to wait for its end, 0 to 50.
            until: Wait only until this is ready: a port (8000), http://localhost:8000/path, file:PATH, or a
                regex in its output.
            grep: Only lines that match this regex. At most 1000 characters.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.
            limit: Commands to list, 1 to 1000.

        Returns:
            Logs: A workspace's commands, and the output of one of them from an offset on.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such handle.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def list_files(
        self,
        path: str = '/workspace',
        *,
        recursive: bool = False,
        limit: int = 200,
    ) -> FileList:
        """List a directory.

        Args:
            path: Below /workspace. At most 4096 characters.
            recursive: Include subdirectories.
            limit: 1 to 20000.

        Returns:
            FileList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def read(
        self,
        path: str | None = None,
        *,
        paths: list[str] | None = None,
        offset: int | None = None,
        limit: int | None = None,
        number_lines: bool = False,
        grep: str | None = None,
        byte_offset: int | None = None,
        encoding: str | None = None,
        max_bytes: int = 65536,
    ) -> FileContent:
        """Read text files or parts of them. Lists a directory; shows a picture.

        Args:
            path: Below /workspace. At most 4096 characters.
            paths: Several files in one call, at most 20.
            offset: First line, from 1; negative: from the end.
            limit: How many lines.
            number_lines: Number the lines, as `cat -n` does.
            grep: Only lines that match this regex, as number:line. At most 1000 characters.
            byte_offset: First byte; use instead of lines.
            encoding: If not UTF-8, for example windows-1252.
            max_bytes: Bytes of content, counted as JSON, at most 1048576; tools default to 10000.

        Returns:
            FileContent: What was read: one file, or several in `files`.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def search(
        self,
        pattern: str | None = None,
        *,
        path: str = '/workspace',
        glob: list[str] | None = None,
        literal: bool = False,
        ignore_case: bool = False,
        context: int = 0,
        files_only: bool = False,
        include_ignored: bool = False,
        limit: int = 100,
        max_bytes: int = 10000,
    ) -> SearchResult:
        """Search file contents, or find files by name.

        Args:
            pattern: Regular expression (RE2) for a line. Omit to find files by name.
            path: Only below this path. At most 4096 characters.
            glob: Only files like *.py or src/**; !docs excludes. At most 64 entries.
            literal: The pattern is plain text.
            ignore_case: Ignore case.
            context: Lines around each match, 0 to 20.
            files_only: List only files, with counts.
            include_ignored: Also search ignored files and node_modules.
            limit: Matches or files to return, 1 to 10000.
            max_bytes: Bytes of content, 200 to 1048576.

        Returns:
            SearchResult: Lines or files that were found, as text: `path:line:text`, with `path-line-text`
            for lines of context.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or directory.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            GuestError: The search could not be carried out; the message says why.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def write(
        self,
        path: str,
        text: str,
        *,
        executable: bool | None = None,
        encoding: str | None = None,
    ) -> FileWritten:
        """Write a whole text file, creating its directories.

        Args:
            path: Below /workspace. At most 4096 characters.
            text: At most 1 MiB.
            executable: Default: unchanged.
            encoding: If not UTF-8, for example windows-1252.

        Returns:
            FileWritten:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def edit(
        self,
        path: str,
        old_string: str | None = None,
        new_string: str | None = None,
        *,
        replace_all: bool = False,
        edits: list[dict[str, Any]] | None = None,
    ) -> FileEdited:
        """Replace exact text in a file. Whitespace counts; include enough lines to be unique.

        Args:
            path: Below /workspace. At most 4096 characters.
            old_string: Exact text, once in the file; empty creates a new file. At most 1048576 characters.
            new_string: What replaces it. At most 1048576 characters.
            replace_all: Replace every occurrence.
            edits: Instead: several edits in order, all or none: [{old_string, new_string, replace_all}]. At
                most 200 entries.

        Returns:
            FileEdited:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            PatchMismatch: The text is not in the file, or occurs more than once. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def apply_patch(
        self,
        patch: str,
    ) -> PatchApplied:
        """Apply a patch, all or nothing: create, modify, delete, rename.

        Args:
            patch: Unified diff or `*** Begin Patch`, at most 1 MiB; @@ may name the function.

        Returns:
            PatchApplied:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            PatchMismatch: The patch does not fit; the message says where. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def rewind(
        self,
        to: int | None = None,
        *,
        limit: int = 20,
    ) -> Rewound:
        """Undo: put files back as they were after an earlier command or edit, or list these checkpoints.

        Checkpoints are made automatically: at most 200, 256 MiB, 7 days. A reset keeps them. Processes and memory are
        untouched, and so are files over 8 MiB, .git and tool-made files (node_modules). Undo a rewind with another.

        Args:
            to: Checkpoint number, 0 to 1000000. Omit to list them.
            limit: Checkpoints to list, 1 to 200.

        Returns:
            Rewound: The checkpoints of a workspace, and what became of the files.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def diff(
        self,
        path: str | None = None,
        *,
        summary: bool = False,
        max_bytes: int = 20000,
        include_ignored: bool = False,
    ) -> Diff:
        """Show what changed since the baseline, as a patch for `git apply`.

        Args:
            path: Only below this path. At most 4096 characters.
            summary: File names only.
            max_bytes: Bytes of patch, 200 to 1048576.
            include_ignored: Include ignored and tool-made files.

        Returns:
            Diff: What changed since the baseline.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def snapshot(
        self,
        name: str,
    ) -> Snapshot:
        """Save the whole machine's state under a name: files, memory, running processes.

        The machine keeps running. Open connections into it (published ports) and out of it (egress) are
        cut.

        Args:
            name: Snapshot name; baseline is reserved.

        Returns:
            Snapshot: A named state of the whole machine: files, memory, processes.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The name is taken, or the workspace has the most snapshots it may have.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def list_snapshots(
        self,
    ) -> SnapshotList:
        """List a workspace's snapshots; baseline always exists.

        Returns:
            SnapshotList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def delete_snapshot(
        self,
        name: str | Snapshot,
    ) -> SnapshotDeleted:
        """Delete a snapshot. The machine is not affected.

        Args:
            name: Snapshot name; baseline is reserved. Or the `Snapshot`.

        Returns:
            SnapshotDeleted:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def fork(
        self,
        count: int = 1,
        *,
        snapshot: str | None | Snapshot = None,
    ) -> Forked:
        """Make independent copies of the machine, running processes included.

        Each copy has its own id, a numbered name, its own history and copies of the secrets; its published ports get
        free ports of this computer. A fork keeps its parent's baseline for diff and reset.

        Args:
            count: 1 to 16.
            snapshot: Fork from this snapshot instead of now. At most 64 characters. Or the `Snapshot`.

        Returns:
            Forked: Siblings of a workspace, from the same moment.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such snapshot.
            Conflict: The name is taken, or the workspace is stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            EngineError: The machine could not be copied.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def try_alternatives(
        self,
        alternatives: list[dict[str, Any]] | None = None,
        *,
        check: str | list[str] | None = None,
        keep: int | None = None,
        timeout_seconds: float = 600,
        wait_seconds: float | None = None,
    ) -> Tried:
        """Try several fixes at once, each in a fork of this moment, and see which passes the check.

        For each: whether it passed, exit status, time, telling lines, size of its diff. The workspace stays as it is,
        unless `keep` says which is to take its place: files, memory and processes, as after the check. One that
        cannot be carried out is refused by name, and the others go on. The forks are always deleted. What passed can
        be kept until the next try or reset.

        Args:
            alternatives: 1 to 8, each {patch: text} or {commands: [text]}, with a name if you like. Without
                them: the last try.
            check: The command that must succeed, such as the tests.
            keep: 1 to 8: make this one the workspace if it passes; 0: the first that does. Also afterwards,
                alone.
            timeout_seconds: Seconds for all, at most 3600.
            wait_seconds: Seconds to wait, 0 to 3600; then it goes on.

        Returns:
            Tried: Alternatives that were tried side by side, each in a copy of the machine that is gone
            again.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no alternative of that number to keep.
            Conflict: The workspace tries something already, or is stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def stop(
        self,
    ) -> Workspace:
        """Suspend the machine to disk, processes included; it then uses no memory.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            EngineError: The machine could not be saved; it keeps running.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def start(
        self,
    ) -> Workspace:
        """Resume a stopped workspace as it was.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            EngineError: The machine could not be restored; it stays stopped.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def list_disk(
        self,
        path: str = '/workspace',
        *,
        recursive: bool = False,
        limit: int = 200,
    ) -> FileList:
        """List files of a stopped workspace without starting it.

        Args:
            path: Below /workspace. At most 4096 characters.
            recursive: Include subdirectories.
            limit: 1 to 20000.

        Returns:
            FileList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is not stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def read_disk(
        self,
        path: str,
        *,
        offset: int | None = None,
        limit: int | None = None,
        byte_offset: int | None = None,
        max_bytes: int = 65536,
    ) -> FileContent:
        """Read a text file of a stopped workspace.

        Args:
            path: Below /workspace. At most 4096 characters.
            offset: First line, from 1; negative: from the end.
            limit: How many lines.
            byte_offset: First byte; use instead of lines.
            max_bytes: Bytes of content, counted as JSON, at most 1048576; tools default to 10000.

        Returns:
            FileContent: What was read: one file, or several in `files`.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is not stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def export_disk(
        self,
        path: str,
        *,
        output: str,
        overwrite: bool = False,
    ) -> Exported:
        """Copy a file or tree of a stopped workspace to the user's computer.

        Args:
            path: Below /workspace. At most 4096 characters.
            output: Destination on the user's computer. At most 4096 characters.
            overwrite: Replace existing files; a backup is kept.

        Returns:
            Exported:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is not stopped, or something stands in the way at `output`.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            HostError: This computer cannot read or write a file: no permission, or no space.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def start_service(
        self,
        name: str,
        command: str | list[str],
        *,
        cwd: str = '/workspace',
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        ready_file: str | None = None,
        ready_tcp: int | None = None,
        ready_http: str | None = None,
        ready_command: str | None = None,
        ready_timeout_seconds: float = 30,
        publish: list[str] | None = None,
        wait_seconds: float = 45.0,
    ) -> Service:
        """Start a long-lived process and wait until it is ready.

        Readiness is a file, a port, an HTTP response or a command. A service that is not ready in time is
        ended and marked `failed`. Published ports need network policy egress+published-ports; they listen on
        127.0.0.1 unless you give ADDRESS:HOST:GUEST, and close with the service.

        Args:
            name: Service name.
            command: Shell command line, run by bash.
            cwd: Working directory. At most 4096 characters.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            ready_file: Ready when this file exists. At most 4096 characters.
            ready_tcp: Ready when this port, 1 to 65535, accepts connections.
            ready_http: Ready when PORT/path answers with a status below 400.
            ready_command: Ready when this command succeeds. At most 65536 characters.
            ready_timeout_seconds: Seconds it may take to get ready, at most 3600.
            publish: Ports to publish on the user's computer: GUEST (picks a free one) or HOST:GUEST. At
                most 32 entries.
            wait_seconds: Seconds to wait until it is ready, 0 to 50.

        Returns:
            Service: A long-lived process with a name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: A service with this name is running, its port is taken, or the workspace is stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no shell for a command line.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def list_services(
        self,
    ) -> ServiceList:
        """List a workspace's services and their states.

        Returns:
            ServiceList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def status_service(
        self,
        name: str | Service,
        *,
        wait_seconds: float = 0,
    ) -> Service:
        """Show a service's state.

        Args:
            name: Service name. Or the `Service`.
            wait_seconds: Seconds to wait while it starts, 0 to 50.

        Returns:
            Service: A long-lived process with a name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or service.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def logs_service(
        self,
        name: str | Service,
        *,
        tail: int = 200,
        offset: int | None = None,
        grep: str | None = None,
        wait_seconds: float = 0,
        max_output_bytes: int = 10000,
        raw: bool = False,
    ) -> ServiceLogs:
        """Read a service's output.

        Args:
            name: Service name. Or the `Service`.
            tail: The last lines, 1 to 10000.
            offset: First byte; use instead of the last lines.
            grep: Only lines that match this regex. At most 1000 characters.
            wait_seconds: Seconds to wait for more, 0 to 50.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.

        Returns:
            ServiceLogs:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or service.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def stop_service(
        self,
        name: str | Service,
        *,
        grace_seconds: float = 5,
    ) -> Service:
        """End a service and all its processes.

        Args:
            name: Service name. Or the `Service`.
            grace_seconds: Seconds from TERM to KILL, 0 to 40.

        Returns:
            Service: A long-lived process with a name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or service.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def open_shell(
        self,
        command: str | list[str] | None = None,
        *,
        cwd: str = '/workspace',
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        rows: int = 30,
        cols: int = 120,
    ) -> Shell:
        """Open a terminal that persists across calls, running an interactive bash or a command.

        Args:
            command: Shell command line, run by bash.
            cwd: Working directory. At most 4096 characters.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            rows: 1 to 500.
            cols: 1 to 500.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no shell.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def read_shell(
        self,
        shell: str | Shell,
        *,
        cursor: int | None = None,
        plain: bool = False,
        max_bytes: int = 16384,
        wait_for_idle_ms: int = 300,
        wait_for: str | None = None,
        wait_seconds: float = 30,
    ) -> ShellOutput:
        """Read a shell's output.

        Args:
            shell: From shell_open. At most 64 characters. Or the `Shell`.
            cursor: From the last result; returns only what is new since then.
            plain: As a person sees it: without control sequences, the screen and what scrolled off.
            max_bytes: 200 to 65536.
            wait_for_idle_ms: Wait until nothing is printed for this many ms, 0 to 10000.
            wait_for: Wait until what is new matches this regex. At most 1000 characters.
            wait_seconds: Seconds to wait for wait_for, 0 to 50.

        Returns:
            ShellOutput: What a shell printed from a cursor on, raw or as the screen that a person would
            see.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def write_shell(
        self,
        shell: str | Shell,
        text: str,
        *,
        enter: bool = False,
    ) -> Shell:
        """Type into a shell; then read from the returned cursor.

        Args:
            shell: From shell_open. At most 64 characters. Or the `Shell`.
            text: Keys, such as ls or \\u0003 for Ctrl-C.
            enter: Press Enter after it.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The shell has ended, or its program is not reading input.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def signal_shell(
        self,
        shell: str | Shell,
        signal: Literal['HUP', 'INT', 'QUIT', 'TERM', 'KILL', 'TSTP', 'CONT'] = 'INT',
    ) -> Shell:
        """Send a signal to a shell's foreground program.

        Args:
            shell: From shell_open. At most 64 characters. Or the `Shell`.
            signal: Signal for the foreground program. One of HUP, INT, QUIT, TERM, KILL, TSTP, CONT.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The shell has ended.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def resize_shell(
        self,
        shell: str | Shell,
        *,
        rows: int,
        cols: int,
    ) -> Shell:
        """Change a shell's size.

        Args:
            shell: From shell_open. At most 64 characters. Or the `Shell`.
            rows: 1 to 500.
            cols: 1 to 500.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The shell has ended.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def close_shell(
        self,
        shell: str | Shell,
    ) -> Shell:
        """End a shell and everything running in it.

        Args:
            shell: From shell_open. At most 64 characters. Or the `Shell`.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def save_environment(
        self,
        name: str,
        *,
        overwrite: bool = False,
    ) -> Environment:
        """Save a workspace's root file system, with everything installed in it, as an environment.

        /workspace, /tmp and /run are left out, as are the machine's own names and certificates. If a changed file
        contains a secret's value, nothing is saved. Programs keep running; what they write meanwhile may be saved in
        part.

        Args:
            name: Letters, digits, ._-; at most 64.
            overwrite: Replace a saved environment of this name.

        Returns:
            Environment: A root file system by name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The name is taken, the value of a secret would be saved, or the workspace is stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def status(
        self,
    ) -> Workspace:
        """Show a workspace's state and what is running.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def update(
        self,
        *,
        name: str | None = None,
        clear_name: bool = False,
        labels: dict[str, str] | None = None,
        clear_labels: list[str] | None = None,
        ttl_seconds: int | None = None,
        clear_ttl: bool = False,
        lifetime_seconds: int | None = None,
        clear_lifetime: bool = False,
        network_policy: Literal['off', 'ask', 'egress', 'egress+published-ports'] | None = None,
        allow_domains: list[str] | None = None,
        allow_host_ports: list[str] | None = None,
        allow_addresses: list[str] | None = None,
        ssh_hosts: list[str] | None = None,
    ) -> Workspace:
        """Change name or labels.

        From the command line and Python, also its time limits and its network. That takes effect at once: closing it
        ends open connections. Programs started before it was opened have no proxy variables.

        Args:
            name: Letters, digits, ._-; at most 64.
            clear_name: Remove the name.
            labels: Labels to set.
            clear_labels: Keys to remove.
            ttl_seconds: Delete when unused for this many seconds, 10 to 2592000.
            clear_ttl: Remove the idle limit.
            lifetime_seconds: Delete this many seconds after creation, 10 to 31536000.
            clear_lifetime: Remove the lifetime limit.
            network_policy: egress: public hosts only; ask: the user approves each. One of off, ask, egress,
                egress+published-ports.
            allow_domains: More hosts that egress may reach. At most 256 entries.
            allow_host_ports: PORT or PORT:NAME: a loopback port of this computer, reached as
                host.pyro.internal:PORT. At most 64 entries.
            allow_addresses: ADDRESS or ADDRESS:PORT: a host on this computer's network. At most 64 entries.
            ssh_hosts: HOST, USER@HOST, with :PORT: a server where your ssh keys log in, from outside. At
                most 16 entries.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The name is taken.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def delete(
        self,
    ) -> Deleted:
        """Delete a workspace and everything in it.

        Returns:
            Deleted: A workspace that is gone.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def reset(
        self,
        snapshot: str | None | Snapshot = None,
    ) -> Workspace:
        """Put the machine back to its baseline: files, memory, processes.

        With `last`, a fresh machine gets the files as they were at the last checkpoint (see rewind), also where the
        old one is lost; `notes` says what is missing.

        Args:
            snapshot: Instead of the baseline. last: the files of the last checkpoint. At most 64
                characters. Or the `Snapshot`.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or snapshot.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            EngineError: The machine could not be restored.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def history(
        self,
        *,
        limit: int = 200,
        after: int | None = None,
        wait_seconds: float = 0,
    ) -> History:
        """Show what was done in a workspace, including network connections: when, by whom, how long, outcome.

        Args:
            limit: The newest events, 1 to 10000.
            after: Only what started or ended since this cursor from an earlier result.
            wait_seconds: Seconds to wait for an event, 0 to 50.

        Returns:
            History:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def push(
        self,
        path: str,
        *,
        dest: str = '/workspace',
        include_ignored: bool = False,
    ) -> Synced:
        """Copy a file or tree from the user's computer in, all or nothing.

        Args:
            path: Path on the user's computer. At most 4096 characters.
            dest: Below /workspace. At most 4096 characters.
            include_ignored: Also copy files that .gitignore excludes.

        Returns:
            Synced:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: A directory is in the way, or the workspace is stopped. Nothing was changed.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            HostError: This computer cannot read or write a file: no permission, or no space.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def export(
        self,
        path: str | None = None,
        *,
        output: str,
        patch: bool = False,
        overwrite: bool = False,
        include_git: bool = False,
        include_ignored: bool = False,
    ) -> Exported:
        """Copy a file, a tree or the diff to the user's computer. An existing directory receives it.

        Nothing is ever removed. Files are replaced only with `overwrite`, and kept in a backup that the result names. A
        directory never replaces a file, nor a file a directory. Files that git tracks in the user's project are not
        replaced: use `land` for these. Git repositories are left out, because their settings and hooks could run
        programs here. Ignored and tool-made files (node_modules, a venv) in a directory are left out and counted,
        unless you export that directory itself.

        Args:
            path: Path in the workspace; omit with `patch`. At most 4096 characters.
            output: Destination on the user's computer. At most 4096 characters.
            patch: Export the diff as a patch instead.
            overwrite: Replace existing files; a backup is kept.
            include_git: Also .git, without hooks and most settings.
            include_ignored: Include ignored and tool-made files.

        Returns:
            Exported:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: Something stands in the way at `output`, or the workspace is stopped. Nothing was
                changed.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            HostError: This computer cannot read or write a file: no permission, or no space.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def land(
        self,
        branch: str,
        *,
        repo: str | None = None,
        message: str | None = None,
        include_ignored: bool = False,
    ) -> Landed:
        """Commit the workspace's changes to a branch of the git repository it was seeded from.

        Your work tree and index are not touched. Changes are merged three-way; on a conflict nothing is
        changed. An existing branch is first saved under a backup ref, and the command that undoes it is printed.

        Args:
            branch: Branch to commit on; created if missing.
            repo: The git repository; default: the one it was seeded from. At most 4096 characters.
            message: Commit message. At most 65536 characters.
            include_ignored: Include ignored and tool-made files.

        Returns:
            Landed: A workspace's changes as a commit of the user's repository.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The branch cannot be moved, or the value of a secret would be committed. Nothing was
                changed.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            HostError: This computer cannot read or write a file: no permission, or no space.
            ComponentMissing: git is not on this computer.
            EngineError: git failed; the message says how.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def stream(
        self,
        command: str | list[str],
        *,
        cwd: str | None = None,
        session: str | None = None,
        background: bool = False,
        until: str | None = None,
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        stdin: str | None = None,
        timeout_seconds: float | None = None,
        max_output_bytes: int = 10000,
        raw: bool = False,
    ) -> ExecStream:
        """Run a command and iterate over its output while it runs, however long it takes.

        Iterate over what comes back, which gives `Output` pieces; `result` is the command's outcome then.

        Args:
            command: Shell command line, run by bash.
            cwd: Default: /workspace, or the session's directory. At most 4096 characters.
            session: Any name; cd, export and functions persist across calls with the same name.
            background: Return a handle at once and let it run: servers, watchers.
            until: Wait only until this is ready: a port (8000), http://localhost:8000/path, file:PATH, or a
                regex in its output.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            stdin: Standard input, at most 1 MiB.
            timeout_seconds: Timeout in seconds, at most 86400. Default: 1800; in the background, 86400.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.

        Returns:
            The stream.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no bash, and the call needs one: a session, or a command line for
                it.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def run(
        self,
        command: str | list[str],
        *,
        cwd: str | None = None,
        session: str | None = None,
        background: bool = False,
        until: str | None = None,
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        stdin: str | None = None,
        timeout_seconds: float | None = None,
        max_output_bytes: int = 10000,
        raw: bool = False,
    ) -> ExecResult:
        """Run a command to its end, however long it takes.

        `exec` waits a while and gives a handle to a command that outlives the wait; this waits on.

        Args:
            command: Shell command line, run by bash.
            cwd: Default: /workspace, or the session's directory. At most 4096 characters.
            session: Any name; cd, export and functions persist across calls with the same name.
            background: Return a handle at once and let it run: servers, watchers.
            until: Wait only until this is ready: a port (8000), http://localhost:8000/path, file:PATH, or a
                regex in its output.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            stdin: Standard input, at most 1 MiB.
            timeout_seconds: Timeout in seconds, at most 86400. Default: 1800; in the background, 86400.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.

        Returns:
            ExecResult: One command's outcome, or its state so far when it still runs.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no bash, and the call needs one: a session, or a command line for
                it.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

class AsyncPyroMethods:
    """Every operation by its name."""

    async def follow_activity(
        self,
        *,
        after: str | None = None,
        wait_seconds: float = 0,
        limit: int = 50,
    ) -> Activity:
        """Show what goes on in all workspaces: what runs, its last line, what was done, what is asked.

        Without `after`, all workspaces and the newest events; with it, what changed since. It leaves no trace in any
        history and keeps no workspace in use. A cursor of an earlier daemon gives everything again.

        Args:
            after: Only what changed since: the cursor of an earlier answer. At most 64 characters.
            wait_seconds: Seconds to wait until something changes, 0 to 50.
            limit: The newest events, 0 to 1000.

        Returns:
            Activity: What changed since a moment, over all workspaces.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def note_workspace(
        self,
        workspace: str | WorkspaceRecord,
        text: str,
        *,
        path: str | None = None,
        line: int | None = None,
    ) -> Noted:
        """Tell the agent that works in a workspace something: its next tool call says it as your note.

        For example: `pyro note fix-add "use a set here" --path calc.py --line 12`. Only an agent over MCP gets it.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            text: What to tell it. At most 8192 characters.
            path: The file that it is about. At most 4096 characters.
            line: The line of it, from 1.

        Returns:
            Noted: A note that waits for the agent.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: So many notes wait already that the agent has not been told.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def exec_workspace(
        self,
        workspace: str | WorkspaceRecord,
        command: str | list[str],
        *,
        cwd: str | None = None,
        session: str | None = None,
        background: bool = False,
        until: str | None = None,
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        stdin: str | None = None,
        stdin_open: bool = False,
        timeout_seconds: float | None = None,
        wait_seconds: float = 30.0,
        max_output_bytes: int = 10000,
        raw: bool = False,
    ) -> ExecResult:
        """Run a command, as root unless the image, devcontainer.json or `user` says otherwise.
        If it outlives `wait_seconds`, it keeps running: status `running`, and a handle for logs and cancel.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            command: Shell command line, run by bash.
            cwd: Default: /workspace, or the session's directory. At most 4096 characters.
            session: Any name; cd, export and functions persist across calls with the same name.
            background: Return a handle at once and let it run: servers, watchers.
            until: Wait only until this is ready: a port (8000), http://localhost:8000/path, file:PATH, or a
                regex in its output.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            stdin: Standard input, at most 1 MiB.
            stdin_open: Keep standard input open, to be fed piece by piece.
            timeout_seconds: Timeout in seconds, at most 86400. Default: 1800; in the background, 86400.
            wait_seconds: Seconds to wait for its end, 0 to 50.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.

        Returns:
            ExecResult: One command's outcome, or its state so far when it still runs.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no bash, and the call needs one: a session, or a command line for
                it.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def feed_workspace_exec(
        self,
        workspace: str | WorkspaceRecord,
        handle: str | ExecResult | CommandRecord | Service,
        *,
        data: str = '',
        end: bool = False,
    ) -> CommandRecord:
        """Give a running command a piece of its standard input.

        The command must have been started with `stdin_open`. Waits at most 30 s for it to read earlier input.
        Its input is closed after 90 s without a call.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            handle: The command's handle. At most 64 characters. Or its `ExecResult`, `CommandRecord` or
                `Service`.
            data: Base64, at most 1 MiB.
            end: This is the last piece.

        Returns:
            CommandRecord: A past or running command of a workspace.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such handle.
            Conflict: The command does not take input, or has not read what it was sent for 30 s.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def cancel_workspace_exec(
        self,
        workspace: str | WorkspaceRecord,
        handle: str | ExecResult | CommandRecord | Service,
    ) -> CommandRecord:
        """End a running command: INT (as Ctrl-C does), then TERM, then KILL, 2 s apart.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            handle: The command's handle. At most 64 characters. Or its `ExecResult`, `CommandRecord` or
                `Service`.

        Returns:
            CommandRecord: A past or running command of a workspace.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such handle.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def logs_workspace(
        self,
        workspace: str | WorkspaceRecord,
        handle: str | None | ExecResult | CommandRecord | Service = None,
        *,
        offset: int | None = None,
        wait_seconds: float = 0,
        until: str | None = None,
        grep: str | None = None,
        max_output_bytes: int = 10000,
        raw: bool = False,
        limit: int = 20,
    ) -> Logs:
        """List commands, or read the output of one by `handle`.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            handle: One command's handle. At most 64 characters. Or its `ExecResult`, `CommandRecord` or
                `Service`.
            offset: First byte; negative: from the end.
            wait_seconds: Seconds to wait for its end, 0 to 50.
            until: Wait only until this is ready: a port (8000), http://localhost:8000/path, file:PATH, or a
                regex in its output.
            grep: Only lines that match this regex. At most 1000 characters.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.
            limit: Commands to list, 1 to 1000.

        Returns:
            Logs: A workspace's commands, and the output of one of them from an offset on.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such handle.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def run_in_vm(
        self,
        environment: str | Environment = 'debian:12',
        command: str | list[str] | None = None,
        *,
        handle: str | None | ExecResult | CommandRecord | Service = None,
        user: str | None = None,
        env: dict[str, str] | None = None,
        stdin: str | None = None,
        stdin_open: bool = False,
        network_policy: Literal['off', 'egress'] = 'off',
        vcpu_count: int = 1,
        mem_mib: int = 1024,
        timeout_seconds: float = 600,
        wait_seconds: float = 45.0,
        max_output_bytes: int = 10000,
        raw: bool = False,
    ) -> RunResult:
        """Run a command in a fresh, throwaway Linux machine.

        Args:
            environment: For example debian:12, or an image: node:22. Or the `Environment`.
            command: Shell command line, run by bash.
            handle: Keep waiting for this run instead. At most 64 characters. Or its `ExecResult`,
                `CommandRecord` or `Service`.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            stdin: Standard input, at most 1 MiB.
            stdin_open: Keep standard input open, to be fed piece by piece.
            network_policy: egress: public hosts only. One of off, egress.
            vcpu_count: 1 to 32.
            mem_mib: MiB, 128 to 65536.
            timeout_seconds: Timeout in seconds, at most 3600.
            wait_seconds: Seconds to wait for its end, 0 to 50.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.

        Returns:
            RunResult: The outcome of a one-shot machine.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such environment.
            EngineError: No machine could be started.
            ComponentMissing: This computer lacks something; `doctor` shows what.
            Conflict: The environment is being built; try again later.
            Unsupported: The requested engine does not work here.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def list_workspace_files(
        self,
        workspace: str | WorkspaceRecord,
        path: str = '/workspace',
        *,
        recursive: bool = False,
        limit: int = 200,
    ) -> FileList:
        """List a directory.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Below /workspace. At most 4096 characters.
            recursive: Include subdirectories.
            limit: 1 to 20000.

        Returns:
            FileList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def read_workspace_file(
        self,
        workspace: str | WorkspaceRecord,
        path: str | None = None,
        *,
        paths: list[str] | None = None,
        offset: int | None = None,
        limit: int | None = None,
        number_lines: bool = False,
        grep: str | None = None,
        byte_offset: int | None = None,
        encoding: str | None = None,
        max_bytes: int = 65536,
    ) -> FileContent:
        """Read text files or parts of them. Lists a directory; shows a picture.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Below /workspace. At most 4096 characters.
            paths: Several files in one call, at most 20.
            offset: First line, from 1; negative: from the end.
            limit: How many lines.
            number_lines: Number the lines, as `cat -n` does.
            grep: Only lines that match this regex, as number:line. At most 1000 characters.
            byte_offset: First byte; use instead of lines.
            encoding: If not UTF-8, for example windows-1252.
            max_bytes: Bytes of content, counted as JSON, at most 1048576; tools default to 10000.

        Returns:
            FileContent: What was read: one file, or several in `files`.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def search_workspace(
        self,
        workspace: str | WorkspaceRecord,
        pattern: str | None = None,
        *,
        path: str = '/workspace',
        glob: list[str] | None = None,
        literal: bool = False,
        ignore_case: bool = False,
        context: int = 0,
        files_only: bool = False,
        include_ignored: bool = False,
        limit: int = 100,
        max_bytes: int = 10000,
    ) -> SearchResult:
        """Search file contents, or find files by name.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            pattern: Regular expression (RE2) for a line. Omit to find files by name.
            path: Only below this path. At most 4096 characters.
            glob: Only files like *.py or src/**; !docs excludes. At most 64 entries.
            literal: The pattern is plain text.
            ignore_case: Ignore case.
            context: Lines around each match, 0 to 20.
            files_only: List only files, with counts.
            include_ignored: Also search ignored files and node_modules.
            limit: Matches or files to return, 1 to 10000.
            max_bytes: Bytes of content, 200 to 1048576.

        Returns:
            SearchResult: Lines or files that were found, as text: `path:line:text`, with `path-line-text`
            for lines of context.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or directory.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            GuestError: The search could not be carried out; the message says why.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def write_workspace_file(
        self,
        workspace: str | WorkspaceRecord,
        path: str,
        text: str,
        *,
        executable: bool | None = None,
        encoding: str | None = None,
    ) -> FileWritten:
        """Write a whole text file, creating its directories.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Below /workspace. At most 4096 characters.
            text: At most 1 MiB.
            executable: Default: unchanged.
            encoding: If not UTF-8, for example windows-1252.

        Returns:
            FileWritten:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def edit_workspace_file(
        self,
        workspace: str | WorkspaceRecord,
        path: str,
        old_string: str | None = None,
        new_string: str | None = None,
        *,
        replace_all: bool = False,
        edits: list[dict[str, Any]] | None = None,
    ) -> FileEdited:
        """Replace exact text in a file. Whitespace counts; include enough lines to be unique.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Below /workspace. At most 4096 characters.
            old_string: Exact text, once in the file; empty creates a new file. At most 1048576 characters.
            new_string: What replaces it. At most 1048576 characters.
            replace_all: Replace every occurrence.
            edits: Instead: several edits in order, all or none: [{old_string, new_string, replace_all}]. At
                most 200 entries.

        Returns:
            FileEdited:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            PatchMismatch: The text is not in the file, or occurs more than once. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def apply_workspace_patch(
        self,
        workspace: str | WorkspaceRecord,
        patch: str,
    ) -> PatchApplied:
        """Apply a patch, all or nothing: create, modify, delete, rename.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            patch: Unified diff or `*** Begin Patch`, at most 1 MiB; @@ may name the function.

        Returns:
            PatchApplied:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            PatchMismatch: The patch does not fit; the message says where. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def rewind_workspace(
        self,
        workspace: str | WorkspaceRecord,
        to: int | None = None,
        *,
        limit: int = 20,
    ) -> Rewound:
        """Undo: put files back as they were after an earlier command or edit, or list these checkpoints.

        Checkpoints are made automatically: at most 200, 256 MiB, 7 days. A reset keeps them. Processes and memory are
        untouched, and so are files over 8 MiB, .git and tool-made files (node_modules). Undo a rewind with another.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            to: Checkpoint number, 0 to 1000000. Omit to list them.
            limit: Checkpoints to list, 1 to 200.

        Returns:
            Rewound: The checkpoints of a workspace, and what became of the files.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def diff_workspace(
        self,
        workspace: str | WorkspaceRecord,
        path: str | None = None,
        *,
        summary: bool = False,
        max_bytes: int = 20000,
        include_ignored: bool = False,
    ) -> Diff:
        """Show what changed since the baseline, as a patch for `git apply`.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Only below this path. At most 4096 characters.
            summary: File names only.
            max_bytes: Bytes of patch, 200 to 1048576.
            include_ignored: Include ignored and tool-made files.

        Returns:
            Diff: What changed since the baseline.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def create_snapshot(
        self,
        workspace: str | WorkspaceRecord,
        name: str,
    ) -> Snapshot:
        """Save the whole machine's state under a name: files, memory, running processes.

        The machine keeps running. Open connections into it (published ports) and out of it (egress) are
        cut.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            name: Snapshot name; baseline is reserved.

        Returns:
            Snapshot: A named state of the whole machine: files, memory, processes.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The name is taken, or the workspace has the most snapshots it may have.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def list_snapshots(
        self,
        workspace: str | WorkspaceRecord,
    ) -> SnapshotList:
        """List a workspace's snapshots; baseline always exists.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.

        Returns:
            SnapshotList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def delete_snapshot(
        self,
        workspace: str | WorkspaceRecord,
        name: str | Snapshot,
    ) -> SnapshotDeleted:
        """Delete a snapshot. The machine is not affected.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            name: Snapshot name; baseline is reserved. Or the `Snapshot`.

        Returns:
            SnapshotDeleted:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def fork_workspace(
        self,
        workspace: str | WorkspaceRecord,
        count: int = 1,
        *,
        snapshot: str | None | Snapshot = None,
    ) -> AsyncForked:
        """Make independent copies of the machine, running processes included.

        Each copy has its own id, a numbered name, its own history and copies of the secrets; its published ports get
        free ports of this computer. A fork keeps its parent's baseline for diff and reset.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            count: 1 to 16.
            snapshot: Fork from this snapshot instead of now. At most 64 characters. Or the `Snapshot`.

        Returns:
            Forked: Siblings of a workspace, from the same moment.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such snapshot.
            Conflict: The name is taken, or the workspace is stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            EngineError: The machine could not be copied.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def try_workspace(
        self,
        workspace: str | WorkspaceRecord,
        alternatives: list[dict[str, Any]] | None = None,
        *,
        check: str | list[str] | None = None,
        keep: int | None = None,
        timeout_seconds: float = 600,
        wait_seconds: float | None = None,
    ) -> Tried:
        """Try several fixes at once, each in a fork of this moment, and see which passes the check.

        For each: whether it passed, exit status, time, telling lines, size of its diff. The workspace stays as it is,
        unless `keep` says which is to take its place: files, memory and processes, as after the check. One that
        cannot be carried out is refused by name, and the others go on. The forks are always deleted. What passed can
        be kept until the next try or reset.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            alternatives: 1 to 8, each {patch: text} or {commands: [text]}, with a name if you like. Without
                them: the last try.
            check: The command that must succeed, such as the tests.
            keep: 1 to 8: make this one the workspace if it passes; 0: the first that does. Also afterwards,
                alone.
            timeout_seconds: Seconds for all, at most 3600.
            wait_seconds: Seconds to wait, 0 to 3600; then it goes on.

        Returns:
            Tried: Alternatives that were tried side by side, each in a copy of the machine that is gone
            again.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no alternative of that number to keep.
            Conflict: The workspace tries something already, or is stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def stop_workspace(
        self,
        workspace: str | WorkspaceRecord,
    ) -> AsyncWorkspace:
        """Suspend the machine to disk, processes included; it then uses no memory.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            EngineError: The machine could not be saved; it keeps running.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def start_workspace(
        self,
        workspace: str | WorkspaceRecord,
    ) -> AsyncWorkspace:
        """Resume a stopped workspace as it was.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            EngineError: The machine could not be restored; it stays stopped.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def list_workspace_disk(
        self,
        workspace: str | WorkspaceRecord,
        path: str = '/workspace',
        *,
        recursive: bool = False,
        limit: int = 200,
    ) -> FileList:
        """List files of a stopped workspace without starting it.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Below /workspace. At most 4096 characters.
            recursive: Include subdirectories.
            limit: 1 to 20000.

        Returns:
            FileList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is not stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def read_workspace_disk(
        self,
        workspace: str | WorkspaceRecord,
        path: str,
        *,
        offset: int | None = None,
        limit: int | None = None,
        byte_offset: int | None = None,
        max_bytes: int = 65536,
    ) -> FileContent:
        """Read a text file of a stopped workspace.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Below /workspace. At most 4096 characters.
            offset: First line, from 1; negative: from the end.
            limit: How many lines.
            byte_offset: First byte; use instead of lines.
            max_bytes: Bytes of content, counted as JSON, at most 1048576; tools default to 10000.

        Returns:
            FileContent: What was read: one file, or several in `files`.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is not stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def export_workspace_disk(
        self,
        workspace: str | WorkspaceRecord,
        path: str,
        *,
        output: str,
        overwrite: bool = False,
    ) -> Exported:
        """Copy a file or tree of a stopped workspace to the user's computer.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Below /workspace. At most 4096 characters.
            output: Destination on the user's computer. At most 4096 characters.
            overwrite: Replace existing files; a backup is kept.

        Returns:
            Exported:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is not stopped, or something stands in the way at `output`.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            HostError: This computer cannot read or write a file: no permission, or no space.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def list_questions(
        self,
        *,
        wait_seconds: float = 0,
        known: list[str] | None = None,
    ) -> QuestionList:
        """List the hosts that workspaces are asking to reach, oldest first.

        With network policy `ask`, a workspace reaches a host only after the user has allowed it. A connection waits
        60 s for the answer; the question stays open for 15 minutes.

        Args:
            wait_seconds: Seconds to wait for a new question, 0 to 300.
            known: Ids of questions you already know. At most 256 entries.

        Returns:
            QuestionList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def answer_question(
        self,
        asked: str,
        *,
        answer: Literal['once', 'workspace', 'project', 'no', 'never'] = 'workspace',
    ) -> QuestionAnswered:
        """Allow or refuse a host that workspaces are asking for. Waiting connections continue at once.

        For example: `pyro allow pypi.org --answer project`. A host answers every question about it; an id answers
        only that question.

        Args:
            asked: A host, or a question's id. At most 253 characters.
            answer: once: for a minute; workspace: until it is deleted; project: always for this project,
                saved in a file; no: not now; never: not for this project. One of once, workspace, project,
                no, never.

        Returns:
            QuestionAnswered:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: No workspace is asking for that.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def list_decisions(
        self,
    ) -> DecisionList:
        """List which hosts you allowed or refused for whole projects.

        Returns:
            DecisionList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def change_decision(
        self,
        host: str,
        *,
        project: str,
        answer: Literal['allow', 'never', 'forget'],
    ) -> DecisionList:
        """Decide about a host for a whole project, or take it back. It holds for connections from now on.

        Args:
            host: An exact name, or *.suffix. At most 253 characters.
            project: The project's directory. At most 4096 characters.
            answer: forget: ask again when it is wanted. One of allow, never, forget.

        Returns:
            DecisionList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: It was not decided.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def inspect_cache(
        self,
    ) -> CacheInfo:
        """Show what is kept of package registries' answers: where, how much, for which hosts, and whether it is on.

        Returns:
            CacheInfo: What is kept of package registries' answers.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def list_cache(
        self,
        *,
        limit: int = 100,
    ) -> CacheList:
        """List the answers of package registries that are kept, those used last first.

        Args:
            limit: At most so many answers, 1 to 10000.

        Returns:
            CacheList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def prune_cache(
        self,
        *,
        keep_gib: float = 0,
    ) -> Pruned:
        """Remove kept answers of package registries, those used longest ago first. Workspaces fetch them again.

        Args:
            keep_gib: GiB, 0 to 65536, of what was used last to keep; 0 removes everything.

        Returns:
            Pruned: What a prune removed.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def configure_cache(
        self,
        *,
        enabled: bool | None = None,
        max_gib: float | None = None,
    ) -> CacheInfo:
        """Turn the cache of package registries on or off, or change how large it may grow. It holds for all workspaces.

        Workspaces that were created while it was off use it only after their network policy was changed.

        Args:
            enabled: Whether registries are cached at all.
            max_gib: GiB that the cache may take, 0.1 to 65536; 0: a tenth of the disk, at most 10.

        Returns:
            CacheInfo: What is kept of package registries' answers.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            HostError: It could not be saved on this computer.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def start_service(
        self,
        workspace: str | WorkspaceRecord,
        name: str,
        command: str | list[str],
        *,
        cwd: str = '/workspace',
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        ready_file: str | None = None,
        ready_tcp: int | None = None,
        ready_http: str | None = None,
        ready_command: str | None = None,
        ready_timeout_seconds: float = 30,
        publish: list[str] | None = None,
        wait_seconds: float = 45.0,
    ) -> Service:
        """Start a long-lived process and wait until it is ready.

        Readiness is a file, a port, an HTTP response or a command. A service that is not ready in time is
        ended and marked `failed`. Published ports need network policy egress+published-ports; they listen on
        127.0.0.1 unless you give ADDRESS:HOST:GUEST, and close with the service.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            name: Service name.
            command: Shell command line, run by bash.
            cwd: Working directory. At most 4096 characters.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            ready_file: Ready when this file exists. At most 4096 characters.
            ready_tcp: Ready when this port, 1 to 65535, accepts connections.
            ready_http: Ready when PORT/path answers with a status below 400.
            ready_command: Ready when this command succeeds. At most 65536 characters.
            ready_timeout_seconds: Seconds it may take to get ready, at most 3600.
            publish: Ports to publish on the user's computer: GUEST (picks a free one) or HOST:GUEST. At
                most 32 entries.
            wait_seconds: Seconds to wait until it is ready, 0 to 50.

        Returns:
            Service: A long-lived process with a name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: A service with this name is running, its port is taken, or the workspace is stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no shell for a command line.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def list_services(
        self,
        workspace: str | WorkspaceRecord,
    ) -> ServiceList:
        """List a workspace's services and their states.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.

        Returns:
            ServiceList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def status_service(
        self,
        workspace: str | WorkspaceRecord,
        name: str | Service,
        *,
        wait_seconds: float = 0,
    ) -> Service:
        """Show a service's state.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            name: Service name. Or the `Service`.
            wait_seconds: Seconds to wait while it starts, 0 to 50.

        Returns:
            Service: A long-lived process with a name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or service.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def logs_service(
        self,
        workspace: str | WorkspaceRecord,
        name: str | Service,
        *,
        tail: int = 200,
        offset: int | None = None,
        grep: str | None = None,
        wait_seconds: float = 0,
        max_output_bytes: int = 10000,
        raw: bool = False,
    ) -> ServiceLogs:
        """Read a service's output.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            name: Service name. Or the `Service`.
            tail: The last lines, 1 to 10000.
            offset: First byte; use instead of the last lines.
            grep: Only lines that match this regex. At most 1000 characters.
            wait_seconds: Seconds to wait for more, 0 to 50.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.

        Returns:
            ServiceLogs:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or service.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def stop_service(
        self,
        workspace: str | WorkspaceRecord,
        name: str | Service,
        *,
        grace_seconds: float = 5,
    ) -> Service:
        """End a service and all its processes.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            name: Service name. Or the `Service`.
            grace_seconds: Seconds from TERM to KILL, 0 to 40.

        Returns:
            Service: A long-lived process with a name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or service.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def open_shell(
        self,
        workspace: str | WorkspaceRecord,
        command: str | list[str] | None = None,
        *,
        cwd: str = '/workspace',
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        rows: int = 30,
        cols: int = 120,
    ) -> Shell:
        """Open a terminal that persists across calls, running an interactive bash or a command.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            command: Shell command line, run by bash.
            cwd: Working directory. At most 4096 characters.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            rows: 1 to 500.
            cols: 1 to 500.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no shell.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def read_shell(
        self,
        workspace: str | WorkspaceRecord,
        shell: str | Shell,
        *,
        cursor: int | None = None,
        plain: bool = False,
        max_bytes: int = 16384,
        wait_for_idle_ms: int = 300,
        wait_for: str | None = None,
        wait_seconds: float = 30,
    ) -> ShellOutput:
        """Read a shell's output.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            shell: From shell_open. At most 64 characters. Or the `Shell`.
            cursor: From the last result; returns only what is new since then.
            plain: As a person sees it: without control sequences, the screen and what scrolled off.
            max_bytes: 200 to 65536.
            wait_for_idle_ms: Wait until nothing is printed for this many ms, 0 to 10000.
            wait_for: Wait until what is new matches this regex. At most 1000 characters.
            wait_seconds: Seconds to wait for wait_for, 0 to 50.

        Returns:
            ShellOutput: What a shell printed from a cursor on, raw or as the screen that a person would
            see.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def write_shell(
        self,
        workspace: str | WorkspaceRecord,
        shell: str | Shell,
        text: str,
        *,
        enter: bool = False,
    ) -> Shell:
        """Type into a shell; then read from the returned cursor.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            shell: From shell_open. At most 64 characters. Or the `Shell`.
            text: Keys, such as ls or \\u0003 for Ctrl-C.
            enter: Press Enter after it.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The shell has ended, or its program is not reading input.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def signal_shell(
        self,
        workspace: str | WorkspaceRecord,
        shell: str | Shell,
        signal: Literal['HUP', 'INT', 'QUIT', 'TERM', 'KILL', 'TSTP', 'CONT'] = 'INT',
    ) -> Shell:
        """Send a signal to a shell's foreground program.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            shell: From shell_open. At most 64 characters. Or the `Shell`.
            signal: Signal for the foreground program. One of HUP, INT, QUIT, TERM, KILL, TSTP, CONT.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The shell has ended.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def resize_shell(
        self,
        workspace: str | WorkspaceRecord,
        shell: str | Shell,
        *,
        rows: int,
        cols: int,
    ) -> Shell:
        """Change a shell's size.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            shell: From shell_open. At most 64 characters. Or the `Shell`.
            rows: 1 to 500.
            cols: 1 to 500.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The shell has ended.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def close_shell(
        self,
        workspace: str | WorkspaceRecord,
        shell: str | Shell,
    ) -> Shell:
        """End a shell and everything running in it.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            shell: From shell_open. At most 64 characters. Or the `Shell`.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def doctor(
        self,
        *,
        fix: bool = False,
    ) -> Doctor:
        """Show which engines work on this computer and why, with components, environments and the daemon.

        An engine counts as working only after it has booted a machine. The verdict is kept until this
        machine restarts.

        Args:
            fix: Fetch what is missing and needs no root.

        Returns:
            Doctor: What `doctor` found. `ok` is true when workspaces can be created.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def list_environments(
        self,
    ) -> EnvironmentList:
        """List the environments and which are installed, and what is kept of projects' set-ups.

        Returns:
            EnvironmentList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def inspect_environment(
        self,
        environment: str | Environment,
    ) -> Environment:
        """Show an environment's origin, its size, and every package with its version.

        Args:
            environment: For example debian:12, or an image: node:22. Or the `Environment`.

        Returns:
            Environment: A root file system by name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such environment.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def pull_environment(
        self,
        environment: str | Environment = 'debian:12',
        *,
        force: bool = False,
    ) -> Environment:
        """Install an environment: built from Debian's signed archive, or an image from a registry or a file.

        Images: `docker.io/library/node:22-bookworm`, `ghcr.io/OWNER/NAME@sha256:…`, `oci:DIR`, `docker-archive:FILE`.
        An image that is already installed is checked again, and what is new is fetched. An interrupted pull
        resumes its download. Two simultaneous pulls of one environment do the work once.

        Args:
            environment: For example debian:12, or an image: node:22. Or the `Environment`.
            force: Rebuild it even if it is installed.

        Returns:
            Environment: A root file system by name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such environment.
            Conflict: Another call is building it right now.
            EngineError: It could not be built.
            Unsupported: The image cannot run here.
            Cancelled: The call was cancelled while it was built.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def build_environment(
        self,
        name: str,
        *,
        context: str,
        file: str | None = None,
        target: str | None = None,
        build_args: dict[str, str] | None = None,
        network_policy: Literal['off', 'egress'] = 'off',
        allow_domains: list[str] | None = None,
        vcpu_count: int = 2,
        mem_mib: int = 2048,
        disk_gib: int = 20,
        again: bool = False,
        overwrite: bool = False,
    ) -> Environment:
        """Build a Dockerfile, and make an environment of the result, for `create NAME`.

        The build runs in a machine of its own, by buildah; RUN has the network that network_policy allows, and no
        more. pyro on this computer fetches the images in FROM: any name of an environment. A .dockerignore
        holds. Layers are kept: the next build of this name does again only what changed.

        Args:
            name: Letters, digits, ._-; at most 64.
            context: The directory that COPY takes from. At most 4096 characters.
            file: Path on the user's computer. At most 4096 characters.
            target: Build only up to this stage. At most 128 characters.
            build_args: Values of the file's ARGs. At most 64 entries.
            network_policy: egress: public hosts only. One of off, egress.
            allow_domains: Egress reaches only these: exact names or *.suffix, optionally with the requests
                allowed, such as :GET (git fetch, no push) or :GET,PUSH/team/app.git. Omitted: every public
                host; empty: no public host. At most 256 entries.
            vcpu_count: 1 to 32.
            mem_mib: MiB, 128 to 65536.
            disk_gib: Disk limit in GiB, 1 to 1024.
            again: Do every step again, whatever is kept.
            overwrite: Replace an environment that was not built so.

        Returns:
            Environment: A root file system by name.

        Raises:
            InvalidInput: The Dockerfile is none, or the context cannot be read.
            HostError: This computer cannot read or write a file: no permission, or no space.
            EngineError: A step failed: `details` has `exit_status`, `step` and the end of its `log`.
            Conflict: The name is taken by something else, or a build of this name is under way.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def suggest_environment(
        self,
        path: str,
    ) -> SuggestedEnvironment:
        """Print a devcontainer.json for a project that has none, from its manifests.

        It reads pyproject.toml, requirements.txt, package.json, go.mod, Cargo.toml, pom.xml, Gemfile and others, and
        lock files beside them. It runs and writes nothing; save the result: `pyro env suggest . > .devcontainer.json`.

        Args:
            path: Path on the user's computer. At most 4096 characters.

        Returns:
            SuggestedEnvironment: A devcontainer.json that a project could have.

        Raises:
            InvalidInput: The path is not a directory.
            HostError: This computer cannot read or write a file: no permission, or no space.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def save_environment(
        self,
        workspace: str | WorkspaceRecord,
        name: str,
        *,
        overwrite: bool = False,
    ) -> Environment:
        """Save a workspace's root file system, with everything installed in it, as an environment.

        /workspace, /tmp and /run are left out, as are the machine's own names and certificates. If a changed file
        contains a secret's value, nothing is saved. Programs keep running; what they write meanwhile may be saved in
        part.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            name: Letters, digits, ._-; at most 64.
            overwrite: Replace a saved environment of this name.

        Returns:
            Environment: A root file system by name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The name is taken, the value of a secret would be saved, or the workspace is stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def export_environment(
        self,
        environment: str | Environment,
        *,
        output: str,
    ) -> EnvironmentExported:
        """Write an installed environment as an OCI image that skopeo, podman, buildah and Docker can load.

        For example: `pyro env export kit --output oci:kit && skopeo copy oci:kit:latest docker-archive:kit.tar:kit:1`.

        Args:
            environment: For example debian:12, or an image: node:22. Or the `Environment`.
            output: oci:DIR, or DIR: a directory that does not exist yet. At most 4096 characters.

        Returns:
            EnvironmentExported: An environment as an image on this computer.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such environment.
            Conflict: Something already exists at that path.
            EngineError: The image could not be written.
            Cancelled: The call was cancelled while it was written.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def remove_environment(
        self,
        environment: str | Environment,
    ) -> Pruned:
        """Remove one environment by its name, or what is kept of a set-up (`prepared:…`).

        Workspaces that stand on it keep it until they are deleted.

        Args:
            environment: For example debian:12, or an image: node:22. Or the `Environment`.

        Returns:
            Pruned: What a prune removed.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such environment.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def prune_environments(
        self,
        *,
        all: bool = False,
        keep_gib: float | None = None,
    ) -> Pruned:
        """Remove environments that no workspace uses: outdated builds, and all of them with `all`.

        With `keep_gib`, what is kept of projects' set-ups and current environments go as well, those used longest ago
        first, until all together take no more on the disk; never one that a workspace stands on.

        Args:
            all: Also remove current environments that no workspace uses.
            keep_gib: Then remove those used longest ago until the rest takes so many GiB, 0 to 65536.

        Returns:
            Pruned: What a prune removed.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def create_workspace(
        self,
        environment: str | None | Environment = None,
        *,
        seed_path: str | None = None,
        name: str | None = None,
        labels: dict[str, str] | None = None,
        user: str | None = None,
        network_policy: Literal['off', 'ask', 'egress', 'egress+published-ports'] = 'off',
        vcpu_count: int | None = None,
        mem_mib: int | None = None,
        disk_gib: int | None = None,
        ttl_seconds: int | None = None,
        lifetime_seconds: int | None = None,
        allow_domains: list[str] | None = None,
        allow_host_ports: list[str] | None = None,
        allow_addresses: list[str] | None = None,
        ssh_hosts: list[str] | None = None,
        secrets: dict[str, str] | None = None,
        secret_files: dict[str, str] | None = None,
        secret_hosts: dict[str, str] | None = None,
        include_ignored: bool = False,
        no_devcontainer: bool = False,
        rebuild: bool = False,
        setup_wait_seconds: float | None = None,
        engine: Literal['auto', 'firecracker', 'gvisor'] = 'auto',
    ) -> AsyncWorkspace:
        """Create a disposable Linux machine, its /workspace filled from `seed_path`.

        That state is the baseline for diff and reset. A git work tree comes with its history, without ignored files.
        Map secrets into single commands by name (`secret_env`); they are deleted with the workspace.
        Without `environment`, the seed's devcontainer.json sets the image, variables, size and set-up
        commands. It cannot open the network; `devcontainer` lists what was ignored and has the set-up's log.

        Args:
            environment: For example debian:12, or an image: node:22. Default: devcontainer.json's, else
                debian:12. Or the `Environment`.
            seed_path: Directory, git work tree or tar to start from. At most 4096 characters.
            name: Letters, digits, ._-; at most 64.
            labels: Key to value. At most 64 entries.
            user: Owner of the project, as whom commands run: name, uid or uid:gid. Default:
                devcontainer.json's, else the image's, else root. At most 256 characters.
            network_policy: egress: public hosts only; ask: the user approves each. One of off, ask, egress,
                egress+published-ports.
            vcpu_count: 1 to 32; default: 1, or what devcontainer.json requires.
            mem_mib: MiB, 128 to 65536; default: 1024, or what devcontainer.json requires.
            disk_gib: Disk limit in GiB, 1 to 1024; default: 20, or what it requires.
            ttl_seconds: Delete when unused for this many seconds, 10 to 2592000.
            lifetime_seconds: Delete this many seconds after creation, 10 to 31536000.
            allow_domains: Egress reaches only these: exact names or *.suffix, optionally with the requests
                allowed, such as :GET (git fetch, no push) or :GET,PUSH/team/app.git. Omitted: every public
                host; empty: no public host. At most 256 entries.
            allow_host_ports: PORT or PORT:NAME: a loopback port of this computer, reached as
                host.pyro.internal:PORT. At most 64 entries.
            allow_addresses: ADDRESS or ADDRESS:PORT: a host on this computer's network. At most 64 entries.
            ssh_hosts: HOST, USER@HOST, with :PORT: a server where your ssh keys log in, from outside. At
                most 16 entries.
            secrets: Name to value, 4 bytes to 64 KiB; values never appear in output.
            secret_files: Name to the file with the value. At most 64 entries.
            secret_hosts: Name to the only host whose requests get the value; the machine gets a
                placeholder. At most 64 entries.
            include_ignored: Also seed files that .gitignore excludes.
            no_devcontainer: Ignore the seed's devcontainer.json.
            rebuild: Run all of its set-up, and keep that in place of what is kept of it.
            setup_wait_seconds: Seconds to wait for its set-up, 0 to 7200; default: until it ends. The
                set-up continues afterwards.
            engine: auto: firecracker if KVM boots a guest, else gvisor. One of auto, firecracker, gvisor.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such environment.
            EngineError: No machine could be started.
            ComponentMissing: This computer lacks something; `doctor` shows what.
            HostError: This computer cannot read or write a file: no permission, or no space.
            Conflict: The name is taken, or the environment is being built; try again later.
            Unsupported: The requested engine does not work here, or cannot do what was asked.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def list_workspaces(
        self,
        *,
        labels: dict[str, str] | None = None,
    ) -> AsyncWorkspaceList:
        """List workspaces, last used first.

        Args:
            labels: Only workspaces with these labels.

        Returns:
            WorkspaceList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def status_workspace(
        self,
        workspace: str | WorkspaceRecord,
    ) -> AsyncWorkspace:
        """Show a workspace's state and what is running.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def update_workspace(
        self,
        workspace: str | WorkspaceRecord,
        *,
        name: str | None = None,
        clear_name: bool = False,
        labels: dict[str, str] | None = None,
        clear_labels: list[str] | None = None,
        ttl_seconds: int | None = None,
        clear_ttl: bool = False,
        lifetime_seconds: int | None = None,
        clear_lifetime: bool = False,
        network_policy: Literal['off', 'ask', 'egress', 'egress+published-ports'] | None = None,
        allow_domains: list[str] | None = None,
        allow_host_ports: list[str] | None = None,
        allow_addresses: list[str] | None = None,
        ssh_hosts: list[str] | None = None,
    ) -> AsyncWorkspace:
        """Change name or labels.

        From the command line and Python, also its time limits and its network. That takes effect at once: closing it
        ends open connections. Programs started before it was opened have no proxy variables.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            name: Letters, digits, ._-; at most 64.
            clear_name: Remove the name.
            labels: Labels to set.
            clear_labels: Keys to remove.
            ttl_seconds: Delete when unused for this many seconds, 10 to 2592000.
            clear_ttl: Remove the idle limit.
            lifetime_seconds: Delete this many seconds after creation, 10 to 31536000.
            clear_lifetime: Remove the lifetime limit.
            network_policy: egress: public hosts only; ask: the user approves each. One of off, ask, egress,
                egress+published-ports.
            allow_domains: More hosts that egress may reach. At most 256 entries.
            allow_host_ports: PORT or PORT:NAME: a loopback port of this computer, reached as
                host.pyro.internal:PORT. At most 64 entries.
            allow_addresses: ADDRESS or ADDRESS:PORT: a host on this computer's network. At most 64 entries.
            ssh_hosts: HOST, USER@HOST, with :PORT: a server where your ssh keys log in, from outside. At
                most 16 entries.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The name is taken.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def delete_workspace(
        self,
        workspace: str | WorkspaceRecord,
    ) -> Deleted:
        """Delete a workspace and everything in it.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.

        Returns:
            Deleted: A workspace that is gone.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def reset_workspace(
        self,
        workspace: str | WorkspaceRecord,
        snapshot: str | None | Snapshot = None,
    ) -> AsyncWorkspace:
        """Put the machine back to its baseline: files, memory, processes.

        With `last`, a fresh machine gets the files as they were at the last checkpoint (see rewind), also where the
        old one is lost; `notes` says what is missing.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            snapshot: Instead of the baseline. last: the files of the last checkpoint. At most 64
                characters. Or the `Snapshot`.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or snapshot.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            EngineError: The machine could not be restored.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def history_workspace(
        self,
        workspace: str | WorkspaceRecord,
        *,
        limit: int = 200,
        after: int | None = None,
        wait_seconds: float = 0,
    ) -> History:
        """Show what was done in a workspace, including network connections: when, by whom, how long, outcome.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            limit: The newest events, 1 to 10000.
            after: Only what started or ended since this cursor from an earlier result.
            wait_seconds: Seconds to wait for an event, 0 to 50.

        Returns:
            History:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def push_workspace_sync(
        self,
        workspace: str | WorkspaceRecord,
        path: str,
        *,
        dest: str = '/workspace',
        include_ignored: bool = False,
    ) -> Synced:
        """Copy a file or tree from the user's computer in, all or nothing.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Path on the user's computer. At most 4096 characters.
            dest: Below /workspace. At most 4096 characters.
            include_ignored: Also copy files that .gitignore excludes.

        Returns:
            Synced:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: A directory is in the way, or the workspace is stopped. Nothing was changed.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            HostError: This computer cannot read or write a file: no permission, or no space.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def export_workspace(
        self,
        workspace: str | WorkspaceRecord,
        path: str | None = None,
        *,
        output: str,
        patch: bool = False,
        overwrite: bool = False,
        include_git: bool = False,
        include_ignored: bool = False,
    ) -> Exported:
        """Copy a file, a tree or the diff to the user's computer. An existing directory receives it.

        Nothing is ever removed. Files are replaced only with `overwrite`, and kept in a backup that the result names. A
        directory never replaces a file, nor a file a directory. Files that git tracks in the user's project are not
        replaced: use `land` for these. Git repositories are left out, because their settings and hooks could run
        programs here. Ignored and tool-made files (node_modules, a venv) in a directory are left out and counted,
        unless you export that directory itself.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            path: Path in the workspace; omit with `patch`. At most 4096 characters.
            output: Destination on the user's computer. At most 4096 characters.
            patch: Export the diff as a patch instead.
            overwrite: Replace existing files; a backup is kept.
            include_git: Also .git, without hooks and most settings.
            include_ignored: Include ignored and tool-made files.

        Returns:
            Exported:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: Something stands in the way at `output`, or the workspace is stopped. Nothing was
                changed.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            HostError: This computer cannot read or write a file: no permission, or no space.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def land_workspace(
        self,
        workspace: str | WorkspaceRecord,
        branch: str,
        *,
        repo: str | None = None,
        message: str | None = None,
        include_ignored: bool = False,
    ) -> Landed:
        """Commit the workspace's changes to a branch of the git repository it was seeded from.

        Your work tree and index are not touched. Changes are merged three-way; on a conflict nothing is
        changed. An existing branch is first saved under a backup ref, and the command that undoes it is printed.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            branch: Branch to commit on; created if missing.
            repo: The git repository; default: the one it was seeded from. At most 4096 characters.
            message: Commit message. At most 65536 characters.
            include_ignored: Include ignored and tool-made files.

        Returns:
            Landed: A workspace's changes as a commit of the user's repository.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The branch cannot be moved, or the value of a secret would be committed. Nothing was
                changed.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            HostError: This computer cannot read or write a file: no permission, or no space.
            ComponentMissing: git is not on this computer.
            EngineError: git failed; the message says how.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def stream_exec_workspace(
        self,
        workspace: str | WorkspaceRecord,
        command: str | list[str],
        *,
        cwd: str | None = None,
        session: str | None = None,
        background: bool = False,
        until: str | None = None,
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        stdin: str | None = None,
        timeout_seconds: float | None = None,
        max_output_bytes: int = 10000,
        raw: bool = False,
    ) -> AsyncExecStream:
        """Run a command and iterate over its output while it runs, however long it takes.

        Iterate over what comes back, which gives `Output` pieces; `result` is the command's outcome then.

        Args:
            workspace: The workspace: its id, its name, or a `Workspace`.
            command: Shell command line, run by bash.
            cwd: Default: /workspace, or the session's directory. At most 4096 characters.
            session: Any name; cd, export and functions persist across calls with the same name.
            background: Return a handle at once and let it run: servers, watchers.
            until: Wait only until this is ready: a port (8000), http://localhost:8000/path, file:PATH, or a
                regex in its output.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            stdin: Standard input, at most 1 MiB.
            timeout_seconds: Timeout in seconds, at most 86400. Default: 1800; in the background, 86400.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.

        Returns:
            The stream.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no bash, and the call needs one: a session, or a command line for
                it.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def workspace(
        self,
        environment: str | None | Environment = None,
        *,
        seed_path: str | None = None,
        name: str | None = None,
        labels: dict[str, str] | None = None,
        user: str | None = None,
        network_policy: Literal['off', 'ask', 'egress', 'egress+published-ports'] = 'off',
        vcpu_count: int | None = None,
        mem_mib: int | None = None,
        disk_gib: int | None = None,
        ttl_seconds: int | None = None,
        lifetime_seconds: int | None = None,
        allow_domains: list[str] | None = None,
        allow_host_ports: list[str] | None = None,
        allow_addresses: list[str] | None = None,
        ssh_hosts: list[str] | None = None,
        secrets: dict[str, str] | None = None,
        secret_files: dict[str, str] | None = None,
        secret_hosts: dict[str, str] | None = None,
        include_ignored: bool = False,
        no_devcontainer: bool = False,
        rebuild: bool = False,
        setup_wait_seconds: float | None = None,
        engine: Literal['auto', 'firecracker', 'gvisor'] = 'auto',
    ) -> AbstractAsyncContextManager[AsyncWorkspace]:
        """`create_workspace` as a context manager: the workspace is deleted on exit, whatever happened inside.

        Args:
            environment: For example debian:12, or an image: node:22. Default: devcontainer.json's, else
                debian:12. Or the `Environment`.
            seed_path: Directory, git work tree or tar to start from. At most 4096 characters.
            name: Letters, digits, ._-; at most 64.
            labels: Key to value. At most 64 entries.
            user: Owner of the project, as whom commands run: name, uid or uid:gid. Default:
                devcontainer.json's, else the image's, else root. At most 256 characters.
            network_policy: egress: public hosts only; ask: the user approves each. One of off, ask, egress,
                egress+published-ports.
            vcpu_count: 1 to 32; default: 1, or what devcontainer.json requires.
            mem_mib: MiB, 128 to 65536; default: 1024, or what devcontainer.json requires.
            disk_gib: Disk limit in GiB, 1 to 1024; default: 20, or what it requires.
            ttl_seconds: Delete when unused for this many seconds, 10 to 2592000.
            lifetime_seconds: Delete this many seconds after creation, 10 to 31536000.
            allow_domains: Egress reaches only these: exact names or *.suffix, optionally with the requests
                allowed, such as :GET (git fetch, no push) or :GET,PUSH/team/app.git. Omitted: every public
                host; empty: no public host. At most 256 entries.
            allow_host_ports: PORT or PORT:NAME: a loopback port of this computer, reached as
                host.pyro.internal:PORT. At most 64 entries.
            allow_addresses: ADDRESS or ADDRESS:PORT: a host on this computer's network. At most 64 entries.
            ssh_hosts: HOST, USER@HOST, with :PORT: a server where your ssh keys log in, from outside. At
                most 16 entries.
            secrets: Name to value, 4 bytes to 64 KiB; values never appear in output.
            secret_files: Name to the file with the value. At most 64 entries.
            secret_hosts: Name to the only host whose requests get the value; the machine gets a
                placeholder. At most 64 entries.
            include_ignored: Also seed files that .gitignore excludes.
            no_devcontainer: Ignore the seed's devcontainer.json.
            rebuild: Run all of its set-up, and keep that in place of what is kept of it.
            setup_wait_seconds: Seconds to wait for its set-up, 0 to 7200; default: until it ends. The
                set-up continues afterwards.
            engine: auto: firecracker if KVM boots a guest, else gvisor. One of auto, firecracker, gvisor.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such environment.
            EngineError: No machine could be started.
            ComponentMissing: This computer lacks something; `doctor` shows what.
            HostError: This computer cannot read or write a file: no permission, or no space.
            Conflict: The name is taken, or the environment is being built; try again later.
            Unsupported: The requested engine does not work here, or cannot do what was asked.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

class AsyncWorkspaceMethods:
    """Every operation on a workspace."""

    async def note(
        self,
        text: str,
        *,
        path: str | None = None,
        line: int | None = None,
    ) -> Noted:
        """Tell the agent that works in a workspace something: its next tool call says it as your note.

        For example: `pyro note fix-add "use a set here" --path calc.py --line 12`. Only an agent over MCP gets it.

        Args:
            text: What to tell it. At most 8192 characters.
            path: The file that it is about. At most 4096 characters.
            line: The line of it, from 1.

        Returns:
            Noted: A note that waits for the agent.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: So many notes wait already that the agent has not been told.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def exec(
        self,
        command: str | list[str],
        *,
        cwd: str | None = None,
        session: str | None = None,
        background: bool = False,
        until: str | None = None,
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        stdin: str | None = None,
        stdin_open: bool = False,
        timeout_seconds: float | None = None,
        wait_seconds: float = 30.0,
        max_output_bytes: int = 10000,
        raw: bool = False,
    ) -> ExecResult:
        """Run a command, as root unless the image, devcontainer.json or `user` says otherwise.
        If it outlives `wait_seconds`, it keeps running: status `running`, and a handle for logs and cancel.

        Args:
            command: Shell command line, run by bash.
            cwd: Default: /workspace, or the session's directory. At most 4096 characters.
            session: Any name; cd, export and functions persist across calls with the same name.
            background: Return a handle at once and let it run: servers, watchers.
            until: Wait only until this is ready: a port (8000), http://localhost:8000/path, file:PATH, or a
                regex in its output.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            stdin: Standard input, at most 1 MiB.
            stdin_open: Keep standard input open, to be fed piece by piece.
            timeout_seconds: Timeout in seconds, at most 86400. Default: 1800; in the background, 86400.
            wait_seconds: Seconds to wait for its end, 0 to 50.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.

        Returns:
            ExecResult: One command's outcome, or its state so far when it still runs.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no bash, and the call needs one: a session, or a command line for
                it.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def feed(
        self,
        handle: str | ExecResult | CommandRecord | Service,
        *,
        data: str = '',
        end: bool = False,
    ) -> CommandRecord:
        """Give a running command a piece of its standard input.

        The command must have been started with `stdin_open`. Waits at most 30 s for it to read earlier input.
        Its input is closed after 90 s without a call.

        Args:
            handle: The command's handle. At most 64 characters. Or its `ExecResult`, `CommandRecord` or
                `Service`.
            data: Base64, at most 1 MiB.
            end: This is the last piece.

        Returns:
            CommandRecord: A past or running command of a workspace.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such handle.
            Conflict: The command does not take input, or has not read what it was sent for 30 s.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def cancel(
        self,
        handle: str | ExecResult | CommandRecord | Service,
    ) -> CommandRecord:
        """End a running command: INT (as Ctrl-C does), then TERM, then KILL, 2 s apart.

        Args:
            handle: The command's handle. At most 64 characters. Or its `ExecResult`, `CommandRecord` or
                `Service`.

        Returns:
            CommandRecord: A past or running command of a workspace.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such handle.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def logs(
        self,
        handle: str | None | ExecResult | CommandRecord | Service = None,
        *,
        offset: int | None = None,
        wait_seconds: float = 0,
        until: str | None = None,
        grep: str | None = None,
        max_output_bytes: int = 10000,
        raw: bool = False,
        limit: int = 20,
    ) -> Logs:
        """List commands, or read the output of one by `handle`.

        Args:
            handle: One command's handle. At most 64 characters. Or its `ExecResult`, `CommandRecord` or
                `Service`.
            offset: First byte; negative: from the end.
            wait_seconds: Seconds to wait for its end, 0 to 50.
            until: Wait only until this is ready: a port (8000), http://localhost:8000/path, file:PATH, or a
                regex in its output.
            grep: Only lines that match this regex. At most 1000 characters.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.
            limit: Commands to list, 1 to 1000.

        Returns:
            Logs: A workspace's commands, and the output of one of them from an offset on.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such handle.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def list_files(
        self,
        path: str = '/workspace',
        *,
        recursive: bool = False,
        limit: int = 200,
    ) -> FileList:
        """List a directory.

        Args:
            path: Below /workspace. At most 4096 characters.
            recursive: Include subdirectories.
            limit: 1 to 20000.

        Returns:
            FileList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def read(
        self,
        path: str | None = None,
        *,
        paths: list[str] | None = None,
        offset: int | None = None,
        limit: int | None = None,
        number_lines: bool = False,
        grep: str | None = None,
        byte_offset: int | None = None,
        encoding: str | None = None,
        max_bytes: int = 65536,
    ) -> FileContent:
        """Read text files or parts of them. Lists a directory; shows a picture.

        Args:
            path: Below /workspace. At most 4096 characters.
            paths: Several files in one call, at most 20.
            offset: First line, from 1; negative: from the end.
            limit: How many lines.
            number_lines: Number the lines, as `cat -n` does.
            grep: Only lines that match this regex, as number:line. At most 1000 characters.
            byte_offset: First byte; use instead of lines.
            encoding: If not UTF-8, for example windows-1252.
            max_bytes: Bytes of content, counted as JSON, at most 1048576; tools default to 10000.

        Returns:
            FileContent: What was read: one file, or several in `files`.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def search(
        self,
        pattern: str | None = None,
        *,
        path: str = '/workspace',
        glob: list[str] | None = None,
        literal: bool = False,
        ignore_case: bool = False,
        context: int = 0,
        files_only: bool = False,
        include_ignored: bool = False,
        limit: int = 100,
        max_bytes: int = 10000,
    ) -> SearchResult:
        """Search file contents, or find files by name.

        Args:
            pattern: Regular expression (RE2) for a line. Omit to find files by name.
            path: Only below this path. At most 4096 characters.
            glob: Only files like *.py or src/**; !docs excludes. At most 64 entries.
            literal: The pattern is plain text.
            ignore_case: Ignore case.
            context: Lines around each match, 0 to 20.
            files_only: List only files, with counts.
            include_ignored: Also search ignored files and node_modules.
            limit: Matches or files to return, 1 to 10000.
            max_bytes: Bytes of content, 200 to 1048576.

        Returns:
            SearchResult: Lines or files that were found, as text: `path:line:text`, with `path-line-text`
            for lines of context.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or directory.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            GuestError: The search could not be carried out; the message says why.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def write(
        self,
        path: str,
        text: str,
        *,
        executable: bool | None = None,
        encoding: str | None = None,
    ) -> FileWritten:
        """Write a whole text file, creating its directories.

        Args:
            path: Below /workspace. At most 4096 characters.
            text: At most 1 MiB.
            executable: Default: unchanged.
            encoding: If not UTF-8, for example windows-1252.

        Returns:
            FileWritten:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def edit(
        self,
        path: str,
        old_string: str | None = None,
        new_string: str | None = None,
        *,
        replace_all: bool = False,
        edits: list[dict[str, Any]] | None = None,
    ) -> FileEdited:
        """Replace exact text in a file. Whitespace counts; include enough lines to be unique.

        Args:
            path: Below /workspace. At most 4096 characters.
            old_string: Exact text, once in the file; empty creates a new file. At most 1048576 characters.
            new_string: What replaces it. At most 1048576 characters.
            replace_all: Replace every occurrence.
            edits: Instead: several edits in order, all or none: [{old_string, new_string, replace_all}]. At
                most 200 entries.

        Returns:
            FileEdited:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            PatchMismatch: The text is not in the file, or occurs more than once. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def apply_patch(
        self,
        patch: str,
    ) -> PatchApplied:
        """Apply a patch, all or nothing: create, modify, delete, rename.

        Args:
            patch: Unified diff or `*** Begin Patch`, at most 1 MiB; @@ may name the function.

        Returns:
            PatchApplied:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            PatchMismatch: The patch does not fit; the message says where. Nothing was changed.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def rewind(
        self,
        to: int | None = None,
        *,
        limit: int = 20,
    ) -> Rewound:
        """Undo: put files back as they were after an earlier command or edit, or list these checkpoints.

        Checkpoints are made automatically: at most 200, 256 MiB, 7 days. A reset keeps them. Processes and memory are
        untouched, and so are files over 8 MiB, .git and tool-made files (node_modules). Undo a rewind with another.

        Args:
            to: Checkpoint number, 0 to 1000000. Omit to list them.
            limit: Checkpoints to list, 1 to 200.

        Returns:
            Rewound: The checkpoints of a workspace, and what became of the files.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def diff(
        self,
        path: str | None = None,
        *,
        summary: bool = False,
        max_bytes: int = 20000,
        include_ignored: bool = False,
    ) -> Diff:
        """Show what changed since the baseline, as a patch for `git apply`.

        Args:
            path: Only below this path. At most 4096 characters.
            summary: File names only.
            max_bytes: Bytes of patch, 200 to 1048576.
            include_ignored: Include ignored and tool-made files.

        Returns:
            Diff: What changed since the baseline.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def snapshot(
        self,
        name: str,
    ) -> Snapshot:
        """Save the whole machine's state under a name: files, memory, running processes.

        The machine keeps running. Open connections into it (published ports) and out of it (egress) are
        cut.

        Args:
            name: Snapshot name; baseline is reserved.

        Returns:
            Snapshot: A named state of the whole machine: files, memory, processes.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The name is taken, or the workspace has the most snapshots it may have.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def list_snapshots(
        self,
    ) -> SnapshotList:
        """List a workspace's snapshots; baseline always exists.

        Returns:
            SnapshotList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def delete_snapshot(
        self,
        name: str | Snapshot,
    ) -> SnapshotDeleted:
        """Delete a snapshot. The machine is not affected.

        Args:
            name: Snapshot name; baseline is reserved. Or the `Snapshot`.

        Returns:
            SnapshotDeleted:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def fork(
        self,
        count: int = 1,
        *,
        snapshot: str | None | Snapshot = None,
    ) -> AsyncForked:
        """Make independent copies of the machine, running processes included.

        Each copy has its own id, a numbered name, its own history and copies of the secrets; its published ports get
        free ports of this computer. A fork keeps its parent's baseline for diff and reset.

        Args:
            count: 1 to 16.
            snapshot: Fork from this snapshot instead of now. At most 64 characters. Or the `Snapshot`.

        Returns:
            Forked: Siblings of a workspace, from the same moment.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such snapshot.
            Conflict: The name is taken, or the workspace is stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            EngineError: The machine could not be copied.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def try_alternatives(
        self,
        alternatives: list[dict[str, Any]] | None = None,
        *,
        check: str | list[str] | None = None,
        keep: int | None = None,
        timeout_seconds: float = 600,
        wait_seconds: float | None = None,
    ) -> Tried:
        """Try several fixes at once, each in a fork of this moment, and see which passes the check.

        For each: whether it passed, exit status, time, telling lines, size of its diff. The workspace stays as it is,
        unless `keep` says which is to take its place: files, memory and processes, as after the check. One that
        cannot be carried out is refused by name, and the others go on. The forks are always deleted. What passed can
        be kept until the next try or reset.

        Args:
            alternatives: 1 to 8, each {patch: text} or {commands: [text]}, with a name if you like. Without
                them: the last try.
            check: The command that must succeed, such as the tests.
            keep: 1 to 8: make this one the workspace if it passes; 0: the first that does. Also afterwards,
                alone.
            timeout_seconds: Seconds for all, at most 3600.
            wait_seconds: Seconds to wait, 0 to 3600; then it goes on.

        Returns:
            Tried: Alternatives that were tried side by side, each in a copy of the machine that is gone
            again.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no alternative of that number to keep.
            Conflict: The workspace tries something already, or is stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def stop(
        self,
    ) -> AsyncWorkspace:
        """Suspend the machine to disk, processes included; it then uses no memory.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            EngineError: The machine could not be saved; it keeps running.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def start(
        self,
    ) -> AsyncWorkspace:
        """Resume a stopped workspace as it was.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            EngineError: The machine could not be restored; it stays stopped.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def list_disk(
        self,
        path: str = '/workspace',
        *,
        recursive: bool = False,
        limit: int = 200,
    ) -> FileList:
        """List files of a stopped workspace without starting it.

        Args:
            path: Below /workspace. At most 4096 characters.
            recursive: Include subdirectories.
            limit: 1 to 20000.

        Returns:
            FileList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is not stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def read_disk(
        self,
        path: str,
        *,
        offset: int | None = None,
        limit: int | None = None,
        byte_offset: int | None = None,
        max_bytes: int = 65536,
    ) -> FileContent:
        """Read a text file of a stopped workspace.

        Args:
            path: Below /workspace. At most 4096 characters.
            offset: First line, from 1; negative: from the end.
            limit: How many lines.
            byte_offset: First byte; use instead of lines.
            max_bytes: Bytes of content, counted as JSON, at most 1048576; tools default to 10000.

        Returns:
            FileContent: What was read: one file, or several in `files`.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is not stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def export_disk(
        self,
        path: str,
        *,
        output: str,
        overwrite: bool = False,
    ) -> Exported:
        """Copy a file or tree of a stopped workspace to the user's computer.

        Args:
            path: Below /workspace. At most 4096 characters.
            output: Destination on the user's computer. At most 4096 characters.
            overwrite: Replace existing files; a backup is kept.

        Returns:
            Exported:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: The workspace is not stopped, or something stands in the way at `output`.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            HostError: This computer cannot read or write a file: no permission, or no space.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def start_service(
        self,
        name: str,
        command: str | list[str],
        *,
        cwd: str = '/workspace',
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        ready_file: str | None = None,
        ready_tcp: int | None = None,
        ready_http: str | None = None,
        ready_command: str | None = None,
        ready_timeout_seconds: float = 30,
        publish: list[str] | None = None,
        wait_seconds: float = 45.0,
    ) -> Service:
        """Start a long-lived process and wait until it is ready.

        Readiness is a file, a port, an HTTP response or a command. A service that is not ready in time is
        ended and marked `failed`. Published ports need network policy egress+published-ports; they listen on
        127.0.0.1 unless you give ADDRESS:HOST:GUEST, and close with the service.

        Args:
            name: Service name.
            command: Shell command line, run by bash.
            cwd: Working directory. At most 4096 characters.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            ready_file: Ready when this file exists. At most 4096 characters.
            ready_tcp: Ready when this port, 1 to 65535, accepts connections.
            ready_http: Ready when PORT/path answers with a status below 400.
            ready_command: Ready when this command succeeds. At most 65536 characters.
            ready_timeout_seconds: Seconds it may take to get ready, at most 3600.
            publish: Ports to publish on the user's computer: GUEST (picks a free one) or HOST:GUEST. At
                most 32 entries.
            wait_seconds: Seconds to wait until it is ready, 0 to 50.

        Returns:
            Service: A long-lived process with a name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: A service with this name is running, its port is taken, or the workspace is stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no shell for a command line.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def list_services(
        self,
    ) -> ServiceList:
        """List a workspace's services and their states.

        Returns:
            ServiceList:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def status_service(
        self,
        name: str | Service,
        *,
        wait_seconds: float = 0,
    ) -> Service:
        """Show a service's state.

        Args:
            name: Service name. Or the `Service`.
            wait_seconds: Seconds to wait while it starts, 0 to 50.

        Returns:
            Service: A long-lived process with a name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or service.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def logs_service(
        self,
        name: str | Service,
        *,
        tail: int = 200,
        offset: int | None = None,
        grep: str | None = None,
        wait_seconds: float = 0,
        max_output_bytes: int = 10000,
        raw: bool = False,
    ) -> ServiceLogs:
        """Read a service's output.

        Args:
            name: Service name. Or the `Service`.
            tail: The last lines, 1 to 10000.
            offset: First byte; use instead of the last lines.
            grep: Only lines that match this regex. At most 1000 characters.
            wait_seconds: Seconds to wait for more, 0 to 50.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.

        Returns:
            ServiceLogs:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or service.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def stop_service(
        self,
        name: str | Service,
        *,
        grace_seconds: float = 5,
    ) -> Service:
        """End a service and all its processes.

        Args:
            name: Service name. Or the `Service`.
            grace_seconds: Seconds from TERM to KILL, 0 to 40.

        Returns:
            Service: A long-lived process with a name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or service.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def open_shell(
        self,
        command: str | list[str] | None = None,
        *,
        cwd: str = '/workspace',
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        rows: int = 30,
        cols: int = 120,
    ) -> Shell:
        """Open a terminal that persists across calls, running an interactive bash or a command.

        Args:
            command: Shell command line, run by bash.
            cwd: Working directory. At most 4096 characters.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            rows: 1 to 500.
            cols: 1 to 500.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no shell.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def read_shell(
        self,
        shell: str | Shell,
        *,
        cursor: int | None = None,
        plain: bool = False,
        max_bytes: int = 16384,
        wait_for_idle_ms: int = 300,
        wait_for: str | None = None,
        wait_seconds: float = 30,
    ) -> ShellOutput:
        """Read a shell's output.

        Args:
            shell: From shell_open. At most 64 characters. Or the `Shell`.
            cursor: From the last result; returns only what is new since then.
            plain: As a person sees it: without control sequences, the screen and what scrolled off.
            max_bytes: 200 to 65536.
            wait_for_idle_ms: Wait until nothing is printed for this many ms, 0 to 10000.
            wait_for: Wait until what is new matches this regex. At most 1000 characters.
            wait_seconds: Seconds to wait for wait_for, 0 to 50.

        Returns:
            ShellOutput: What a shell printed from a cursor on, raw or as the screen that a person would
            see.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def write_shell(
        self,
        shell: str | Shell,
        text: str,
        *,
        enter: bool = False,
    ) -> Shell:
        """Type into a shell; then read from the returned cursor.

        Args:
            shell: From shell_open. At most 64 characters. Or the `Shell`.
            text: Keys, such as ls or \\u0003 for Ctrl-C.
            enter: Press Enter after it.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The shell has ended, or its program is not reading input.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def signal_shell(
        self,
        shell: str | Shell,
        signal: Literal['HUP', 'INT', 'QUIT', 'TERM', 'KILL', 'TSTP', 'CONT'] = 'INT',
    ) -> Shell:
        """Send a signal to a shell's foreground program.

        Args:
            shell: From shell_open. At most 64 characters. Or the `Shell`.
            signal: Signal for the foreground program. One of HUP, INT, QUIT, TERM, KILL, TSTP, CONT.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The shell has ended.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def resize_shell(
        self,
        shell: str | Shell,
        *,
        rows: int,
        cols: int,
    ) -> Shell:
        """Change a shell's size.

        Args:
            shell: From shell_open. At most 64 characters. Or the `Shell`.
            rows: 1 to 500.
            cols: 1 to 500.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The shell has ended.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def close_shell(
        self,
        shell: str | Shell,
    ) -> Shell:
        """End a shell and everything running in it.

        Args:
            shell: From shell_open. At most 64 characters. Or the `Shell`.

        Returns:
            Shell: A terminal in the workspace that outlives calls.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace, or no such shell.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def save_environment(
        self,
        name: str,
        *,
        overwrite: bool = False,
    ) -> Environment:
        """Save a workspace's root file system, with everything installed in it, as an environment.

        /workspace, /tmp and /run are left out, as are the machine's own names and certificates. If a changed file
        contains a secret's value, nothing is saved. Programs keep running; what they write meanwhile may be saved in
        part.

        Args:
            name: Letters, digits, ._-; at most 64.
            overwrite: Replace a saved environment of this name.

        Returns:
            Environment: A root file system by name.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The name is taken, the value of a secret would be saved, or the workspace is stopped.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def status(
        self,
    ) -> AsyncWorkspace:
        """Show a workspace's state and what is running.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def update(
        self,
        *,
        name: str | None = None,
        clear_name: bool = False,
        labels: dict[str, str] | None = None,
        clear_labels: list[str] | None = None,
        ttl_seconds: int | None = None,
        clear_ttl: bool = False,
        lifetime_seconds: int | None = None,
        clear_lifetime: bool = False,
        network_policy: Literal['off', 'ask', 'egress', 'egress+published-ports'] | None = None,
        allow_domains: list[str] | None = None,
        allow_host_ports: list[str] | None = None,
        allow_addresses: list[str] | None = None,
        ssh_hosts: list[str] | None = None,
    ) -> AsyncWorkspace:
        """Change name or labels.

        From the command line and Python, also its time limits and its network. That takes effect at once: closing it
        ends open connections. Programs started before it was opened have no proxy variables.

        Args:
            name: Letters, digits, ._-; at most 64.
            clear_name: Remove the name.
            labels: Labels to set.
            clear_labels: Keys to remove.
            ttl_seconds: Delete when unused for this many seconds, 10 to 2592000.
            clear_ttl: Remove the idle limit.
            lifetime_seconds: Delete this many seconds after creation, 10 to 31536000.
            clear_lifetime: Remove the lifetime limit.
            network_policy: egress: public hosts only; ask: the user approves each. One of off, ask, egress,
                egress+published-ports.
            allow_domains: More hosts that egress may reach. At most 256 entries.
            allow_host_ports: PORT or PORT:NAME: a loopback port of this computer, reached as
                host.pyro.internal:PORT. At most 64 entries.
            allow_addresses: ADDRESS or ADDRESS:PORT: a host on this computer's network. At most 64 entries.
            ssh_hosts: HOST, USER@HOST, with :PORT: a server where your ssh keys log in, from outside. At
                most 16 entries.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The name is taken.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def delete(
        self,
    ) -> Deleted:
        """Delete a workspace and everything in it.

        Returns:
            Deleted: A workspace that is gone.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def reset(
        self,
        snapshot: str | None | Snapshot = None,
    ) -> AsyncWorkspace:
        """Put the machine back to its baseline: files, memory, processes.

        With `last`, a fresh machine gets the files as they were at the last checkpoint (see rewind), also where the
        old one is lost; `notes` says what is missing.

        Args:
            snapshot: Instead of the baseline. last: the files of the last checkpoint. At most 64
                characters. Or the `Snapshot`.

        Returns:
            Workspace: A workspace, as measured when the call was answered.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or snapshot.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            EngineError: The machine could not be restored.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def history(
        self,
        *,
        limit: int = 200,
        after: int | None = None,
        wait_seconds: float = 0,
    ) -> History:
        """Show what was done in a workspace, including network connections: when, by whom, how long, outcome.

        Args:
            limit: The newest events, 1 to 10000.
            after: Only what started or ended since this cursor from an earlier result.
            wait_seconds: Seconds to wait for an event, 0 to 50.

        Returns:
            History:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def push(
        self,
        path: str,
        *,
        dest: str = '/workspace',
        include_ignored: bool = False,
    ) -> Synced:
        """Copy a file or tree from the user's computer in, all or nothing.

        Args:
            path: Path on the user's computer. At most 4096 characters.
            dest: Below /workspace. At most 4096 characters.
            include_ignored: Also copy files that .gitignore excludes.

        Returns:
            Synced:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: A directory is in the way, or the workspace is stopped. Nothing was changed.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            HostError: This computer cannot read or write a file: no permission, or no space.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def export(
        self,
        path: str | None = None,
        *,
        output: str,
        patch: bool = False,
        overwrite: bool = False,
        include_git: bool = False,
        include_ignored: bool = False,
    ) -> Exported:
        """Copy a file, a tree or the diff to the user's computer. An existing directory receives it.

        Nothing is ever removed. Files are replaced only with `overwrite`, and kept in a backup that the result names. A
        directory never replaces a file, nor a file a directory. Files that git tracks in the user's project are not
        replaced: use `land` for these. Git repositories are left out, because their settings and hooks could run
        programs here. Ignored and tool-made files (node_modules, a venv) in a directory are left out and counted,
        unless you export that directory itself.

        Args:
            path: Path in the workspace; omit with `patch`. At most 4096 characters.
            output: Destination on the user's computer. At most 4096 characters.
            patch: Export the diff as a patch instead.
            overwrite: Replace existing files; a backup is kept.
            include_git: Also .git, without hooks and most settings.
            include_ignored: Include ignored and tool-made files.

        Returns:
            Exported:

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace or file.
            Conflict: Something stands in the way at `output`, or the workspace is stopped. Nothing was
                changed.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            HostError: This computer cannot read or write a file: no permission, or no space.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def land(
        self,
        branch: str,
        *,
        repo: str | None = None,
        message: str | None = None,
        include_ignored: bool = False,
    ) -> Landed:
        """Commit the workspace's changes to a branch of the git repository it was seeded from.

        Your work tree and index are not touched. Changes are merged three-way; on a conflict nothing is
        changed. An existing branch is first saved under a backup ref, and the command that undoes it is printed.

        Args:
            branch: Branch to commit on; created if missing.
            repo: The git repository; default: the one it was seeded from. At most 4096 characters.
            message: Commit message. At most 65536 characters.
            include_ignored: Include ignored and tool-made files.

        Returns:
            Landed: A workspace's changes as a commit of the user's repository.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The branch cannot be moved, or the value of a secret would be committed. Nothing was
                changed.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            HostError: This computer cannot read or write a file: no permission, or no space.
            ComponentMissing: git is not on this computer.
            EngineError: git failed; the message says how.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    def stream(
        self,
        command: str | list[str],
        *,
        cwd: str | None = None,
        session: str | None = None,
        background: bool = False,
        until: str | None = None,
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        stdin: str | None = None,
        timeout_seconds: float | None = None,
        max_output_bytes: int = 10000,
        raw: bool = False,
    ) -> AsyncExecStream:
        """Run a command and iterate over its output while it runs, however long it takes.

        Iterate over what comes back, which gives `Output` pieces; `result` is the command's outcome then.

        Args:
            command: Shell command line, run by bash.
            cwd: Default: /workspace, or the session's directory. At most 4096 characters.
            session: Any name; cd, export and functions persist across calls with the same name.
            background: Return a handle at once and let it run: servers, watchers.
            until: Wait only until this is ready: a port (8000), http://localhost:8000/path, file:PATH, or a
                regex in its output.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            stdin: Standard input, at most 1 MiB.
            timeout_seconds: Timeout in seconds, at most 86400. Default: 1800; in the background, 86400.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.

        Returns:
            The stream.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no bash, and the call needs one: a session, or a command line for
                it.
            DaemonUnavailable: The daemon cannot be started or reached.
        """

    async def run(
        self,
        command: str | list[str],
        *,
        cwd: str | None = None,
        session: str | None = None,
        background: bool = False,
        until: str | None = None,
        user: str | None = None,
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        stdin: str | None = None,
        timeout_seconds: float | None = None,
        max_output_bytes: int = 10000,
        raw: bool = False,
    ) -> ExecResult:
        """Run a command to its end, however long it takes.

        `exec` waits a while and gives a handle to a command that outlives the wait; this waits on.

        Args:
            command: Shell command line, run by bash.
            cwd: Default: /workspace, or the session's directory. At most 4096 characters.
            session: Any name; cd, export and functions persist across calls with the same name.
            background: Return a handle at once and let it run: servers, watchers.
            until: Wait only until this is ready: a port (8000), http://localhost:8000/path, file:PATH, or a
                regex in its output.
            user: Run as: name, uid or uid:gid. At most 256 characters.
            env: Environment variables.
            secret_env: Variable name to secret name. At most 64 entries.
            stdin: Standard input, at most 1 MiB.
            timeout_seconds: Timeout in seconds, at most 86400. Default: 1800; in the background, 86400.
            max_output_bytes: Bytes of output to return, 200 to 1048576.
            raw: Exact output, escape sequences included.

        Returns:
            ExecResult: One command's outcome, or its state so far when it still runs.

        Raises:
            InvalidInput: An argument is wrong. Nothing was changed.
            NotFound: There is no such workspace.
            Conflict: The workspace is stopped; start it first.
            MachineLost: The machine is gone; the message says why.
            GuestUnreachable: The machine is not answering; try again, or reset the workspace.
            Unsupported: The machine has no bash, and the call needs one: a session, or a command line for
                it.
            DaemonUnavailable: The daemon cannot be started or reached.
        """
