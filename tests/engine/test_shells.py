"""Shells: terminals that outlive calls, in a real machine."""

from __future__ import annotations

import re
import time

import pytest

from pyro_mcp.errors import Conflict, InvalidInput, NotFound
from pyro_mcp.models import ShellOutput
from pyro_mcp.sdk import Pyro
from tests.conftest import ENVIRONMENT
from tests.support import Installation, slowness, wait_until

PROMPT = r"[$#] $"


def opened(pyro: Pyro, workspace: str) -> str:
    """A shell at its prompt, with a short one."""
    shell = pyro.open_shell(workspace).shell
    pyro.read_shell(workspace, shell, wait_for=PROMPT, wait_for_idle_ms=0)
    typed(pyro, workspace, shell, "PS1='$ '; bind 'set enable-bracketed-paste off'", r"\$ $")
    return shell


def typed(pyro: Pyro, workspace: str, shell: str, line: str, until: str = r"\n\$ $") -> ShellOutput:
    """Type a line and read what came after it, until it matches."""
    cursor = pyro.write_shell(workspace, shell, line, enter=True).cursor
    return pyro.read_shell(workspace, shell, cursor=cursor, wait_for=until, wait_for_idle_ms=0)


def processes(pyro: Pyro, workspace: str) -> str:
    return pyro.exec_workspace(workspace, "ps axo pid,stat,args | grep -v 'ps axo'").stdout


def job(pyro: Pyro, workspace: str, shell: str, line: str, program: str) -> None:
    """Start what becomes the shell's foreground, and wait until it runs."""
    pyro.write_shell(workspace, shell, line, enter=True)
    wait_until(lambda: re.search(rf" {program}$", processes(pyro, workspace), re.MULTILINE) is not None)


def test_a_shell_keeps_its_state_between_calls_and_has_a_terminal(pyro: Pyro, workspace: str) -> None:
    shell = opened(pyro, workspace)
    typed(pyro, workspace, shell, "cd /etc; X=kept")
    said = typed(pyro, workspace, shell, "echo $X in $PWD; tty; stty size").output
    assert "kept in /etc\r\n/dev/pts/" in said
    assert "\r\n30 120\r\n" in said


def test_typing_at_once_after_opening_is_not_lost(pyro: Pyro, workspace: str) -> None:
    for _ in range(3):
        shell = pyro.open_shell(workspace).shell
        pyro.write_shell(workspace, shell, "echo $((6*7))", enter=True)
        # The end of the line need not be there yet.
        read = pyro.read_shell(workspace, shell, wait_for="^42$", wait_for_idle_ms=0)
        assert re.search(r"[\r\n]42", read.output), read
        pyro.close_shell(workspace, shell)


def test_a_command_in_a_terminal_ends_with_its_status(pyro: Pyro, workspace: str) -> None:
    shell = pyro.open_shell(workspace, "echo out; exit 7", rows=5, cols=40)
    read = pyro.read_shell(workspace, shell.shell, wait_for="never", wait_seconds=20)
    assert (read.output, read.status, read.exit_code) == ("out\r\n", "exited", 7)
    with pytest.raises(Conflict, match="ended with status 7"):
        pyro.write_shell(workspace, shell.shell, "more")
    with pytest.raises(Exception, match="no-such-program"):
        pyro.open_shell(workspace, ["no-such-program"])


def test_raw_reading_pages_by_cursor_and_cuts_no_character(pyro: Pyro, workspace: str) -> None:
    text = "aäé漢字🙂" * 200
    pyro.write_workspace_file(workspace, "text", text)
    shell = pyro.open_shell(workspace, ["cat", "text"]).shell
    pyro.read_shell(workspace, shell, wait_for="never", wait_seconds=20)
    pages, cursor = "", 0
    for _ in range(100):
        page = pyro.read_shell(workspace, shell, cursor=cursor, max_bytes=201)
        assert len(page.output.encode()) <= 201
        pages, cursor = pages + page.output, page.cursor
        if not page.hint:
            break
        assert f"cursor={cursor}" in page.hint
    assert pages == text
    with pytest.raises(InvalidInput, match="cursor"):
        pyro.read_shell(workspace, shell, cursor=cursor + 1)


