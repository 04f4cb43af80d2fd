"""Questions to the user, and the file of what was decided."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import HostError
from pyro_mcp.network.decisions import MAX_BYTES, Decided, Decisions
from pyro_mcp.network.policy import EgressPolicy, Refused
from pyro_mcp.network.questions import MAX_OPEN, ONCE_SECONDS, STAYS_SECONDS, Question, Questions


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_one_question_for_all_who_wait_and_one_answer() -> None:
    async def play() -> None:
        clock, new = Clock(), list[Question]()
        questions = Questions(clock, ask_seconds=30)
        waiting = [asyncio.create_task(questions.ask("ws", "a.example", 443, "x", new.append)) for _ in range(5)]
        await asyncio.sleep(0)
        (question,) = questions.open()
        assert new == [question]
        questions.answer(question, "once")
        await asyncio.gather(*waiting)
        await questions.ask("ws", "a.example", 443, "x", new.append)  # for a while
        clock.now += ONCE_SECONDS + 1
        again = asyncio.create_task(questions.ask("ws", "a.example", 443, "x", new.append))
        await asyncio.sleep(0)
        questions.answer(questions.open()[0], "no")
        with pytest.raises(Refused, match="said no"):
            await again
        assert len(new) == 2 and not questions.open()

    asyncio.run(play())


def test_who_asked_before_takes_only_its_own_questions_along() -> None:
    """A workspace's network changes: what served it ends after the next has begun, and asks."""

    async def play() -> None:
        clock, before, after = Clock(), object(), object()
        questions = Questions(clock, ask_seconds=30)

        def ask(host: str, asker: object) -> asyncio.Task[None]:
            return asyncio.create_task(questions.ask("ws", host, 443, "x", lambda _: None, asker))

        old, both = ask("old.example", before), ask("both.example", before)
        await asyncio.sleep(0)
        new, again = ask("new.example", after), ask("both.example", after)
        await asyncio.sleep(0)
        questions.forget("ws", before)
        assert [question.host for question in questions.open()] == ["both.example", "new.example"]
        with pytest.raises(Refused, match="no longer open"):
            await old
        for question in questions.open():
            questions.answer(question, "once")
        await asyncio.gather(new, again, both)
        questions.forget("ws", before)
        await ask("new.example", after)
        assert not questions.open(), "what was allowed once is the next one's"
        questions.forget("ws", after)
        asked = ask("new.example", after)
        await asyncio.sleep(0)
        assert questions.open()
        asked.cancel()

    asyncio.run(play())


def test_nobody_answers_and_a_late_answer_holds_for_the_next_try() -> None:
    async def play() -> None:
        clock, new = Clock(), list[Question]()
        questions = Questions(clock, ask_seconds=0)
        with pytest.raises(Refused, match="has not answered"):
            await questions.ask("ws", "a.example", 443, "x", new.append)
        with pytest.raises(Refused, match="has not answered"):
            await questions.ask("ws", "a.example", 443, "x", new.append)
        questions.answer(questions.open()[0], "once")
        await questions.ask("ws", "a.example", 443, "x", new.append)
        assert len(new) == 1
        with pytest.raises(Refused):
            await questions.ask("ws", "b.example", 443, "x", new.append)
        clock.now += STAYS_SECONDS + 1
        assert questions.open() == []

    asyncio.run(play())


def test_questions_have_bounds_and_go_with_their_workspace() -> None:
    async def play() -> None:
        questions = Questions(Clock(), ask_seconds=1000)
        waiting = [
            asyncio.create_task(questions.ask("ws", f"n{i}.example", 443, "", lambda question: None))
            for i in range(MAX_OPEN + 5)
        ]
        other = asyncio.create_task(questions.ask("other", "n.example", 443, "", lambda question: None))
        done, _ = await asyncio.wait(waiting, timeout=0.1)
        assert len(done) == 5 and all(isinstance(task.exception(), Refused) for task in done)
        questions.forget("ws")
        assert all(isinstance(said, Refused) for said in await asyncio.gather(*waiting, return_exceptions=True))
        assert [question.workspace for question in questions.open()] == ["other"]
        other.cancel()

    asyncio.run(play())


