"""``python -m tools.screenshot [NAME ...]``: take the pictures in docs/images, or these, from the running local stack.

`KEEP=1 make demo` leaves one running that has something to show: a rotation, an incident and a compliance report.
"""

import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from keyturn.cli.environment import home_directory
from keyturn.core.errors import KeyturnError, NotFound, Unavailable
from local import environment
from local.demo_watch import REPORTS, newest
from local.home import Stack, opened
from local.prepare import hub_of
from local.services import DATABASE_SECRET
from tools.browser import Tab, opened_browser
from tools.recording import record, svg

IMAGES: Final = Path("docs/images")
FLOW: Final = "rotate-secret"
PAGE: Final = "secret-" + DATABASE_SECRET.replace("/", "--")
"""The key of the artifact that tells of that secret."""
VIEWER: Final = "keyturn-viewer"
POLICIES: Final = Path("deployments/policies")
LISTENING: Final = "listening: "
PATIENCE: Final = 40.0
"""Seconds after which a page is taken as it is."""
TIMEOUT: Final = 120
"""Seconds for one command."""
ROTATE: Final = ("rotate", DATABASE_SECRET, "--now")
RECORDED: Final = IMAGES / "rotation.svg"


@dataclass(frozen=True)
class Picture:
    """One page as somebody sees it, in pixels; ``ready`` is true in it once everything is there."""

    name: str
    width: int
    height: int
    ready: str = "true"
    dark: bool = False
    settles: float = 2.0
    """Seconds for which nothing moves any more once everything is there."""

    @property
    def file(self) -> Path:
        """Where it goes."""
        return IMAGES / f"{self.name}.png"

    def take(self, tab: Tab, address: str) -> None:
        """Open the address and write what is seen. Raises Unavailable."""
        tab.size(self.width, self.height, dark=self.dark)
        tab.go(address)
        self.write(tab)

    def write(self, tab: Tab) -> None:
        """Write what is seen of the page that is open, once it is there and looks the same for some seconds."""
        tab.wait(self.ready)
        seen, at, until = b"", time.monotonic(), time.monotonic() + PATIENCE
        # A place to type in has a mark that blinks for good.
        while time.monotonic() < min(at + self.settles, until):
            if (now := tab.page.screenshot()) != seen:
                seen, at = now, time.monotonic()
            time.sleep(0.5)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_bytes(seen)


DRAWN: Final = "document.querySelector('canvas') && /is in force/.test(document.body.innerText)"
"""The steps are about to be drawn, and their sentences are there."""

CHOSEN: Final = """[...document.querySelectorAll("button")].some((each) => {
  const fits = each.textContent === "From catalogue";
  for (const kind of fits ? ["mousedown", "mouseup", "click"] : [])
    each.dispatchEvent(new MouseEvent(kind, {bubbles: true}));
  return fits;
})"""
"""Press what offers the catalogue's secrets; true once that is there."""

RUN: Final = Picture(
    "rotate-secret", 1400, 1300, "document.querySelector('canvas') && /is in force/.test(document.body.innerText)"
)
ARTIFACT: Final = Picture("secret-page", 1400, 1385, "document.querySelector('svg[aria-roledescription]')")
FORM: Final = Picture("emergency-revoke", 1400, 1000, "/Select/.test(document.body.innerText)")
FILE: Final = Picture("dashboard", 1400, 1240, "document.querySelectorAll('tbody tr').length > 1")
SIGN_IN: Final = Picture("dashboard-sign-in", 900, 370, "document.getElementById('token')")
SERVED: Final = Picture("dashboard-served", 1400, 1240, "document.querySelector('.signed-in')", dark=True)
REPORT: Final = Picture("compliance-report", 1200, 1500)
INCIDENT: Final = Picture("incident-report", 1200, 900)