def test_plain_shows_what_a_person_would_see(pyro: Pyro, workspace: str) -> None:
    script = (
        r"for p in 10 50 100; do printf '\rdone %3d%%' $p; done; echo;"
        r"printf '\033[1;31mred\033[0m \033]0;title\007plain\n';"
        r"printf 'wrong\033[5Dright\n'; printf 'one\ntwo\033[A\033[3Gx\n\n'; printf '漢字|\n'"
    )
    shell = pyro.open_shell(workspace, script).shell
    read = pyro.read_shell(workspace, shell, plain=True, wait_for="never", wait_seconds=20)
    assert read.output.splitlines() == ["done 100%", "red plain", "right", "onx", "two", "漢字|"]
    assert "\x1b" in pyro.read_shell(workspace, shell).output


def test_plain_with_a_cursor_gives_what_scrolled_since(pyro: Pyro, workspace: str) -> None:
    shell = opened(pyro, workspace)
    pyro.write_shell(workspace, shell, "seq 1 100", enter=True)
    first = pyro.read_shell(workspace, shell, plain=True, wait_for=r"^100\n\$ $")
    assert first.output.splitlines()[-101:] == [*map(str, range(1, 101)), "$"]
    pyro.write_shell(workspace, shell, "seq 201 300", enter=True)
    pyro.read_shell(workspace, shell, cursor=first.cursor, wait_for=r"^300\n\$ $", wait_for_idle_ms=0)
    second = pyro.read_shell(workspace, shell, plain=True, cursor=first.cursor).output.splitlines()
    assert second[-101:] == [*map(str, range(201, 301)), "$"]
    assert "50" not in second  # it had left the screen before
    screen = pyro.read_shell(workspace, shell, plain=True, cursor=pyro.read_shell(workspace, shell, plain=True).cursor)
    assert len(screen.output.splitlines()) == 30


def test_full_screen_programs_own_the_screen_and_give_it_back(pyro: Pyro, workspace: str) -> None:
    shell = opened(pyro, workspace)
    typed(pyro, workspace, shell, "seq 1 500 > numbers; echo before")
    pyro.write_shell(workspace, shell, "less numbers", enter=True)
    top = pyro.read_shell(workspace, shell, plain=True, wait_for="^29$")
    assert top.alternate_screen
    assert top.output.splitlines()[:29] == [str(n) for n in range(1, 30)]
    cursor = pyro.write_shell(workspace, shell, "G").cursor
    end = pyro.read_shell(workspace, shell, plain=True, cursor=cursor, wait_for="END")
    assert end.output.splitlines()[:29] == [str(n) for n in range(472, 501)]
    cursor = pyro.write_shell(workspace, shell, "q").cursor
    back = pyro.read_shell(workspace, shell, plain=True, cursor=cursor, wait_for=r"\$ $")
    assert not back.alternate_screen
    assert back.output.splitlines()[-3:] == ["before", "$ less numbers", "$"]


def test_a_curses_program_is_drawn_and_gets_keys_and_sizes(pyro: Pyro, workspace: str) -> None:
    program = """
import curses
def main(screen):
    while True:
        rows, cols = screen.getmaxyx()
        screen.erase(); screen.border(); screen.addstr(2, 4, f"{rows}x{cols} 漢字"); screen.refresh()
        if screen.getch() == ord("q"):
            return
curses.wrapper(main)
"""
    pyro.write_workspace_file(workspace, "screen.py", program)
    shell = pyro.open_shell(workspace, ["python3", "screen.py"], rows=10, cols=40).shell
    drawn = pyro.read_shell(workspace, shell, plain=True, wait_for="字")
    lines = drawn.output.splitlines()
    assert lines[0] == "┌" + "─" * 38 + "┐"
    assert lines[2][4:].startswith("10x40 漢字")
    cursor = pyro.resize_shell(workspace, shell, rows=12, cols=50).cursor
    again = pyro.read_shell(workspace, shell, plain=True, cursor=cursor, wait_for="12x50")
    assert again.output.splitlines()[0] == "┌" + "─" * 48 + "┐"
    pyro.write_shell(workspace, shell, "q")
    assert pyro.read_shell(workspace, shell, wait_for="never", wait_seconds=10).exit_code == 0