def test_who_follows_hears_of_each_change() -> None:
    async def play() -> None:
        questions = Questions(Clock(), ask_seconds=1000)
        following = asyncio.create_task(questions.changed(1000))
        await asyncio.sleep(0)
        asking = asyncio.create_task(questions.ask("ws", "a.example", 443, "", lambda question: None))
        await following
        asking.cancel()

    asyncio.run(play())


def test_the_policy_asks_for_what_is_on_no_list() -> None:
    policy = EgressPolicy(("ok.example", "*.sub.example"), ask=True, never=("bad.example", "*.bad.example"))
    assert policy.check_host("OK.example.") == "ok.example" and policy.check_host("a.sub.example")
    for host, rule in {
        "other.example": "ask",
        "sub.example": "ask",
        "bad.example": "not_allowed",
        "x.bad.example": "not_allowed",
        "printer.local": "private",
        "localhost": "private",
    }.items():
        with pytest.raises(Refused) as refusal:
            policy.check_host(host)
        assert refusal.value.rule == rule, host
    with pytest.raises(Refused):
        EgressPolicy(ask=True).check_host("any.example")


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(st.lists(st.tuples(names, names, st.booleans()), max_size=8))
def test_decisions_come_back_from_the_file(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[str, str, bool]]
) -> None:
    path = tmp_path_factory.mktemp("decisions") / "network.toml"
    decisions = Decisions(path)
    meant: dict[tuple[str, str], bool] = {}
    for project, host, allow in made:
        decisions.add(project, host, allow=allow)
        meant[project, host] = allow
    for reader in (decisions, Decisions(path)):
        for (project, host), allow in meant.items():
            found = reader.of(project)
            assert (host in found.allow, host in found.never) == (allow, not allow)
        assert reader.of("\x00 nobody") == Decided()


def test_answers_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path / "network.toml")
    hosts = [f"n{number}.example" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda host: decisions.add("/p", host, allow=True), hosts))
    assert sorted(Decisions(decisions.path).of("/p").allow) == sorted(hosts)
    assert os.listdir(tmp_path) == ["network.toml"]


def test_a_slip_of_the_pen_opens_nothing_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "network.toml"
    decisions = Decisions(path)
    decisions.add("/p", "a.example", allow=True)
    good = path.read_text()
    strange = ('color = "red"\n' + good, good + 'mine = ["x"]\n', good + "#" * MAX_BYTES)
    for broken in (
        *strange,
        "[projects",
        "projects = 3",
        '[projects."/p"]\nallow = "a"',
        '[projects."/p"]\nallow = [1]',
        "\xff",
    ):
        path.write_bytes(broken.encode("latin-1"))
        assert decisions.of("/p") == Decided(("a.example",))
        with pytest.raises(HostError, match="cannot be read"):
            decisions.add("/p", "b.example", allow=True)
        assert path.read_bytes() == broken.encode("latin-1")
    path.write_text(good.replace("a.example", "c.example"))
    assert decisions.of("/p") == Decided(("c.example",))
    path.unlink()
    assert decisions.of("/p") == Decided()


def test_a_file_that_changed_is_read_again_whatever_its_time_says(tmp_path: Path) -> None:
    """As after a change of its owner or mode, or from a copy that keeps times."""
    path = tmp_path / "network.toml"
    decisions = Decisions(path)
    decisions.add("/p", "a.example", allow=True)
    assert decisions.of("/p") == Decided(("a.example",))
    before = path.stat()
    path.write_text(path.read_text().replace("a.example", "b.example"))
    while path.stat().st_ctime_ns == before.st_ctime_ns or path.stat().st_mtime_ns != before.st_mtime_ns:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert decisions.of("/p") == Decided(("b.example",))
