"""The page in a real browser, with real workspaces behind: each view, two tabs, a restarted daemon, a hostile guest.

PYRO_SCREENSHOTS=DIR keeps a picture of each view at 1,280 and at 360 pixels; `docs/pictures` has them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import category

import pytest

from pyro_mcp.sdk import Pyro
from pyro_mcp.visible import acts
from tests.support import Installation, slowness
from tests.ui.browser import chromium
from tests.ui.looks import looked_at
from tests.ui.page import Served, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

SECONDS = 20
PICTURES = os.environ.get("PYRO_SCREENSHOTS")
HOSTILE = "<img src=x onerror=document.title=1>\u202egnp.exe\u200b</script><script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def page_of(installation: Installation) -> Iterator[Served]:
    with served() as page:
        yield page


@pytest.fixture
def context(browser: Browser, page_of: Served) -> Iterator[BrowserContext]:
    """A browser that followed the link. Whatever its pages complain about, or load from elsewhere, fails the test."""
    opened = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    opened.set_default_timeout(SECONDS * 1000 * slowness())
    complaints: list[str] = []
    opened.on("weberror", lambda error: complaints.append(str(error.error)))
    own = (page_of.origin, "data:image/png", "about:blank")
    opened.on("request", lambda r: complaints.append(r.url) if not r.url.startswith(own) else None)
    opened.on("console", lambda m: complaints.append(m.text) if "Security Policy" in m.text else None)
    first = opened.new_page()
    first.goto(page_of.link)
    first.get_by_role("heading", name="Workspaces").wait_for()
    assert "token" not in first.url
    yield opened
    opened.close()
    assert not complaints


def _tab(context: BrowserContext, page_of: Served, path: str = "/") -> Page:
    page = context.new_page()
    page.goto(page_of.origin + path)
    return page


def _picture(page: Page, name: str) -> None:
    """Looked at in all ways, and kept where PYRO_SCREENSHOTS says."""
    looked_at(page, name, keep=PICTURES)


def _with_a_fix(pyro: Pyro, project: Path) -> str:
    made = pyro.create_workspace("debian:12", seed_path=str(project), name="fix-add", network_policy="ask")
    pyro.edit_workspace_file(made.id, "src/calc.py", "a + b", "b + a")
    pyro.write_workspace_file(made.id, "notes.md", "# Notes\n\none\ntwo\n")
    pyro.exec_workspace(made.id, "python3 -B test_calc.py; ls --color=always")
    return made.id


def test_home_and_timeline_are_live(pyro: Pyro, project: Path, context: BrowserContext, page_of: Served) -> None:
    made = _with_a_fix(pyro, project)
    (fork,) = pyro.fork_workspace(made).workspaces
    home = context.pages[0]
    card = home.get_by_role("article", name="fix-add", exact=True)
    card.get_by_text("2 files").wait_for()
    below = home.locator("li > ul article")
    assert below.get_attribute("aria-label") == fork.name

    other = _tab(context, page_of, f"/w/{made}")
    other.get_by_text("passed").wait_for()  # output of what ended
    loop = 'i=0; while true; do i=$((i+1)); echo "line $i of \033[32mthe build\033[0m"; sleep 0.2; done'
    handle = pyro.exec_workspace(made, ["sh", "-c", loop], wait_seconds=0, timeout_seconds=600).handle
    card.get_by_text("busy", exact=True).wait_for()
    home.bring_to_front()
    card.locator(".last").get_by_text(re.compile("line .* of the build")).wait_for()
    other.bring_to_front()
    running = other.get_by_role("button", name=re.compile("while true"))
    running.click()
    other.get_by_role("log").get_by_text("line 12 of").wait_for()
    assert other.locator(".screen .fg2").first.text_content() == "the build"
    _picture(home, "home")
    _picture(other, "workspace")
    other.get_by_role("button", name="End the command").click()
    other.get_by_text("It cancelled.").or_(other.get_by_text("It was cancelled.")).first.wait_for()
    card.get_by_text("busy", exact=True).wait_for(state="detached")
    assert handle

    # Done from the page, by keys alone; the other tab sees it.
    home.bring_to_front()
    home.get_by_role("button", name=f"Delete {fork.name}").focus()
    home.keyboard.press("Enter")
    home.get_by_role("dialog").get_by_text("cannot be undone").wait_for()
    home.keyboard.press("Escape")
    assert home.evaluate("document.activeElement.dataset.act") == "delete"
    home.keyboard.press("Enter")
    home.get_by_role("dialog").get_by_role("button", name="Delete").press("Enter")
    below.wait_for(state="detached")
    assert fork.id not in {w.id for w in pyro.list_workspaces().workspaces}
    home.get_by_role("button", name="Stop fix-add").click()
    card.get_by_text("stopped", exact=True).wait_for()
    home.get_by_role("button", name="Start fix-add").click()
    home.get_by_role("button", name="Stop fix-add").wait_for()
    home.keyboard.press("/")
    home.keyboard.type("no such thing")
    home.get_by_text("0 of 1 workspaces").wait_for()


def test_review_lands_discards_and_notes(pyro: Pyro, project: Path, context: BrowserContext, page_of: Served) -> None:
    made = _with_a_fix(pyro, project)
    pyro.exec_workspace(made, "head -c 3000 /dev/urandom > blob.bin")
    review = _tab(context, page_of, f"/w/{made}/review")
    review.get_by_text("3 files changed").wait_for()
    review.get_by_text("A binary file").wait_for()
    assert review.locator("td.come mark, tr.come mark").first.text_content() == "b + a"
    review.get_by_label("Side by side").uncheck()
    _picture(review, "review")
    review.get_by_role("button", name="Comment on line 2").first.click()
    review.get_by_role("textbox", name="Note").fill("Why turned round?")
    review.get_by_role("button", name="Send").click()
    review.get_by_text("The agent gets the note").wait_for()
    review.get_by_role("button", name="Discard the changes of notes.md").click()
    review.get_by_role("dialog").get_by_role("button", name="Discard").click()
    review.get_by_text("2 files changed").wait_for()
    viewed = review.locator("details.file", has_text="src/calc.py").get_by_label("Viewed")
    viewed.check()
    review.reload()
    review.get_by_text("2 files changed").wait_for()
    assert review.locator("details.file", has_text="src/calc.py").get_attribute("open") is None
    blob = review.locator("details.file", has_text="blob.bin")
    blob.get_by_label("Viewed").check()
    pyro.exec_workspace(made, "head -c 3000 /dev/urandom > blob.bin")  # viewed is what it was
    review.reload()
    review.get_by_text("2 files changed").wait_for()
    assert review.locator("details.file", has_text="src/calc.py").get_attribute("open") is None
    assert blob.get_attribute("open") is not None

    review.get_by_role("button", name="Land as a branch").click()
    review.get_by_role("textbox", name="Branch").fill("turned")
    review.get_by_role("dialog").get_by_role("button", name="Land", exact=True).click()
    review.get_by_text("on turned of").wait_for()
    shown = subprocess.check_output(["git", "-C", str(project), "show", "turned:src/calc.py"], text=True)
    assert "b + a" in shown
    # Where it cannot land, the page says why and nothing is changed.
    git = ["git", "-C", str(project), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "checkout", "-q", "-b", "elsewhere"], check=True)
    (project / "src" / "calc.py").write_text("def add(a, b):\n    return sum((a, b))\n")
    subprocess.run([*git, "commit", "-qam", "otherwise"], check=True)
    subprocess.run([*git, "checkout", "-q", "main"], check=True)
    review.get_by_role("button", name="Land as a branch").click()
    review.get_by_role("textbox", name="Branch").fill("elsewhere")
    review.get_by_role("dialog").get_by_role("button", name="Land", exact=True).click()
    review.locator(".problem", has_text="src/calc.py").wait_for()


def test_what_a_guest_chose_is_text(pyro: Pyro, context: BrowserContext, page_of: Served) -> None:
    made = pyro.create_workspace("debian:12", name="hostile").id
    pyro.exec_workspace(
        made, ["sh", "-c", 'mkdir -p a; printf "%s\\n" "$1" > a/b; cp a/b "$2"', "sh", HOSTILE, "x<b>y\u202e.txt"]
    )
    pyro.exec_workspace(
        made,
        [
            "sh",
            "-c",
            'printf "%s\\033]0;owned\\007\\033[5000Cx\\033[31m\\n" "$1"; head -c 10000000 /dev/zero | tr "\\0" z',
            "sh",
            HOSTILE,
        ],
    )
    # Nothing that the command line writes out stays as it is, but for tabs and line ends.
    acting = [c for c in map(chr, range(0x110000)) if acts(ord(c)) and category(c) not in ("Cs", "Co")]
    acting = [*acting, "\ue000", "\uf8ff", "\U000f0000", "\U0010fffd"]
    safe = "async (all) => { const { safe } = await import('/static/dom.js'); return all.map((c) => safe(c)); }"
    kept = [c for c, shown in zip(acting, context.pages[0].evaluate(safe, acting), strict=True) if c in shown]
    assert kept == ["\t", "\n"]
    for path in ("", "/review", "/files"):
        page = _tab(context, page_of, f"/w/{made}{path}")
        page.get_by_text("onerror" if path != "/files" else "x<b>y").first.wait_for()
        if not path:
            page.get_by_role("button", name=re.compile("head -c")).click()
            page.get_by_text("more characters in this line").wait_for()
        text = page.evaluate("document.body.innerText")
        assert not re.search("[\u202e\u200b\x1b]", text)
        assert "\\u{202e}" in text
        assert page.locator("img, main script, b").count() == 0
        assert "owned" not in page.title() and page.title() != "1"
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        page.close()


def test_a_terminal_of_ones_own(pyro: Pyro, context: BrowserContext, page_of: Served) -> None:
    made = pyro.create_workspace("debian:12", name="typed").id
    page = _tab(context, page_of, f"/w/{made}/terminal")
    page.get_by_role("button", name="New terminal").click()
    lines = page.locator(".terminal")
    lines.get_by_text(re.compile("[#$]")).first.wait_for()
    keys = page.get_by_role("textbox", name=re.compile("Terminal"))
    keys.focus()
    page.keyboard.type("printf '\\033[1;31mred\\033[0m <b>%s</b>\\n' $((40+2)); stty size")
    page.keyboard.press("Enter")
    lines.get_by_text("red <b>42</b>").wait_for()
    assert lines.locator(".bold.fg1").first.text_content() == "red"
    assert page.locator("main b, main script").count() == 0
    rows, cols = map(int, re.findall(r"(?m)^(\d+) (\d+)$", lines.inner_text())[-1])
    assert rows > 10 and cols > 40
    # Characters that no key has, and several lines at once, which bash takes as pasted.
    page.keyboard.insert_text("echo h\u00e4\u65e5\u672c")
    page.keyboard.press("Enter")
    lines.get_by_text("h\u00e4\u65e5\u672c", exact=True).wait_for()
    paste = """(text) => { const data = new DataTransfer(); data.setData('text', text);
        document.getElementById('keys').dispatchEvent(new ClipboardEvent('paste', {clipboardData: data})); }"""
    page.evaluate(paste, "echo one-$((1+1))\necho two-$((1+2))\x1b[201~")
    page.keyboard.press("Enter")
    lines.get_by_text("two-3", exact=True).wait_for()
    # Marks within one another, and a Ctrl-C: the rest is pasted all the same, and nothing is run.
    page.evaluate(paste, "echo three-$((1+2)) \x1b[20\x1b[201~1~\x03\recho four-$((2+2))")
    lines.get_by_text("four-$((2+2))").wait_for()
    assert lines.get_by_text("four-4").count() == 0
    page.keyboard.press("Control+c")
    page.keyboard.type("(echo $((50+3)); exec sleep 300)")
    page.keyboard.press("Enter")
    lines.get_by_text("53", exact=True).wait_for()
    page.keyboard.press("Control+c")
    page.keyboard.type("echo st=$?.")
    page.keyboard.press("Enter")
    lines.get_by_text("st=130.", exact=True).wait_for()
    # What left the screen above can be scrolled to; a smaller window is a smaller terminal, for the program as well.
    page.keyboard.type("seq 1 300; printf '\\033]0;owned\\007\u202e'")
    page.keyboard.press("Enter")
    lines.get_by_text("299", exact=True).wait_for()
    assert lines.get_by_text("120", exact=True).count() == 1 and "\u202e" not in page.evaluate(
        "document.body.innerText"
    )
    _picture(page, "terminal")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.set_viewport_size({"width": 360, "height": 740})
    keys.focus()
    page.keyboard.type("clear")
    page.keyboard.press("Enter")
    for _ in range(50):
        page.keyboard.type("stty size")
        page.keyboard.press("Enter")
        lines.get_by_text(re.compile(r"^\d+ \d+$")).last.wait_for()
        said = re.findall(r"(?m)^(\d+) (\d+)$", lines.inner_text())  # none while it is drawn anew in its new size
        now = int(said[-1][1]) if said else cols
        if now < cols:
            break
        page.wait_for_timeout(100)
    assert 10 <= now < cols
    # Another tab has the same terminal; leaving it leaves the shell. The way out by keys is said.
    page.keyboard.press("Control+]")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"
    assert "leaves it" in page.locator("#leaves").inner_text()
    other = _tab(context, page_of, f"/w/{made}/terminal")
    other.locator(".terminal").get_by_text(re.compile(r"^\d+ \d+$")).first.wait_for()
    other.get_by_role("button", name="Close the terminal").click()
    other.get_by_text(re.compile("It ended|It was|It cancelled")).wait_for()
    assert pyro.status_workspace(made).shells == []


def test_forks_side_by_side_and_one_is_kept(
    pyro: Pyro, project: Path, context: BrowserContext, page_of: Served
) -> None:
    made = _with_a_fix(pyro, project)
    forks = pyro.fork_workspace(made, count=2).workspaces
    pyro.edit_workspace_file(forks[1].id, "src/calc.py", "b + a", "a - b")
    pyro.write_workspace_file(forks[1].id, "x<img src=x onerror=document.title=1>", f"{HOSTILE}\n")
    page = _tab(context, page_of)
    page.get_by_role("link", name="Compare fix-add with its forks").click()
    columns = page.get_by_role("article")
    columns.nth(2).wait_for()
    page.get_by_label("Check, run in each").fill("python3 -B test_calc.py")
    page.get_by_role("button", name="Run in each").click()
    for name, outcome in ((forks[0].name, "passed"), (forks[1].name, "status 1")):
        page.get_by_role("article", name=str(name), exact=True).locator(".badge", has_text=outcome).wait_for()
    bad = page.get_by_role("article", name=str(forks[1].name), exact=True)
    bad.get_by_text("AssertionError").wait_for()
    page.get_by_role("button", name=f"{forks[1].name} against the origin").click()
    page.get_by_text("From fix-add to").first.wait_for()
    difference = page.locator("details.file", has_text="src/calc.py")
    difference.get_by_text("a - b").wait_for()
    assert page.locator("main img, main script").count() == 0 and page.title() != "1"
    page.locator("details.file", has_text="onerror").first.wait_for()
    assert "\u202e" not in page.evaluate("document.body.innerText")
    _picture(page, "compare")
    page.get_by_role("button", name=f"Keep this one: {forks[0].name}").click()
    page.get_by_role("dialog").get_by_text("cannot be undone").wait_for()
    page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    page.get_by_text("fix-add is the one that was kept").wait_for()
    (kept,) = pyro.list_workspaces().workspaces
    assert (kept.id, kept.name) == (forks[0].id, "fix-add")
    files = _tab(context, page_of, f"/w/{kept.id}/files")
    files.get_by_role("button", name="test_calc.py").click()
    assert files.locator(".syntax-keyword").first.text_content() == "import"
    _picture(files, "files")


def test_the_daemon_may_be_killed_underneath(fresh: Installation, browser: Browser) -> None:
    with Pyro() as pyro, served() as page_of:
        made = pyro.create_workspace("debian:12", name="stays").id
        opened = browser.new_context()
        opened.set_default_timeout(SECONDS * 1000 * slowness())
        page = opened.new_page()
        page.goto(page_of.link)
        page.get_by_role("article", name="stays").wait_for()
        fresh.kill_daemon()
        page.get_by_text("The daemon does not run.").wait_for()
        pyro.update_workspace(made, name="goes-on")  # starts the next one
        page.get_by_role("article", name="goes-on").wait_for()
        page.get_by_text("The daemon does not run.").wait_for(state="detached")
        opened.close()


def test_questions_are_answered_live(pyro: Pyro, context: BrowserContext, page_of: Served) -> None:
    made = pyro.create_workspace("debian:12", name="asks", network_policy="ask").id
    fetch = "import urllib.request; urllib.request.urlopen('https://page.example.com/')"
    handle = pyro.exec_workspace(made, ["python3", "-c", fetch], wait_seconds=0).handle
    page = _tab(context, page_of, "/ask")
    card = page.get_by_role("article", name="page.example.com for asks")
    card.get_by_text("python3").wait_for()
    _picture(page, "ask")
    card.get_by_role("button", name="Never for the project").click()
    card.wait_for(state="detached")
    page.get_by_text("never for").wait_for()
    assert pyro.logs_workspace(made, handle, wait_seconds=30).status == "exited"
    page.get_by_role("button", name=re.compile("Forget page.example.com")).click()
    page.get_by_text("No decisions for projects yet.").wait_for()


def _busy(number: int, **more: Any) -> dict[str, Any]:
    """A workspace as the feed tells of it."""
    facts: dict[str, Any] = {"id": f"ws-{number:08x}", "name": f"name-{number}", "state": "running", "cause": None}
    facts |= {
        "environment": "debian:12",
        "engine": "gvisor",
        "network_policy": "off",
        "allow_domains": [],
        "secrets": [],
    }
    facts |= {
        "mem_mib": 1024,
        "disk_gib": 20,
        "forked_from": None,
        "expires_at": None,
        "expires_because": "",
        "seed": None,
    }
    facts |= {"created_at": "2026-11-27T10:00:00.000Z", "last_activity_at": f"2026-11-27T10:00:{number % 60:02}.000Z"}
    around = {"project": f"/p/{number % 20}", "trial": False, "running": [], "services": [], "changed_files": 1}
    return {"workspace": {**facts, **more}, **around, "memory_bytes": 1 << 20, "cpu_seconds": 1.0}


def _event(number: int) -> dict[str, Any]:
    event = {"sequence": number, "at": "2026-11-27T10:00:00.000Z", "face": "mcp", "operation": "exec_workspace"}
    event |= {"outcome": "ok", "duration_seconds": 0.1, "summary": "make", "error": None, "details": None}
    return {**event, "workspace": f"ws-{number % 500:08x}", "workspace_name": None}


def test_five_hundred_workspaces_cost_what_they_must(context: BrowserContext, page_of: Served) -> None:
    """In counts, which are the same on any machine: requests and elements."""
    whole = {"kind": "whole", "workspaces": [_busy(n) for n in range(500)], "events": [_event(n) for n in range(300)]}
    body = f"data: {json.dumps({**whole, 'questions': [], 'problem': None})}\n\n"
    page = context.new_page()
    asked: list[str] = []

    def answer(route: Any) -> None:
        asked.append(route.request.url)
        first = len(asked) == 1
        route.fulfill(status=200 if first else 401, content_type="text/event-stream", body=body if first else "")

    page.route("**/api/feed", answer)
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    page.goto(page_of.origin)
    page.locator("article").nth(499).wait_for(state="attached")
    page.locator("main:not(:has(article[aria-busy]))").wait_for(state="attached")
    elements = page.evaluate("document.querySelectorAll('*').length")
    assert elements < 500 * 60, elements
    files = [url for url in loaded if "/static/" in url]
    assert len(files) == len(set(files)) < 20, files
    page.unroute_all(behavior="ignoreErrors")
    page.close()


def test_colours_have_contrast_in_both_schemes() -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 for text, by the palette itself."""
    css = (Path(__file__).parents[2] / "src/pyro_mcp/ui/static/style.css").read_text()
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)
    )

    def brightness(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def ratio(one: str, other: str) -> float:
        low, high = sorted((brightness(one), brightness(other)))
        return (high + 0.05) / (low + 0.05)

    for palette in (light, {**light, **dark}):
        pairs: list[tuple[str, str]] = [("main", "on-main")]
        pairs += [
            (text, back) for text in ("text", "quiet", "link", "danger", "good", "busy") for back in ("back", "card")
        ]
        pairs += [("text", back) for back in ("come", "gone", "mark-come", "mark-gone", "hunk", "screen")]
        pairs += [("quiet", back) for back in ("hunk", "come", "gone")]
        found: dict[Any, float] = {(a, b): round(ratio(palette[a], palette[b]), 2) for a, b in pairs}
        assert min(found.values()) >= 4.5, found
