"""``python -m deployments.screenshot``: pictures of the newest completed rotation and of the newest compliance report.

The rotation is as Prefect's UI shows it: that of PREFECT_API_URL, or else of the local stack, whose report it is, too
(`KEEP=1 make demo` leaves one running).
"""

import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from deployments.local import environment
from deployments.local.demo_watch import REPORTS, newest
from deployments.local.home import opened
from keyturn.cli.environment import home_directory
from keyturn.core.errors import KeyturnError, NotFound, Unavailable
from keyturn.core.outbound import is_loopback

FLOW: Final = "rotate-secret"


@dataclass(frozen=True)
class Picture:
    """Where it goes, and the part of the page that it shows, in pixels."""

    file: Path
    width: int
    height: int
    dark: bool = False


ROTATION: Final = Picture(Path("docs/images/rotate-secret.png"), 1400, 580, dark=True)
"""Down to the tabs: the run, its steps and its artifact."""

REPORT: Final = Picture(Path("docs/images/compliance-report.png"), 1200, 1500)
"""Down to the charts."""

PAGE_TIME: Final = 20_000
"""Milliseconds that the page believes to have passed when it is taken: it loads the graph, then settles."""

PATIENCE: Final = 90
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
QUIET: Final = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
)


def api_address() -> tuple[str, str | None]:
    """Where Prefect's API is, and the authority to trust it by; None for the public ones.

    Raises NotFound where neither the environment nor a local stack tells it.
    """
    variables = os.environ if "PREFECT_API_URL" in os.environ else environment.prefect(opened(home_directory()))
    return variables["PREFECT_API_URL"], variables.get("PREFECT_API_SSL_CERT_FILE")


def newest_run(api: str, ca_file: str | None) -> dict[str, Any]:
    """The latest completed run of the flow that promoted something. Raises NotFound, Unavailable."""
    query = {
        "sort": "START_TIME_DESC",
        "limit": 1,
        "flows": {"name": {"any_": [FLOW]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
        "task_runs": {"name": {"like_": "promote "}},
    }
    try:
        trusted = ssl.create_default_context(cafile=ca_file)
        answer = httpx.post(f"{api}/flow_runs/filter", json=query, timeout=10, verify=trusted)
        answer.raise_for_status()
    except httpx.HTTPError:
        hint = "Start the stack with `KEEP=1 make demo`, or set PREFECT_API_URL"
        raise Unavailable("ask", api, "Prefect does not answer", hint) from None
    runs: list[dict[str, Any]] = answer.json()
    if not runs:
        raise NotFound("find", FLOW, "no run of it has rotated anything yet", "Run `KEEP=1 make demo` first")
    return runs[0]


def browser() -> str:
    """A Chromium on the PATH. Raises NotFound."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise NotFound("find", "Chromium", "none is on the PATH", "On Debian and Ubuntu: apt-get install chromium")


def shoot(page: str, picture: Picture) -> None:
    """Write what the browser shows of ``page``; it reaches no other host. Raises Unavailable."""
    program, host = browser(), urlsplit(page).hostname or ""
    picture.file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="keyturn-browser-") as profile:
        command = [
            program,
            *QUIET,
            *(["--force-dark-mode"] if picture.dark else []),
            # Chromium's own sandbox does not work as root.
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            # Nor does it take a file with an authority; what answers on this machine was asked over checked TLS before.
            *(["--ignore-certificate-errors"] if is_loopback(host) else []),
            f"--user-data-dir={profile}",
            f"--host-resolver-rules=MAP * ~NOTFOUND{f', EXCLUDE {host}' if host else ''}",
            f"--window-size={picture.width},{picture.height}",
            f"--virtual-time-budget={PAGE_TIME}",
            f"--screenshot={picture.file.absolute()}",
            page,
        ]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
        except (subprocess.SubprocessError, OSError) as error:
            raise Unavailable("picture", page, f"the browser gave up ({type(error).__name__})", "Try again") from None


def main() -> int:
    """Take both pictures; 1 where one can't be taken."""
    try:
        api, ca_file = api_address()
        run = newest_run(api, ca_file)
        shoot(f"{api.removesuffix('/api')}/runs/flow-run/{run['id']}", ROTATION)
        page = newest(home_directory() / REPORTS)
        shoot(page.as_uri(), REPORT)
    except KeyturnError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for picture, shown in ((ROTATION, run["name"]), (REPORT, page.name)):
        sys.stdout.write(f"{picture.file}: {shown}, {picture.file.stat().st_size // 1024} KiB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
