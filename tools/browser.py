"""A headless Chromium, driven by Playwright: that of Debian's packages, or an installed one."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Error, Page, sync_playwright

from keyturn.core.errors import Unavailable
from local.debian import Program
from local.programs import find_program

PACKAGE: Final = "chromium"
INSTALLED: Final = ("chromium-browser", "google-chrome")
"""Names of the program outside Debian."""
PATIENCE: Final = 60.0
"""Seconds for one answer of the browser, or until a page meets a condition."""


def chromium() -> Program:
    """The browser. Raises NotFound if this system can't have it, Unavailable if it can't be fetched now."""
    for name in INSTALLED if os.environ.get("CI") != "true" else ():
        if path := shutil.which(name):
            return Program(Path(path), None)
    return find_program(PACKAGE)


@dataclass
class Tab:
    """One page. ``complaints`` are errors of its scripts and policy, ``loaded`` every address it requested."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.loaded.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)

    def size(self, width: int, height: int, *, dark: bool = False, paper: bool = False) -> None:
        """Set the size of the window in pixels, the colour scheme and the medium."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.emulate_media(media="print" if paper else "screen", color_scheme="dark" if dark else "light")

    def go(self, address: str) -> None:
        """Open a page and wait until it is loaded. Raises Unavailable."""
        try:
            self.page.goto(address)
        except Error as error:
            raise Unavailable("open", address, error.message.splitlines()[0], "Check that it is served") from None

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        return self.page.evaluate(script)

    def wait(self, script: str, seconds: float = PATIENCE) -> None:
        """Wait until an expression is true in the page. Raises Unavailable."""
        # Playwright's own wait evaluates text in the page, which a strict policy of the page reports as an error.
        deadline = time.monotonic() + seconds
        while not self._holds(script):
            if time.monotonic() > deadline:
                raise Unavailable("wait for", script, f"it is not true after {seconds:g} s", "")
            time.sleep(0.05)

    def _holds(self, script: str) -> bool:
        try:
            return bool(self.run(script))
        except Error:
            # It was asked while another page was loading.
            return False

    def type(self, text: str) -> None:
        """Insert text into the element that has the focus."""
        self.page.keyboard.insert_text(text)

    def press(self, key: str) -> None:
        """Press and release one key."""
        self.page.keyboard.press(key)


@contextmanager
def opened_browser(host: str = "", *, distrust: bool = True) -> Iterator[Tab]:
    """A browser with one page that reaches ``host`` and no other. Raises NotFound, Unavailable.

    Chromium can't take an authority from a file: with ``distrust`` off it accepts any certificate, for servers of this
    machine whose certificate was checked before.
    """
    found = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found.path,
            env={**os.environ, **found.environment},
            # Chromium's own sandbox does not work as root.
            chromium_sandbox=os.geteuid() != 0,
            args=[f"--host-resolver-rules=MAP * ~NOTFOUND{f', EXCLUDE {host}' if host else ''}", "--lang=en-US"],
        )
        try:
            context = browser.new_context(ignore_https_errors=not distrust, locale="en-US")
            context.set_default_timeout(PATIENCE * 1000)
            yield Tab(context.new_page())
        finally:
            browser.close()
