"""Where the manual's commands are typed: a directory, an environment, and a local stack that runs."""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import hvac

from local import environment
from local.home import Stack
from local.support.tls import certificate_in
from tests.cli.command import ROOT, surroundings
from tests.support.hooks import eventually

PATIENCE: Final = 120.0
"""Seconds that a command which runs on has until it is ready, and until it has ended."""


@dataclass
class Site:
    """A reader at a terminal. ``replaced`` are the words of the page that have other names here."""

    directory: Path
    env: dict[str, str]
    stack: Stack
    replaced: dict[str, str] = field(default_factory=dict)
    hidden: dict[str, Any] = field(default_factory=dict)
    """What one step of a page leaves for the next."""
    beside: ExitStack = field(default_factory=ExitStack)
    """What runs until all of the page is typed."""

    def here(self, line: str) -> str:
        """The line with the names that things have here; the longest word goes first."""
        for word in sorted(self.replaced, key=len, reverse=True):
            line = line.replace(word, self.replaced[word])
        return line

    def shell(self, line: str, **env: str) -> "subprocess.CompletedProcess[str]":
        """What came of a line that is typed."""
        given: Any = {"env": {**self.env, **env}, "cwd": self.directory, "stdin": subprocess.DEVNULL}
        return subprocess.run(
            ["bash", "-c", line], **given, capture_output=True, text=True, check=False, timeout=5 * PATIENCE
        )

    def does(self, line: str, **env: str) -> str:
        """What a step that the page takes for granted says; it succeeds."""
        done = self.shell(line, **env)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def runs_on(self, line: str, ready: str) -> None:
        """Run a command until it says that it is ready, and end it: it ends well."""
        log = self.directory / f"{secrets.token_hex(4)}.log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {line}"], env=self.env, cwd=self.directory, stdout=stream, stderr=stream
            )
        try:
            assert eventually(lambda: ready in log.read_text() or process.poll() is not None, PATIENCE), line
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(PATIENCE)
        assert (ready in log.read_text(), code) == (True, 0), f"{line}\n{log.read_text()}"

    def root(self, namespace: str = "") -> hvac.Client:
        """The stack's hub, with a token that may do everything."""
        hub = self.stack.hub
        return hvac.Client(url=hub.address, token=hub.root_token, namespace=namespace or None, verify=hub.ca_file)

    def as_root(self) -> None:
        """Whoever administers the hub sits at the terminal, and knows all places of the stack."""
        self.env |= environment.environment(self.stack) | {"VAULT_TOKEN": self.stack.hub.root_token}

    def alone(self, catalogue: Mapping[str, Any], **hub: Any) -> None:
        """A workspace of the page's own: a namespace of the hub that was set up for this catalogue, and no Prefect."""
        namespace = f"page-{secrets.token_hex(4)}"
        self.root().adapter.request("post", f"/v1/sys/namespaces/{namespace}")
        self.as_root()
        self.env |= {
            "VAULT_NAMESPACE": namespace,
            "PREFECT_API_URL": "http://127.0.0.1:9/api",
            "KEYTURN_CATALOGUE": str(self.catalogue(catalogue)),
            "KEYTURN_LEDGER": str(self.directory / "own" / "ledger.db"),
            "KEYTURN_LEDGER_NAME": namespace,
        }
        self.env.pop("KEYTURN_LEDGER_WITNESSES", None)
        self.hidden["namespace"] = namespace
        self.does("keyturn setup hub --apply --yes")

    def catalogue(self, data: Mapping[str, Any], name: str = "catalogue") -> Path:
        """A catalogue in the directory."""
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        (directory / "all.yaml").write_text(json.dumps(data))
        return directory

    def copy_of_example(self) -> Path:
        """The example's catalogue, which the page's commands may change."""
        self.does(f"cp -r {ROOT}/deployments/catalogue catalogue")
        self.env["KEYTURN_CATALOGUE"] = str(self.directory / "catalogue")
        return self.directory / "catalogue"

    def certificate(self) -> None:
        """A certificate for this machine, by the names that the pages have for it."""
        made = certificate_in(self.directory / "tls")
        self.replaced |= {"agent.pem": str(made.certificate), "agent.key": str(made.key)}
        self.replaced |= {"cert.pem": str(made.certificate), "key.pem": str(made.key)}

    def webhook_key(self, *names: str) -> None:
        """Keys that sign notices to these consumers, in the hub."""
        for name in names:
            key = {"key": "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU="}
            self.root().secrets.kv.v2.create_or_update_secret(f"webhooks/{name}", key, mount_point="keyturn")


@dataclass(frozen=True)
class Way:
    """How a line is typed that needs more than to be typed: lines that begin so, once, in the page's order."""

    begins: str
    ends: int = 0
    before: Callable[[Site], None] | None = None
    ready: str = ""
    """What a command says that runs on."""
    after: Callable[[Site, str], None] | None = None


@dataclass(frozen=True)
class Page:
    """A page whose commands are typed here: what is there before, and the lines that need more."""

    name: str
    prepare: Callable[[Site], None] | None = None
    ways: Sequence[Way] = ()


def type_page(page: Page, lines: Sequence[str], site: Site) -> None:
    """Type what the page says, in its order. Fails at the first line that does otherwise than it should."""
    with site.beside:
        if page.prepare:
            page.prepare(site)
        type_lines(page, lines, site)


def type_lines(page: Page, lines: Sequence[str], site: Site) -> None:
    """Type one line after the other, each in the way that the page names for it."""
    ways = list(page.ways)
    for line in lines:
        way = ways.pop(0) if ways and line.startswith(ways[0].begins) else Way("")
        if way.before:
            way.before(site)
        if way.ready:
            site.runs_on(site.here(line), way.ready)
            continue
        done = site.shell(site.here(line))
        typed = f"{page.name}: {line}\n{site.here(line)}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == way.ends, f"{done.returncode} instead of {way.ends}: {typed}"
        assert "Traceback" not in done.stderr, f"{line}\n{done.stderr}"
        if way.after:
            way.after(site, done.stdout + done.stderr)
    assert not ways, f"{page.name} has these lines no more: {[way.begins for way in ways]}"


def site_in(directory: Path, stack: Stack) -> Site:
    """A reader with an empty directory, and the stack that runs."""
    env = surroundings(stack.home, COLUMNS="100", XDG_STATE_HOME=str(directory / "state"), HOME=str(directory))
    env["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return Site(directory, env, stack)