@dataclass(frozen=True)
class Prefect:
    """Its API, and its newer UI."""

    stack: Stack

    def ask(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """What fits. Raises Unavailable."""
        variables = environment.prefect(self.stack)
        address = f"{variables['PREFECT_API_URL']}{path}"
        trusted = ssl.create_default_context(cafile=variables["PREFECT_API_SSL_CERT_FILE"])
        try:
            answer = httpx.post(address, json=query, timeout=30, verify=trusted)
            answer.raise_for_status()
        except httpx.HTTPError:
            hint = "Start the stack with `KEEP=1 make demo`"
            raise Unavailable("ask", address, "Prefect does not answer", hint) from None
        found: list[dict[str, Any]] = answer.json()
        return found

    def page(self, path: str) -> str:
        """A page's address."""
        return f"{self.stack.url('prefect-server')}/v2{path}"

    def rotation(self) -> str:
        """The latest run that promoted something of the database's secret."""
        runs = self.ask(
            "/flow_runs/filter",
            sort="START_TIME_DESC",
            limit=1,
            flows={"name": {"any_": [FLOW]}},
            flow_runs={"state": {"type": {"any_": ["COMPLETED"]}}, "name": {"like_": DATABASE_SECRET}},
            task_runs={"name": {"like_": "promote "}},
        )
        return self.page(f"/runs/flow-run/{the_one(runs, FLOW)['id']}")

    def artifact(self) -> str:
        """The newest page of that secret."""
        pages = self.ask("/artifacts/filter", sort="CREATED_DESC", limit=1, artifacts={"key": {"any_": [PAGE]}})
        return self.page(f"/artifacts/artifact/{the_one(pages, PAGE)['id']}")

    def form(self, name: str) -> str:
        """The form of a deployment."""
        found = self.ask("/deployments/filter", deployments={"name": {"any_": [name]}})
        return self.page(f"/deployments/deployment/{the_one(found, name)['id']}/run")


def the_one(found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The first of what was found. Raises NotFound."""
    if not found:
        raise NotFound("find", name, "there is none in this stack yet", "Run `KEEP=1 make demo` first")
    return found[0]


def keyturn(*arguments: str) -> str:
    """What a command writes. Raises Unavailable with its last words."""
    command = [sys.executable, "-m", "keyturn.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    if done.returncode:
        problem = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Unavailable("run", f"keyturn {' '.join(arguments)}", problem, "Run `KEEP=1 make demo` first")
    return done.stdout


def served_at(stack: Stack) -> str:
    """Where the stack's own ``keyturn serve`` listens, by its log. Raises NotFound."""
    log = stack.directory("serve") / "serve.log"
    lines = [line for line in log.read_text().splitlines() if line.startswith(LISTENING)] if log.exists() else []
    if not lines:
        raise NotFound("find", "keyturn serve", "its log does not say where it listens", "Run `KEEP=1 make demo` first")
    return lines[-1].removeprefix(LISTENING).split()[0]


@contextmanager
def viewers_token(stack: Stack) -> Iterator[str]:
    """A login that may see the page and nothing else, while the picture is taken."""
    client = hub_of(stack).client
    client.sys.create_or_update_policy(VIEWER, (POLICIES / f"{VIEWER}.hcl").read_text())
    made = client.auth.token.create(policies=[VIEWER], display_name="ana", ttl="5m")["auth"]
    try:
        yield str(made["client_token"])
    finally:
        client.auth.token.revoke_accessor(made["accessor"])


def in_prefect(stack: Stack) -> None:
    """A run, a secret's page, and the form of a revocation."""
    prefect = Prefect(stack)
    # Its certificate is the stack's own, and was checked when its API was asked.
    with opened_browser("127.0.0.1", distrust=False) as tab:
        RUN.take(tab, prefect.rotation())
        ARTIFACT.take(tab, prefect.artifact())
        tab.size(FORM.width, FORM.height)
        tab.go(prefect.form("emergency-revoke"))
        fill_form(tab)
        FORM.write(tab)


def fill_form(tab: Tab) -> None:
    """Say what has happened, and choose from the catalogue's secrets."""
    tab.wait("document.querySelector('textarea')")
    tab.run("document.querySelector('textarea').focus()")
    tab.type("leaked in a build log")
    tab.wait(CHOSEN)


def in_serve(stack: Stack) -> None:
    """What asks for a token, and what it opens."""
    with opened_browser("127.0.0.1") as tab, viewers_token(stack) as token:
        SIGN_IN.take(tab, f"{served_at(stack)}/sign-in")
        tab.size(SERVED.width, SERVED.height, dark=SERVED.dark)
        tab.run("document.getElementById('token').focus()")
        tab.type(token)
        tab.run("document.querySelector('form button').click()")
        SERVED.write(tab)


def of_files(stack: Stack) -> None:
    """The page of everything as a file, and both kinds of report."""
    with tempfile.TemporaryDirectory(prefix="keyturn-pictures-") as scratch, opened_browser() as tab:
        page = Path(scratch) / "keyturn.html"
        keyturn("dashboard", "--out", str(page))
        FILE.take(tab, page.as_uri())
        REPORT.take(tab, newest(stack.home / REPORTS).as_uri())
        incident = keyturn("incidents", "-o", "name").split()
        if not incident:
            raise NotFound("find", "an incident", "there is none in this stack yet", "Run `KEEP=1 make demo` first")
        keyturn("incidents", incident[0], "--report", scratch)
        INCIDENT.take(tab, (Path(scratch) / f"{incident[0]}.html").as_uri())


def in_terminal(_: Stack) -> None:
    """A rotation as its command prints it, with every step."""
    # The next rotation needs the account that the previous one left.
    keyturn("retire", DATABASE_SECRET, "--early")
    command = f"keyturn {' '.join(ROTATE)}"
    RECORDED.write_text(svg(command, record(ROTATE, TIMEOUT), f"Terminal: {command}, with a line for each step"))


ALL: Final[dict[Callable[[Stack], None], tuple[Path, ...]]] = {
    in_terminal: (RECORDED,),
    in_prefect: (RUN.file, ARTIFACT.file, FORM.file),
    in_serve: (SIGN_IN.file, SERVED.file),
    of_files: (FILE.file, REPORT.file, INCIDENT.file),
}
"""In this order: the recorded rotation is the run that the others show."""


def main(names: Sequence[str]) -> int:
    """Take all pictures, or those named and what is taken with them; 1 if one can't be taken."""
    try:
        known = sorted(file.stem for files in ALL.values() for file in files)
        if unknown := set(names) - set(known):
            raise NotFound("take", ", ".join(sorted(unknown)), "there is no such picture", f"Name {', '.join(known)}")
        stack = opened(home_directory())
        for take, files in ALL.items():
            if names and not {file.stem for file in files} & set(names):
                continue
            take(stack)
            for file in files:
                sys.stdout.write(f"{file}: {file.stat().st_size // 1024} KiB\n")
    except KeyturnError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