def test_idle_wait_has_a_cap_and_ends_with_the_shell(pyro: Pyro, workspace: str) -> None:
    shell = pyro.open_shell(workspace, "while :; do echo tick; sleep 0.02; done").shell
    before = time.monotonic()
    pyro.read_shell(workspace, shell, wait_for_idle_ms=300)
    assert time.monotonic() - before < 5.5 * slowness()  # the cap is 3 s; without one this never returns
    ended = pyro.open_shell(workspace, "exit 0").shell
    before = time.monotonic()
    pyro.read_shell(workspace, ended, wait_for_idle_ms=10_000)
    assert time.monotonic() - before < 8 * slowness()


def test_waiting_for_a_pattern_sees_only_what_is_new(pyro: Pyro, workspace: str) -> None:
    shell = opened(pyro, workspace)
    read = typed(pyro, workspace, shell, "echo a''lpha", "^alpha$")
    assert "alpha" in read.output
    late = pyro.read_shell(workspace, shell, cursor=read.cursor, wait_for="alpha", wait_seconds=0.2, wait_for_idle_ms=0)
    assert "alpha" not in late.output
    with pytest.raises(InvalidInput, match="regular expression"):
        pyro.read_shell(workspace, shell, wait_for="(")


def test_ctrl_c_ends_the_job_and_nothing_of_it_stays_in_the_input(pyro: Pyro, workspace: str) -> None:
    shell = opened(pyro, workspace)
    job(pyro, workspace, shell, "sleep 100", "sleep 100")
    cursor = pyro.write_shell(workspace, shell, "\u0003").cursor
    after = pyro.read_shell(workspace, shell, cursor=cursor, wait_for=r"\$ $")
    assert after.output == "^C\r\n$ "
    assert "sleep" not in processes(pyro, workspace)
    assert "x-x" in typed(pyro, workspace, shell, "echo x''-x").output


def test_signals_go_to_the_foreground_and_spare_the_shell(pyro: Pyro, workspace: str) -> None:
    shell = opened(pyro, workspace)
    for signal, said in (("INT", ""), ("QUIT", "Quit"), ("TERM", "Terminated"), ("KILL", "Killed"), ("HUP", "")):
        job(pyro, workspace, shell, "sleep 50 & sleep 100", "sleep 100")
        cursor = pyro.signal_shell(workspace, shell, signal).cursor  # type: ignore[arg-type]
        said_after = pyro.read_shell(workspace, shell, cursor=cursor, wait_for=r"\$ $", wait_for_idle_ms=0).output
        assert said in said_after
        running = processes(pyro, workspace)
        assert "sleep 100" not in running
        assert "sleep 50" in running  # a background job is not the foreground
        typed(pyro, workspace, shell, "kill %1; wait")
    # At the prompt the foreground is the shell itself, which takes INT as a new line.
    cursor = pyro.signal_shell(workspace, shell, "INT").cursor
    pyro.read_shell(workspace, shell, cursor=cursor, wait_for=r"\$ $", wait_for_idle_ms=0)
    assert "alive" in typed(pyro, workspace, shell, "echo ali''ve").output


def test_a_job_is_stopped_and_goes_on(pyro: Pyro, workspace: str) -> None:
    shell = opened(pyro, workspace)
    job(pyro, workspace, shell, "sleep 100", "sleep 100")
    cursor = pyro.signal_shell(workspace, shell, "TSTP").cursor
    assert "Stopped" in pyro.read_shell(workspace, shell, cursor=cursor, wait_for=r"\$ $").output
    assert re.search(r"T +sleep 100", processes(pyro, workspace))
    typed(pyro, workspace, shell, "fg", "^sleep 100$")
    cursor = pyro.write_shell(workspace, shell, "\u001a").cursor
    assert "Stopped" in pyro.read_shell(workspace, shell, cursor=cursor, wait_for=r"\$ $").output
    typed(pyro, workspace, shell, "bg")
    assert re.search(r"S +sleep 100", processes(pyro, workspace))
    alone = pyro.open_shell(workspace, ["sleep", "101"]).shell
    pyro.signal_shell(workspace, alone, "KILL")
    assert pyro.read_shell(workspace, alone, wait_for="never", wait_seconds=10).exit_code == 137


