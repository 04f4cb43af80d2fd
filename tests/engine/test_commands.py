"""Commands in a workspace: what an agent does most."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pyro_mcp.errors import InvalidInput, NotFound
from pyro_mcp.sdk import Pyro
from tests.support import SLOWNESS, slowness


def test_a_command_gives_output_status_and_error_apart(pyro: Pyro, workspace: str) -> None:
    result = pyro.exec_workspace(workspace, "echo out; echo err >&2; exit 3")
    assert (result.status, result.exit_code) == ("exited", 3)
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_a_list_is_run_as_it_is_and_a_line_by_the_shell(pyro: Pyro, workspace: str) -> None:
    assert pyro.exec_workspace(workspace, ["echo", "$HOME; *"]).stdout == "$HOME; *\n"
    assert pyro.exec_workspace(workspace, "echo $HOME").stdout == "/root\n"


def test_environment_working_directory_and_input_reach_the_command(pyro: Pyro, workspace: str) -> None:
    pyro.exec_workspace(workspace, "mkdir -p sub")
    result = pyro.exec_workspace(workspace, "pwd; echo $COLOUR; cat", cwd="sub", env={"COLOUR": "red"}, stdin="typed")
    assert result.stdout == "/workspace/sub\nred\ntyped"


def test_a_missing_program_or_directory_is_a_clear_error(pyro: Pyro, workspace: str) -> None:
    with pytest.raises(Exception, match="no-such-program"):
        pyro.exec_workspace(workspace, ["no-such-program"])
    with pytest.raises(Exception, match="nowhere"):
        pyro.exec_workspace(workspace, ["true"], cwd="/nowhere")
    assert pyro.exec_workspace(workspace, "no-such-program").exit_code == 127


def test_output_that_is_not_utf8_runs_once_and_is_replaced(pyro: Pyro, workspace: str) -> None:
    result = pyro.exec_workspace(workspace, r"echo run >> runs; printf '\xff\xfe\n'")
    assert result.stdout == "\ufffd\ufffd\n"
    assert pyro.exec_workspace(workspace, "wc -l < runs").stdout.strip() == "1"


def test_long_output_keeps_head_and_tail_and_counts_the_rest(pyro: Pyro, workspace: str) -> None:
    result = pyro.exec_workspace(workspace, "seq 1 200000", max_output_bytes=2000)
    assert result.stdout.startswith("1\n2\n")
    assert result.stdout.endswith("199999\n200000\n")
    assert result.stdout_bytes == 1288895
    assert 1_280_000 < result.omitted_bytes < result.stdout_bytes
    assert str(result.omitted_bytes) in result.stdout
    page = pyro.logs_workspace(workspace, handle=result.handle, offset=500_000, max_output_bytes=1000, raw=True)
    whole = "".join(f"{n}\n" for n in range(1, 200001))
    assert page.output == whole[500_000:501_000]
    assert page.next_offset == 501_000
    assert page.total_bytes == len(whole)
    assert pyro.logs_workspace(workspace, handle=result.handle, grep="^1999..$").matches == 100


def test_commands_that_end_while_others_begin_each_get_their_own_output_and_status(pyro: Pyro, workspace: str) -> None:
    def one(number: int) -> tuple[str, int | None]:
        said = pyro.exec_workspace(workspace, f"echo {number}; sleep 0.0{number % 7}; exit {number % 100}")
        return said.stdout, said.exit_code

    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(one, range(60)))
    assert found == [(f"{number}\n", number % 100) for number in range(60)]


def test_a_command_that_outlives_the_wait_comes_back_as_running(pyro: Pyro, workspace: str) -> None:
    begun = pyro.exec_workspace(
        workspace, "echo early; while [ ! -e go ]; do sleep 0.05; done; echo late", wait_seconds=0.3
    )
    assert begun.status == "running"
    assert begun.handle in begun.hint
    assert pyro.status_workspace(workspace).running_commands == [begun.handle]
    pyro.write_workspace_file(workspace, "go", "")
    done = pyro.logs_workspace(workspace, handle=begun.handle, wait_seconds=20)
    assert (done.status, done.exit_code, done.output) == ("exited", 0, "early\nlate\n")


def test_a_time_out_ends_the_command_and_leaves_the_agent(pyro: Pyro, workspace: str) -> None:
    result = pyro.exec_workspace(workspace, "echo begun; sleep 60", timeout_seconds=0.5 * SLOWNESS)
    assert (result.status, result.exit_code, result.stdout) == ("timed_out", 124, "begun\n")
    assert pyro.exec_workspace(workspace, "echo still here").stdout == "still here\n"
    assert "sleep" not in pyro.exec_workspace(workspace, "ps axo comm").stdout


def test_cancel_ends_the_whole_process_group(pyro: Pyro, workspace: str) -> None:
    begun = pyro.exec_workspace(workspace, "sleep 300 & sleep 301; wait", wait_seconds=0.2)
    record = pyro.cancel_workspace_exec(workspace, begun.handle)
    assert record.status == "cancelled"
    assert "sleep" not in pyro.exec_workspace(workspace, "ps axo comm").stdout


def test_three_commands_at_once_take_the_time_of_one(pyro: Pyro, workspace: str) -> None:
    order: list[str] = []

    def one(name: str) -> None:
        pyro.exec_workspace(
            workspace, f"touch {name}; while [ $(ls a b c 2>/dev/null | wc -l) -lt 3 ]; do sleep 0.02; done"
        )
        order.append(name)

    threads = [threading.Thread(target=one, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    # Each waits inside for the other two: done one after the other, this would never end.
    assert sorted(order) == ["a", "b", "c"]


def test_a_background_child_does_not_hold_the_command(pyro: Pyro, workspace: str) -> None:
    result = pyro.exec_workspace(workspace, "sleep 30 & echo started", timeout_seconds=20)
    assert (result.status, result.stdout) == ("exited", "started\n")
    assert result.duration_seconds < 15 * slowness()
    assert "holds its output open" in result.hint
    assert "holds its output open" in pyro.logs_workspace(workspace, handle=result.handle).hint
    # One that prints into a file holds nothing.
    assert pyro.exec_workspace(workspace, "sleep 30 > log 2>&1 & echo started").hint == ""


def test_output_is_streamed_while_the_command_runs(pyro: Pyro, workspace: str) -> None:
    stream = pyro.stream_exec_workspace(workspace, "echo first; while [ ! -e go ]; do sleep 0.05; done; echo second")
    pieces = iter(stream)
    # The first line is here while the command still waits for a file that only we make.
    assert next(pieces).data == b"first\n"
    pyro.write_workspace_file(workspace, "go", "")
    assert next(pieces).data == b"second\n"
    assert stream.result.exit_code == 0


def test_unknown_handles_and_empty_commands_are_refused(pyro: Pyro, workspace: str) -> None:
    with pytest.raises(NotFound, match="no command 'nope'"):
        pyro.logs_workspace(workspace, handle="nope")
    with pytest.raises(InvalidInput):
        pyro.exec_workspace(workspace, "  ")
    with pytest.raises(InvalidInput, match="wait_seconds"):
        pyro.exec_workspace(workspace, "true", wait_seconds=51)


def test_a_run_is_one_machine_and_then_gone(pyro: Pyro) -> None:
    result = pyro.run_in_vm("debian:12", "echo hi; id -u; cat /proc/sys/kernel/hostname")
    assert result.exit_code == 0
    assert result.stdout.startswith("hi\n0\n")
    assert not result.workspace_kept
    assert result.workspace not in {w.id for w in pyro.list_workspaces().workspaces}


def test_a_run_that_outlives_its_call_is_asked_for_by_its_handle(pyro: Pyro) -> None:
    begun = pyro.run_in_vm("debian:12", "sleep 1; echo done", wait_seconds=0.1)
    assert begun.workspace_kept
    done = pyro.run_in_vm(handle=begun.handle, wait_seconds=30)
    assert (done.stdout, done.workspace_kept) == ("done\n", False)
    assert done.workspace not in {w.id for w in pyro.list_workspaces().workspaces}


def test_history_tells_what_was_done_by_which_face(pyro: Pyro, workspace: str) -> None:
    pyro.exec_workspace(workspace, "echo remembered")
    with pytest.raises(NotFound):
        pyro.read_workspace_file(workspace, "missing.txt")
    events = pyro.history_workspace(workspace).events
    assert [e.operation for e in events] == ["create_workspace", "exec_workspace", "read_workspace_file"]
    assert [e.outcome for e in events] == ["ok", "ok", "error"]
    assert events[1].summary == "echo remembered"
    assert {e.face for e in events} == {"sdk"}
    assert "missing.txt" in (events[2].error or "")


BAR = r"""python3 -c 'import sys
for n in range(1, 2001): sys.stdout.write("\r\x1b[32mdone %d/2000\x1b[0m" % n)
print(flush=True); sys.stderr.write("\x1b]0;title\x07N\bNA\bA\n")'"""


