"""What comes after the first wait: which call is next, and what result comes out, however the output was cut up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.client.answers import Output, Result, Started
from pyro_mcp.client.following import WAIT_SECONDS, Following, follow
from pyro_mcp.operations import REGISTRY, Operation

EXEC, RUN, LOGS = REGISTRY["exec_workspace"], REGISTRY["run_in_vm"], REGISTRY["logs_workspace"]
PIECES = st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(min_size=1, max_size=40)), max_size=12)


def first(status: str) -> dict[str, Any]:
    return {"status": status, "handle": "c-1", "workspace": "w-1", "exit_code": None, "network": "kept"}


@given(calls=st.lists(PIECES, min_size=2, max_size=5))
def test_a_command_that_outlives_the_wait_is_whole(calls: list[list[tuple[Any, bytes]]]) -> None:
    following = Following(EXEC, {"command": "make", "max_output_bytes": 4096, "raw": True})
    seen = 0
    for number, pieces in enumerate(calls):
        step = following.next
        assert step is not None and step.streams and step.arguments["wait_seconds"] == WAIT_SECONDS
        if number:
            assert step.operation == LOGS
            assert step.arguments["offset"] == seen, "the next call begins at the first byte that has not come"
        for stream, data in pieces:
            following.saw(Output(stream, data))
            seen += len(data)
        last = number == len(calls) - 1
        started = following.took({**first("exited" if last else "running"), "exit_code": 3 if last else None})
        assert (started is not None) == (number == 0)
    step = following.next
    assert step is not None and not step.streams and step.operation == LOGS
    following.took(
        {"commands": [{"handle": "c-0", "duration_seconds": 1.0}, {"handle": "c-1", "duration_seconds": 61.5}]}
    )
    assert following.next is None
    result = following.result
    assert result is not None
    for name in ("stdout", "stderr"):
        said = b"".join(data for pieces in calls for stream, data in pieces if stream == name)
        assert result[f"{name}_bytes"] == len(said)
        assert result[name] == said.decode("utf-8", "replace")
    assert (result["status"], result["exit_code"], result["duration_seconds"]) == ("exited", 3, 61.5)
    assert result["network"] == "kept", "what only the first answer says stays"


@pytest.mark.parametrize("operation", [EXEC, RUN], ids=["exec", "run"])
def test_a_command_that_ends_within_the_wait_is_one_call(operation: Operation) -> None:
    following = Following(operation, {"command": "true"})
    assert following.took(first("exited")) is None
    assert following.next is None and following.result == first("exited")


def test_the_result_of_a_run_is_taken_by_its_handle() -> None:
    made: list[tuple[str, dict[str, Any]]] = []
    answers = iter([first("running"), first("running"), first("exited"), {"taken": True}])

    def events(operation: Operation, arguments: dict[str, Any]) -> Any:
        made.append((operation.name, arguments))
        yield Output("stdout", b"xy")
        yield Result(next(answers))

    def call(operation: Operation, arguments: dict[str, Any]) -> dict[str, Any]:
        made.append((operation.name, arguments))
        return next(answers)

    said = list(follow(events, call, RUN, {"command": "make", "max_output_bytes": 100}))
    assert [name for name, _ in made] == ["run_in_vm", "logs_workspace", "logs_workspace", "run_in_vm"]
    assert [arguments.get("offset") for _, arguments in made] == [None, 2, 4, None]
    assert made[-1][1] == {"handle": "c-1", "wait_seconds": WAIT_SECONDS, "max_output_bytes": 100}
    assert said == [
        Output("stdout", b"xy"),
        Started("c-1", "w-1"),
        Output("stdout", b"xy"),
        Output("stdout", b"xy"),
        Result({"taken": True}),
    ]