def test_a_new_size_is_seen_inside(pyro: Pyro, workspace: str) -> None:
    # A script, for bash at its prompt may look at its traps only with the next key.
    script = "trap 'echo changed; stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    shell = pyro.open_shell(workspace, ["bash", "-c", script]).shell
    pyro.read_shell(workspace, shell, wait_for="ready")
    cursor = pyro.resize_shell(workspace, shell, rows=40, cols=100).cursor
    read = pyro.read_shell(workspace, shell, cursor=cursor, wait_for="40 100", wait_seconds=10)
    assert "changed\r\n40 100" in read.output
    assert (pyro.write_shell(workspace, shell, "").rows, pyro.write_shell(workspace, shell, "").cols) == (40, 100)
    with pytest.raises(InvalidInput):
        pyro.resize_shell(workspace, shell, rows=0, cols=100)


def test_close_ends_everything_that_runs_in_it(pyro: Pyro, workspace: str) -> None:
    shell = opened(pyro, workspace)
    stubborn = "(trap '' HUP TERM; sleep 71; sleep 72) &"
    typed(pyro, workspace, shell, f"nohup sleep 73 >/dev/null 2>&1 & {stubborn} sleep 75 &")
    wait_until(lambda: all(f"sleep {n}" in processes(pyro, workspace) for n in (71, 73, 75)))
    job(pyro, workspace, shell, "sleep 76", "sleep 76")
    closed = pyro.close_shell(workspace, shell)
    assert closed.status != "running"
    wait_until(lambda: "sleep" not in processes(pyro, workspace))
    assert "in-terminal" not in processes(pyro, workspace)
    with pytest.raises(Conflict, match="Open a new one"):
        pyro.write_shell(workspace, shell, "ls")
    with pytest.raises(Conflict):
        pyro.signal_shell(workspace, shell, "INT")
    assert pyro.close_shell(workspace, shell).status == closed.status


def test_several_shells_at_once_are_apart(pyro: Pyro, workspace: str) -> None:
    shells = [opened(pyro, workspace) for _ in range(4)]
    for number, shell in enumerate(shells):
        pyro.write_shell(workspace, shell, f"V={number}; echo v''=$V", enter=True)
    for number, shell in enumerate(shells):
        read = pyro.read_shell(workspace, shell, wait_for=r"^v=\d$", wait_for_idle_ms=0)
        assert f"v={number}" in read.output
    with pytest.raises(NotFound, match=shells[3]):
        pyro.read_shell(workspace, "nope")
    exec_handle = pyro.exec_workspace(workspace, "true").handle
    with pytest.raises(NotFound, match="has no shell"):
        pyro.write_shell(workspace, exec_handle, "x")


def test_a_secret_is_masked_even_when_it_comes_in_pieces(pyro: Pyro) -> None:
    workspace = pyro.create_workspace(ENVIRONMENT, secrets={"token": "hunter2-secret"}).id
    script = "printf 'a:%s\\n' $T; printf hunter2; sleep 0.03; printf -- -secret; echo; echo end"
    shell = pyro.open_shell(workspace, script, secret_env={"T": "token"}).shell
    read = pyro.read_shell(workspace, shell, wait_for="never", wait_seconds=10)
    assert "hunter2" not in read.output
    assert read.output.endswith("end\r\n")
    plain = pyro.read_shell(workspace, shell, plain=True)
    assert "hunter2" not in plain.output