def test_the_answer_is_what_a_person_would_have_seen_and_the_log_keeps_the_bytes(pyro: Pyro, workspace: str) -> None:
    result = pyro.exec_workspace(workspace, BAR)
    assert (result.stdout, result.stderr, result.omitted_bytes) == ("done 2000/2000\n", "NA\n", 0)
    assert result.stdout_bytes > 40_000
    logs = pyro.logs_workspace(workspace, handle=result.handle)
    # The two streams come through pipes of their own, so their order is not certain.
    assert "done 2000/2000\n" in logs.output and "NA\n" in logs.output
    assert logs.output.count("\n") == 2 and "\r" not in logs.output and "\x1b" not in logs.output
    assert logs.next_offset == logs.total_bytes == result.stdout_bytes + result.stderr_bytes
    raw = pyro.logs_workspace(workspace, handle=result.handle, raw=True, max_output_bytes=1 << 20)
    assert raw.output.count("\r") == 2000
    assert len(raw.output.encode()) == logs.total_bytes
    assert pyro.exec_workspace(workspace, BAR, raw=True).stdout.startswith("\r\x1b[32mdone 1/2000")
    stream = pyro.stream_exec_workspace(workspace, BAR)
    assert b"".join(piece.data for piece in stream).count(b"\r") == 2000
    assert stream.result.stdout == "done 2000/2000\n"


