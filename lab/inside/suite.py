"""The engine test suite and the smokes, as gVisor runs them, on Firecracker."""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

HANG_SECONDS = 900
CORE = [
    f"tests/{place}"
    for place in (
        # Creating, seeding, identity, isolation.
        "engine/test_workspaces.py::test_a_git_work_tree_brings_tracked_and_untracked_files_and_its_history",
        "engine/test_workspaces.py::test_modes_symlinks_empty_directories_and_times_survive_seed_and_export",
        "engine/test_workspaces.py::test_reset_brings_back_files_and_ends_processes_under_the_same_id",
        "engine/test_workspaces.py::test_each_workspace_is_its_own_machine_with_its_own_identity",
        "engine/test_workspaces.py::test_network_off_has_no_way_out_and_no_other_interface",
        # Commands over vsock: streams, status, time-outs, cancelling.
        "engine/test_commands.py::test_a_command_gives_output_status_and_error_apart",
        "engine/test_commands.py::test_environment_working_directory_and_input_reach_the_command",
        "engine/test_commands.py::test_long_output_keeps_head_and_tail_and_counts_the_rest",
        "engine/test_commands.py::test_a_time_out_ends_the_command_and_leaves_the_agent",
        "engine/test_commands.py::test_cancel_ends_the_whole_process_group",
        "engine/test_commands.py::test_output_is_streamed_while_the_command_runs",
        # What changed on top of the seed's drive.
        "engine/test_files.py::test_a_diff_shows_what_changed_and_git_applies_it",
        "engine/test_files.py::test_an_exported_patch_turns_the_seed_into_the_workspace",
        "engine/test_files.py::test_the_repro_fix_loop_with_patches",
        # The whole machine.
        "engine/test_snapshots.py::test_reset_to_a_snapshot_brings_back_the_whole_machine[firecracker-True]",
        "engine/test_snapshots.py::test_a_stopped_workspace_uses_no_memory_and_goes_on_where_it_was",
        # A service behind a published port, and what another daemon takes over.
        "engine/test_published_ports.py::test_a_client_that_ends_its_side_still_gets_the_whole_reply",
        "engine/test_crash.py::test_a_running_command_survives_the_daemon_and_loses_no_output",
        # A use case through the MCP server.
        "smokes/test_use_cases.py::test_the_use_case_holds_on_real_machines[firecracker-repro_fix_loop]",
    )
]


class Numbers:
    """Counts what happens, for `lab.all`, and says why a test fails at once: the computer may freeze before the end."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            print(f"\n{report.longreprtext[-4000:]}", flush=True)
            self.failed.append(report.nodeid if report.when == "call" else f"{report.nodeid} ({report.when})")
        elif report.skipped:
            reason: Any = report.longrepr
            self.skipped.append(f"{report.nodeid}: {reason[-1] if isinstance(reason, tuple) else reason}")
        elif report.when == "call":
            self.passed += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed.append(f"{report.nodeid} (collection)")


def main() -> int:
    faulthandler.dump_traceback_later(HANG_SECONDS, file=2)
    os.environ["PYTHONUNBUFFERED"] = "1"
    os.chdir("/payload")
    Path("/root/tmp").mkdir(exist_ok=True)
    os.environ["PYRO_TEST_SLOWNESS"] = "6"
    os.environ["PYRO_TEST_SHOW_LOG"] = "1"
    arguments = CORE if sys.argv[1:] == ["core"] else sys.argv[1:] or ["tests/engine", "tests/smokes"]
    # A colon-free way through the kernel's command line: + stands for :: and = for a space.
    arguments = [argument.replace("+", "::") for argument in arguments]
    # -vv, because pyproject has -q: one line for each test, as it ends.
    options = ["--engine=firecracker", "-vv", "--tb=short", "--durations=12", "--basetemp=/root/tmp/t"]
    options += ["-p", "no:cacheprovider", "-o", "faulthandler_timeout=240"]
    numbers = Numbers()
    status = pytest.main([*options, *arguments], plugins=[numbers])
    print("\nLAB-RESULT " + json.dumps(vars(numbers)), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
