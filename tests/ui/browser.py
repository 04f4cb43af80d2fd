"""Debian's Chromium, driven by Playwright; where one of both is missing, tests skip and say which."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser")) if path), None)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of its own, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the PyPI package playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Debian's package chromium is not installed")
    # Its sandbox wants namespaces that root in a container has not; what it shows is this test's own.
    options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"] if os.geteuid() == 0 else ["--disable-gpu"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        try:
            yield browser
        finally:
            browser.close()
