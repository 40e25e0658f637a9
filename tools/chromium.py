"""A headless Chromium that looks at pages and takes pictures: an installed one, or that of Debian's packages.

It is told what to do through two pipes (the DevTools protocol, which no other program of the machine reaches so), and
loads nothing from anywhere but the host whose page it shows.
"""

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from keyturn.core.errors import KeyturnError, Unavailable
from local.debian import Program, program

PACKAGE: Final = "chromium"
INSTALLED: Final = ("chromium-browser", "google-chrome")
"""What others than Debian call it."""
PATIENCE: Final = 60.0
"""Seconds for one answer of the browser, or until a page has what is waited for."""
QUIET: Final = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--lang=en-US",
    "--remote-debugging-pipe",
)
PIPES: Final = (3, 4)
"""The descriptors that a browser reads from and writes to."""


def chromium() -> Program:
    """The browser. Raises NotFound where it can't be had on this system, Unavailable where it can't be fetched now."""
    for name in INSTALLED:
        if path := shutil.which(name):
            return Program(Path(path), None)
    found = program(PACKAGE, PACKAGE)
    if found.root is None:
        return found
    # What Debian starts it with knows one place alone, and it has libraries in a folder of their own.
    binary = found.root / "usr" / "lib" / "chromium" / "chromium"
    libraries = [*found.environment.get("LD_LIBRARY_PATH", "").split(os.pathsep)]
    libraries += map(str, found.root.glob("usr/lib/*-linux-*/pulseaudio"))
    return Program(binary, found.root, {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries))})


class Tab:
    """One page as somebody sees it. ``complaints`` are errors of its scripts and of its policy, ``loaded`` every
    address that it has asked for.
    """

    def __init__(self, wire: "Wire", session: str) -> None:
        self._wire = wire
        self._session = session
        self.complaints: list[str] = []
        self.loaded: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its result. Raises Unavailable."""
        return self._wire.call(method, parameters, self._session, self._hear)

    def size(self, width: int, height: int, *, scale: int = 1, dark: bool = False, paper: bool = False) -> None:
        """What the page believes to be shown on, in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="print" if paper else "screen", features=[scheme])

    def go(self, address: str) -> None:
        """Open it, and wait until it is there. Raises Unavailable."""
        if error := self.call("Page.navigate", url=address).get("errorText"):
            raise Unavailable("open", address, f"the browser says {error}", "Look whether it is served")
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """What an expression comes to in the page. Raises Unavailable where it fails there."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise Unavailable("run", "a script in the page", result["exceptionDetails"]["text"], "")
        return result["result"].get("value")

    def wait(self, script: str, seconds: float = PATIENCE) -> None:
        """Until an expression is true in the page. Raises Unavailable."""
        until = time.monotonic() + seconds
        while not self._holds(script):
            if time.monotonic() > until:
                raise Unavailable("wait for", script, f"it did not come within {seconds:.0f} s", "")
            time.sleep(0.1)

    def _holds(self, script: str) -> bool:
        try:
            # An element of the page would come as an empty object.
            return bool(self.run(f"Promise.resolve({script}).then(Boolean)"))
        except KeyturnError:
            return False  # the page goes, and another one comes

    def type(self, text: str) -> None:
        """Into what has the focus, as a person does."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int) -> None:
        """One key, and let it go."""
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code, "text": "\r" if key == "Enter" else ""}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def picture(self) -> bytes:
        """What is seen of it, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", optimizeForSpeed=False)["data"])

    def pdf(self) -> bytes:
        """As it is printed."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"])

    def _hear(self, event: dict[str, Any]) -> None:
        if event.get("sessionId") != self._session:
            return
        about = event["params"]
        match event["method"]:
            case "Network.requestWillBeSent":
                self.loaded.append(about["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(about["exceptionDetails"].get("exception", {}).get("description", "")))
            case "Log.entryAdded" if about["entry"]["level"] == "error":
                self.complaints.append(about["entry"]["text"])
            case "Runtime.consoleAPICalled" if about["type"] in ("error", "assert"):
                self.complaints.append(" ".join(str(given.get("value", "")) for given in about["args"]))


class Wire:
    """Commands to the browser and what it answers, each ended by a zero byte."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._numbers = itertools.count(1)
        self._heard = b""

    def call(self, method: str, parameters: dict[str, Any], session: str = "", hear: Any = None) -> dict[str, Any]:
        """One command's result; what the browser tells meanwhile is heard. Raises Unavailable."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        until = time.monotonic() + PATIENCE
        try:
            os.write(self._to, json.dumps(command).encode() + b"\0")
            while True:
                message = self._next(until - time.monotonic())
                if message.get("id") == number:
                    break
                if hear and "method" in message:
                    hear(message)
        except (OSError, TimeoutError) as error:
            raise Unavailable(
                "ask", "the browser", f"it has gone silent ({type(error).__name__})", "Try again"
            ) from None
        if "error" in message:
            raise Unavailable("ask", "the browser", f"{method}: {message['error'].get('message')}", "")
        result: dict[str, Any] = message["result"]
        return result

    def _next(self, seconds: float) -> dict[str, Any]:
        while b"\0" not in self._heard:
            if not select.select([self._from], [], [], max(0.0, seconds))[0]:
                raise TimeoutError
            if not (data := os.read(self._from, 1 << 20)):
                raise OSError("the browser has ended")
            self._heard += data
        text, _, self._heard = self._heard.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


@contextmanager
def opened_browser(host: str = "", *, distrust: bool = True) -> Iterator[Tab]:
    """A browser with one page, which reaches ``host`` and no other. Raises NotFound, Unavailable.

    Chromium takes no file with an authority: with ``distrust`` off it believes any certificate, for servers of this
    machine that were asked over checked TLS before.
    """
    found = chromium()
    with tempfile.TemporaryDirectory(prefix="keyturn-browser-", ignore_cleanup_errors=True) as profile:
        arguments = [
            str(found.path),
            *QUIET,
            # Chromium's own sandbox does not work as root.
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            *([] if distrust else ["--ignore-certificate-errors"]),
            f"--user-data-dir={profile}",
            f"--host-resolver-rules=MAP * ~NOTFOUND{f', EXCLUDE {host}' if host else ''}",
            "about:blank",
        ]
        with _started(arguments, {**os.environ, **found.environment, "HOME": profile}) as wire:
            target = wire.call("Target.createTarget", {"url": "about:blank"})["targetId"]
            session = wire.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
            yield Tab(wire, session)


@contextmanager
def _started(arguments: list[str], environment: dict[str, str]) -> Iterator[Wire]:
    """The browser as a process, and what leads to it; it is ended with all that it has begun."""
    (its_in, our_out), (our_in, its_out) = _apart(os.pipe()), _apart(os.pipe())
    silent = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    actions = [
        *((os.POSIX_SPAWN_DUP2, silent, number) for number in range(3)),
        *((os.POSIX_SPAWN_DUP2, ours, its) for ours, its in zip((its_in, its_out), PIPES, strict=True)),
    ]
    pid = os.posix_spawn(arguments[0], arguments, environment, file_actions=actions, setpgroup=0)
    for descriptor in (its_in, its_out, silent):
        os.close(descriptor)
    try:
        yield Wire(our_out, our_in)
    finally:
        os.close(our_out)
        os.close(our_in)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _apart(pair: tuple[int, int]) -> tuple[int, int]:
    """The same pipe under numbers that are none of those that the browser is given."""
    moved = tuple(fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, max(PIPES) + 1) for number in pair)
    for number in pair:
        os.close(number)
    return moved[0], moved[1]
