"""Which tests hold the cases that once failed: commands, memory and services (C), and patches (D). Each is there."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
HELD: dict[str, dict[str, tuple[str, ...]]] = {
    "C1 memory and its end": {
        "engine/test_limits.py": (
            "test_the_guest_sees_its_own_memory",
            "test_control_groups_tell_the_limit_where_the_kernel_does_not",
            "test_a_kill_for_memory_says_so_with_its_figures",
            "test_filling_shared_memory_or_any_file_system_in_memory_costs_the_writer_only",
        )
    },
    "C2 processes and disk": {
        "engine/test_crowds.py": ("test_a_bomb_costs_the_command_that_lit_it",),
        "engine/test_limits.py": ("test_a_workspace_cannot_fill_this_machines_disk",),
    },
    "C3 long command lines": {"engine/test_commands.py": ("test_a_command_line_of_any_length",)},
    "C4 what a person would have seen": {
        "engine/test_commands.py": ("test_the_answer_is_what_a_person_would_have_seen_and_the_log_keeps_the_bytes",),
        "unit/test_seen.py": ("test_nothing_that_acts_is_left_and_seeing_it_again_changes_nothing",),
    },
    "C5 habits of arguments": {
        "unit/test_habits.py": ("test_what_a_command_is_given", "test_nothing_is_lost_in_silence"),
        "faces/test_mcp_habits.py": ("test_a_model_with_the_habits_of_its_host_is_understood",),
    },
    "C6 input, Ctrl-C, terminals": {
        "faces/test_cli_input.py": (
            "test_input_from_a_pipe_or_a_file_is_passed_on",
            "test_ctrl_c_is_an_interrupt_first",
            "test_a_command_on_a_terminal_gets_one",
        )
    },
    "C7 links of image and seed": {
        "engine/test_inside.py": ("test_links_of_image_and_seed_have_no_attributes_rather_than_an_error",)
    },
    "C8 whose listener": {"engine/test_services.py": ("test_a_port_that_another_process_holds_is_said",)},
    "C9 servers on ::1": {"engine/test_services.py": ("test_a_server_is_ready_wherever_it_listens",)},
    "C10 searching logs": {
        "unit/test_pattern.py": (
            "test_two_megabytes_of_lines_cost_next_to_nothing",
            "test_however_busy_the_machine_is_the_clock_ends_it_as_well",
        )
    },
    "C11 switches, sudo, locales": {
        "engine/test_limits.py": ("test_switches_that_set_up_scripts_turn_can_be_turned",),
        "engine/test_inside.py": ("test_sudo_locales_and_the_places_of_manuals_are_there",),
    },
    "C12 manuals, sudo, late output": {
        "engine/test_inside.py": ("test_sudo_locales_and_the_places_of_manuals_are_there",),
        "engine/test_commands.py": ("test_a_background_child_does_not_hold_the_command",),
    },
    "C13 many processes": {
        # They are as slow as this gVisor is (docs/troubleshooting.md); what holds is that they come through.
        "engine/test_crowds.py": ("test_many_quiet_processes_run_on_until_they_are_cancelled_whole",)
    },
    "D1 which place": {
        "unit/test_patch_places.py": (
            "test_context_that_names_another_function_is_never_fuzz",
            "test_several_places_are_named_not_chosen",
            "test_offset_and_fuzz_are_reported",
        ),
        "unit/test_patch_stale.py": (
            "test_twins_of_which_none_is_named_for_sure",
            "test_fuzz_never_moves_a_change_into_another_block",
        ),
    },
    "D2 the forms": {
        "unit/test_patch_places.py": (
            "test_codex_updates_adds_deletes_and_moves",
            "test_codex_anchors_narrow_one_after_the_other",
        ),
        "unit/test_patch_stale.py": ("test_every_form_that_models_write",),
    },
    "D3 line ends": {
        "unit/test_patch_places.py": (
            "test_an_lf_patch_keeps_a_crlf_files_line_ends",
            "test_a_byte_order_mark_is_kept",
        )
    },
    "D4 white space, patches side by side": {
        "unit/test_patch_places.py": ("test_white_space_that_differs_is_made_visible",),
        "engine/test_files.py": ("test_patches_side_by_side_to_one_file_all_apply",),
    },
}


@cache
def names_in(file: str) -> set[str]:
    found = ast.parse((TESTS / file).read_text()).body
    return {node.name for node in found if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("case", HELD)
def test_each_case_is_held_by_tests_that_are_there(case: str) -> None:
    for file, names in HELD[case].items():
        assert set(names) <= names_in(file), (case, file)


def test_no_case_is_left_out() -> None:
    assert [case.split()[0] for case in HELD] == [*(f"C{n}" for n in range(1, 14)), *(f"D{n}" for n in range(1, 5))]