def test_a_flood_is_survived_and_can_be_stopped(pyro: Pyro, workspace: str) -> None:
    shell = opened(pyro, workspace)
    pyro.write_shell(workspace, shell, "yes flood", enter=True)
    page = pyro.read_shell(workspace, shell, max_bytes=65536, wait_for="(flood\r?\n){50}", wait_for_idle_ms=100)
    assert len(page.output) <= 65536
    assert pyro.exec_workspace(workspace, "echo fine").stdout == "fine\n"
    plain = pyro.read_shell(workspace, shell, plain=True, wait_for_idle_ms=0)
    assert plain.output.splitlines()[-2] == "flood"  # the last one may be in the middle of a line
    cursor = pyro.write_shell(workspace, shell, "\u0003").cursor
    read = pyro.read_shell(workspace, shell, cursor=cursor, wait_for=r"\$ $", wait_seconds=45, wait_for_idle_ms=0)
    wait_until(lambda: "yes flood" not in processes(pyro, workspace))
    assert read.status == "running"


def test_control_characters_and_noise_pass_both_ways(pyro: Pyro, workspace: str) -> None:
    shell = pyro.open_shell(workspace, "stty raw -echo; echo ready; head -c 3 | od -An -tx1").shell
    pyro.read_shell(workspace, shell, wait_for="ready")
    pyro.write_shell(workspace, shell, "\x00ä")
    assert "00 c3 a4" in pyro.read_shell(workspace, shell, wait_for="c3 a4").output
    noise = pyro.open_shell(workspace, "head -c 20000 /dev/urandom; printf '\\033c\\n'; echo end").shell
    assert pyro.read_shell(workspace, noise, plain=True, wait_for="end$", wait_seconds=10).output.endswith("end")
    with pytest.raises(InvalidInput):
        pyro.write_shell(workspace, opened(pyro, workspace), "\ud800")


def test_a_long_paste_arrives_whole(pyro: Pyro, workspace: str) -> None:
    lines = "".join(f"{number:06d} {'x' * 60}\r" for number in range(900))
    shell = pyro.open_shell(workspace, "stty -echo; echo ready; head -n 900 > pasted").shell
    pyro.read_shell(workspace, shell, wait_for="ready")
    pyro.write_shell(workspace, shell, lines)
    assert pyro.read_shell(workspace, shell, wait_for="never", wait_seconds=20).exit_code == 0
    pasted = pyro.read_workspace_file(workspace, "pasted", max_bytes=1 << 20).content
    assert pasted == lines.replace("\r", "\n")


def test_a_program_that_does_not_read_is_told_and_can_be_interrupted(pyro: Pyro, workspace: str) -> None:
    shell = pyro.open_shell(workspace, "stty raw -echo isig; echo ready; sleep 100; echo over").shell
    pyro.read_shell(workspace, shell, wait_for="ready")
    with pytest.raises(Conflict, match="is not reading its input"):
        for _ in range(6):
            pyro.write_shell(workspace, shell, "z" * 65536)
    pyro.signal_shell(workspace, shell, "KILL")
    assert pyro.read_shell(workspace, shell, wait_for="never", wait_seconds=10).exit_code == 137


def test_shells_outlive_the_daemon(fresh: Installation) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace(ENVIRONMENT).id
        shell = opened(pyro, workspace)
        typed(pyro, workspace, shell, "KEPT=yes; cd /etc")
        cursor = pyro.write_shell(
            workspace, shell, "while [ ! -e /go ]; do sleep 0.05; done; echo la''te", enter=True
        ).cursor
        fresh.kill_daemon()
        pyro.exec_workspace(workspace, "touch /go")
        late = pyro.read_shell(workspace, shell, cursor=cursor, wait_for="^late$")
        assert late.status == "running"
        said = typed(pyro, workspace, shell, "echo $KEPT $PWD; stty size").output
        assert "yes /etc\r\n30 120" in said
        pyro.resize_shell(workspace, shell, rows=20, cols=60)
        fresh.kill_daemon()
        assert pyro.write_shell(workspace, shell, "").cols == 60
        cursor = pyro.signal_shell(workspace, shell, "INT").cursor
        plain = pyro.read_shell(workspace, shell, plain=True)
        assert "yes /etc" in plain.output
        pyro.close_shell(workspace, shell)
        fresh.kill_daemon()
        assert pyro.read_shell(workspace, shell).status != "running"
