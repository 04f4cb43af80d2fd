"""How a view looks: whether axe-core finds fault with it, and whether it is as the picture in docs/pictures."""

from __future__ import annotations

import base64
import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

AXE = "4.14.1"
"""From npm, for tests only: nothing of it is in the wheel."""
PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
WIDTHS = ((360, 740), (1280, 800))
BLOCK = 16
"""Pixels: pictures are compared by the mean of blocks, so that a time of day or another number is no difference."""
APART = 28
"""Of 255: how far a block's mean may be from the picture's."""
DIFFERENT = 0.10
"""Of all blocks: what may be further apart. A panel that is gone, or elsewhere, is more."""
_COMPARE = """async ([one, other, block, apart]) => {
  const means = async (data) => {
    const image = new Image();
    image.src = `data:image/png;base64,${data}`;
    await image.decode();
    const canvas = document.createElement('canvas');
    canvas.width = Math.ceil(image.width / block); canvas.height = Math.ceil(image.height / block);
    const context = canvas.getContext('2d', { willReadFrequently: true });
    context.imageSmoothingQuality = 'high';
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return [image.width, image.height, context.getImageData(0, 0, canvas.width, canvas.height).data];
  };
  const [w, h, a] = await means(one), [v, g, b] = await means(other);
  if (w !== v || h !== g) return 1;
  let far = 0;
  for (let i = 0; i < a.length; i += 4) {
    if (Math.max(...[0, 1, 2].map((n) => Math.abs(a[i + n] - b[i + n]))) > apart) far += 1;
  }
  return far / (a.length / 4);
}"""
_AXE = """async () => {
  const found = await axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] });
  return found.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(' | ')}`);
}"""


@functools.cache
def axe() -> str | None:
    """The library's text; None where npm or its registry is out of reach."""
    base = Path(os.environ.get("PYRO_HOSTS_CACHE") or Path("~/.cache/pyro-hosts").expanduser())
    found = base / f"axe-core-{AXE}" / "node_modules" / "axe-core" / "axe.min.js"
    npm = shutil.which("npm")
    if not found.exists() and npm is not None:
        command = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"]
        command += ["--ignore-scripts", "--prefix", str(base / f"axe-core-{AXE}"), f"axe-core@{AXE}"]
        subprocess.run(command, capture_output=True, timeout=120, check=False)
    return found.read_text() if found.exists() else None


def looked_at(page: Page, name: str, *, keep: str | None = None) -> None:
    """At both widths, light and dark: nothing is wider than the window, nobody is kept out, and it looks as it did.

    `keep` is a directory for the pictures; else PYRO_COMPARE_PICTURES=1 compares them with those of docs/pictures.
    """
    problems: list[str] = []
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for width, height in WIDTHS:
            page.set_viewport_size({"width": width, "height": height})
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if wide > 0:
                problems.append(f"{name} is {wide} pixels wider than {width}")
            problems += _seen(page, f"{name}-{width}{'-dark' if scheme == 'dark' else ''}.png", keep)
        if (library := axe()) is not None:
            page.evaluate(library)
            problems += [f"{name}, {scheme}: {each}" for each in page.evaluate(_AXE)]
    assert not problems, "\n".join(problems)


def _seen(page: Page, name: str, keep: str | None) -> list[str]:
    if keep is not None:
        page.screenshot(path=str(Path(keep) / name))
        return []
    before = PICTURES / name
    if not os.environ.get("PYRO_COMPARE_PICTURES") or not before.exists():
        return []
    now: list[Any] = [base64.b64encode(each).decode() for each in (before.read_bytes(), page.screenshot())]
    blank = page.context.new_page()
    try:
        blank.goto("about:blank")
        different = blank.evaluate(_COMPARE, [*now, BLOCK, APART])
    finally:
        blank.close()
    return [f"{name}: {different:.0%} of it looks otherwise"] if different > DIFFERENT else []