def test_a_command_line_of_any_length(pyro: Pyro, workspace: str) -> None:
    line = "data " * 30
    body = "".join(f"{i} {line}\n" for i in range(30_000))
    assert len(body) > 4 * 1024 * 1024
    long = f'cat > big <<\'END\'\n{body}END\nwc -l < big; echo "$0"; read x; echo "in: $x"; false; exit 7'
    done = pyro.exec_workspace(workspace, long, stdin="given\n", wait_seconds=50)
    assert (done.exit_code, done.stdout) == (7, "30000\n/bin/bash\nin: given\n"), done
    padded = ":" + " " * 200_000 + "\n"
    kept = pyro.exec_workspace(
        workspace, padded + "set -e; trap 'echo out' EXIT; ls /dev/fd | wc -l; false; echo never"
    )
    plain = pyro.exec_workspace(workspace, "set -e; trap 'echo out' EXIT; ls /dev/fd | wc -l; false; echo never")
    assert (kept.exit_code, kept.stdout) == (plain.exit_code, plain.stdout)
    with pytest.raises(InvalidInput, match="131071"):
        pyro.exec_workspace(workspace, ["echo", "x" * 200_000])
    assert pyro.exec_workspace(workspace, ["echo", "x" * 131_071]).exit_code == 0
    # As Codex runs it; $0 and the arguments behind the text are those of the list.
    script = f'a="{"x" * 200_000}"; echo ${{#a}} "$0" "$1"'
    for words in (["bash", "-lc", script], ["/bin/bash", "-e", "-o", "pipefail", "-c", script], ["sh", "-c", script]):
        done = pyro.exec_workspace(workspace, [*words, "zero", "one"])
        assert (done.exit_code, done.stdout) == (0, "200000 zero one\n"), done
    with pytest.raises(InvalidInput, match="variable BIG has 200000 bytes"):
        pyro.exec_workspace(workspace, "true", env={"BIG": "x" * 200_000})
    huge = "cat <<'END' | wc -c\n" + ("y" * 99 + "\n") * 104_858 + "END\n"
    done = pyro.exec_workspace(workspace, huge, wait_seconds=50)
    assert (done.exit_code, done.stdout) == (0, "10485800\n"), done


def test_a_line_of_plain_words_is_what_bash_makes_of_it_without_bash(pyro: Pyro, workspace: str) -> None:
    # Such lines run without a shell (agent/plain.go); `env` in front has bash do it. Both must come to the same.
    made = "mkdir -p bin sub && ln -s sub link && mkdir /usr/local/sbin/cat"
    made += "; for name in bin/show /usr/local/bin/shown; do"
    made += """ printf '#!/bin/sh\\necho "$0" "$@"; env | sort; pwd; exit 4\\n' > $name; chmod +x $name; done"""
    made += " && printf 'echo no format; exit 5\\n' > bin/plain && chmod +x bin/plain"
    assert pyro.exec_workspace(workspace, made).exit_code == 0
    without = ["true", "false", ":", "echo a  b", "echo", "pwd", "shown a --b=c", "bin/show x", "sh -c pwd"]
    by_bash = ["echo -n x", "./bin/plain", "bin/nosuch", "nosuch a", "sub", "cat bin/plain", "kill 1x", "pwd -P"]
    cases: list[tuple[str, str, dict[str, str], bool]] = []
    cases += [(line, "/workspace", {}, True) for line in without] + [
        (line, "/workspace", {}, False) for line in by_bash
    ]
    cases += [(line, cwd, {}, False) for line in ("shown", "pwd") for cwd in ("/workspace/link", "/workspace/sub/..")]
    cases += [
        ("shown", "/tmp", {"HOSTNAME": "other", "A": "b c"}, True),
        ("shown", "/workspace", {"BASH_ENV": "/workspace/bin/plain"}, False),
        ("shown", "/workspace", {"SHLVL": "7", "PWD": "/tmp", "LC_ALL": "C"}, False),
        ("shown", "/workspace", {"BASH_FUNC_shown%%": "() { echo function; }"}, False),
        ("shown", "/workspace", {"PATH": "bin:/bin"}, False),
    ]
    shell = ["/usr/bin/env", "/bin/bash", "-c"]
    wanted = [pyro.exec_workspace(workspace, [*shell, line], cwd=cwd, env=env) for line, cwd, env, _ in cases]
    # From here on, bash says that it ran.
    wrapped = (
        "cp /bin/bash /bin/real && printf '%s\\n' '#!/bin/real -p' '>>/tmp/ran' 'exec -a /bin/bash /bin/real \"$@\"'"
    )
    wrapped += " > /tmp/b && chmod +x /tmp/b && mv /tmp/b /bin/bash"
    assert pyro.exec_workspace(workspace, wrapped).exit_code == 0
    for (line, cwd, env, bare), want in zip(cases, wanted, strict=True):
        pyro.exec_workspace(workspace, ["rm", "-f", "/tmp/ran"])
        got = pyro.exec_workspace(workspace, line, cwd=cwd, env=env)
        ran = pyro.exec_workspace(workspace, ["test", "-e", "/tmp/ran"]).exit_code == 0
        assert (got.exit_code, got.stdout, got.stderr) == (want.exit_code, want.stdout, want.stderr), line
        assert ran is not bare, (line, cwd, env)
    # A place that commands see otherwise than the agent does.
    mounted = "mount -t tmpfs x /usr/local/bin && printf '#!/bin/sh\\necho mounted\\n' > /usr/local/bin/git"
    assert pyro.exec_workspace(workspace, f"{mounted} && chmod +x /usr/local/bin/git").exit_code == 0
    assert pyro.exec_workspace(workspace, "git").stdout == "mounted\n"
    assert "shown" in pyro.exec_workspace(workspace, "shown").stderr
    ended = pyro.exec_workspace(workspace, "sleep 50", timeout_seconds=0.3)
    assert (ended.status, ended.exit_code) == ("timed_out", 124)
