"""A session about access for a while: three people of different rights, a broken glass, and proofs without a server.

``python -m local.demo_access`` in a local stack that runs (``keyturn up``, or ``KEEP=1 make demo``). Ana
may ask, bea and cleo may approve, and whatever gives access is a program with a login of its own. Each command is run
as a person runs it: as a program, with that person's login to the hub alone.
"""

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any, Final

import yaml
from rich.console import Console

from keyturn.cli.environment import home_directory
from keyturn.core.errors import KeyturnError, Unavailable
from local import environment
from local.demo_leak import show
from local.home import opened
from local.prepare import CONNECTION, POLICIES, READER, Hub, accounts_of_role, hub_of
from local.services import DATABASE_SECRET
from local.stack import Stack
from local.support.files import private_directory, write_private

PATIENCE: Final = 60.0
"""Seconds within which whatever gives access has to be ready."""
MOUNT: Final = "userpass"
ASKS, APPROVES, GIVES = "keyturn-requester", "keyturn-approver", "keyturn-granter"
GROUP: Final = "demo-oncall"
RIGHTS: Final = {"ana": ASKS, "bea": APPROVES, "cleo": APPROVES, "granter": GIVES}


class Failed(Exception):
    """Something in the session did not go as it should."""


@dataclass
class Session:
    """One session on a stack that is up. ``directory`` has its catalogue, the operator's file and what is proved."""

    console: Console
    stack: Stack
    directory: Path
    entities: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)
    """What ana was given last, to try it."""

    # --- what an administrator makes once

    def prepare(self) -> None:
        """The people, their rights and keys in the hub; the policy in the catalogue; who approves, in the file."""
        hub = hub_of(self.stack)
        accessor = mount_of(hub)
        for policy in {*RIGHTS.values()}:
            hub.client.sys.create_or_update_policy(policy, (POLICIES / f"{policy}.hcl").read_text())
        for name, policy in RIGHTS.items():
            self.enrol(hub, accessor, name, policy)
        identity = hub.client.secrets.identity
        identity.create_or_update_group_by_name(GROUP, member_entity_ids=[self.entities["ana"]])
        self.lay_out(str(identity.read_group_by_name(GROUP)["data"]["id"]))

    def enrol(self, hub: Hub, accessor: str, name: str, policy: str) -> None:
        """Let somebody log in, known by one name; who approves has a key that nobody else may sign with."""
        password, identity = secrets.token_urlsafe(16), hub.client.secrets.identity
        hub.client.auth.userpass.create_or_update_user(name, password, policies=[policy], mount_point=MOUNT)
        identity.create_or_update_entity_by_name(f"demo-{name}", metadata={})
        read = identity.read_entity_by_name(f"demo-{name}")["data"]
        self.entities[name] = read["id"]
        identity.create_or_update_entity_alias(name=name, canonical_id=read["id"], mount_accessor=accessor)
        answer = hub.client.auth.userpass.login(name, password, use_token=False, mount_point=MOUNT)
        self.tokens[name] = answer["auth"]["client_token"]
        if policy == APPROVES:
            hub.client.secrets.transit.create_key(key_of(name), key_type="ed25519")
            versions = hub.client.secrets.transit.read_key(key_of(name))["data"]["keys"]
            self.keys[name] = versions["1"]["public_key"]

    def lay_out(self, group: str) -> None:
        """The stack's catalogue with one policy more, and beside it the operator's file."""
        rmtree(self.directory, ignore_errors=True)
        private_directory(self.directory)
        copytree(environment.catalogue_directory(), self.directory / "catalogue")
        policy = {
            "paths": [DATABASE_SECRET],
            "subjects": {"groups": [group]},
            "credential": f"database/creds/{READER}",
            "maximum": "1h",
            "approvers": ["bea", "cleo"],
            "approvals": 2,
            "break_glass": True,
            "conditions": {"logins": [MOUNT], "login_within": "8h", "incident": "none"},
        }
        added = self.directory / "catalogue" / "access.yaml"
        role = accounts_of_role().model_dump(mode="json", exclude_none=True)
        engine = {CONNECTION: {"kind": "database", "target": "ml-postgres"}, READER: role}
        added.write_text(yaml.safe_dump({"hub": engine, "access_policies": {"oncall": policy}}))
        approvers = {
            name: {"entity": self.entities[name], "key": key_of(name), "public_key": key}
            for name, key in self.keys.items()
        }
        people = {"people": [f"auth/{MOUNT}"], "approvers": approvers}
        allowed = {"files": environment.files_of(self.stack), "approvals": people}
        write_private(self.directory / "policy.yaml", yaml.safe_dump(allowed))

    # --- commands

    def variables(self, name: str) -> dict[str, str]:
        """What a person's own machine has: where everything is, and their login."""
        return {
            **environment.inherited(),
            **environment.environment(self.stack),
            "KEYTURN_CATALOGUE": str(self.directory / "catalogue"),
            "KEYTURN_POLICY": str(self.directory / "policy.yaml"),
            "VAULT_TOKEN": self.tokens[name],
        }

    def run(self, name: str, *arguments: str, fails: bool = False) -> str:
        """Run a command as somebody, and show it. Raises Failed where it ends otherwise than it should."""
        self.console.print(f"  {name}$ keyturn {' '.join(map(quoted, arguments))}", style="dim", markup=False)
        done = self.call(self.variables(name), *arguments)
        if fails or done.returncode:
            show_lines(self, done.stderr)
        if (done.returncode != 0) is not fails:
            raise Failed(f"`keyturn {arguments[0]} {arguments[1]}` ended with {done.returncode}")
        return done.stdout

    def call(self, variables: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command, with an environment of its own."""
        command = [sys.executable, "-m", "keyturn.cli", *arguments]
        return subprocess.run(
            command, env=dict(variables), cwd=self.directory, capture_output=True, text=True, check=False
        )

    @contextmanager
    def giving(self) -> Iterator[None]:
        """`keyturn serve` with the granter's login, which gives and ends, as long as this lasts."""
        log = self.directory / "serve.log"
        command = [sys.executable, "-m", "keyturn.cli", "serve", "--only", "grants", "--listen", "127.0.0.1:0"]
        with log.open("w") as stream:
            process = subprocess.Popen(
                command, env=self.variables("granter"), cwd=self.directory, stdout=stream, stderr=subprocess.STDOUT
            )
        try:
            await_line(log, "runs here", process)
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)

    # --- the session

    def play(self) -> None:
        """Ask, approve, open, give back; break the glass and review it; prove both without any server."""
        approved = self.approval()
        broken = self.broken_glass()
        self.prove(approved, broken)

    def approval(self) -> str:
        """Ana asks, two others approve, she opens it once, and gives it back."""
        self.say("Ana is on call. She asks for half an hour; she can't approve it herself, nor can bea alone")
        purpose = ("--for", "30m", "--purpose", "a query hangs", "--ticket", "OPS-4711")
        request = self.asked(*purpose)
        self.run("ana", "access", "approve", request, "--yes", fails=True)
        self.run("bea", "access", "approve", request, "--yes")
        self.run("bea", "access", "approve", request, "--yes", fails=True)
        self.run("cleo", "access", "approve", request, "--yes")
        began = time.monotonic()
        user = self.opened(request)
        self.bold(
            f"the database lets her in as {user}, {time.monotonic() - began:.1f} s later, with all of her command"
        )
        self.say("The wrapping opened once: it can't be opened again, not even by her")
        self.run("ana", "access", "open", request, fails=True)
        self.run("ana", "access", "end", request)
        self.ended(user)
        return request

    def broken_glass(self) -> str:
        """Ana does without approval; it is told, ends, and is overdue until somebody else has signed a finding."""
        self.say("At night no one answers, and training is down: she breaks the glass")
        request = self.asked("--for", "30m", "--purpose", "training is down", "--break-glass")
        user = self.opened(request)
        self.run("bea", "access", "end", request)
        self.ended(user)
        self.say("The access has ended, and its record has not: it waits for another person's review")
        self.table("bea", "access", "list")
        finding = ("--finding", "two queries, both of the training job")
        self.run("ana", "access", "review", request, *finding, fails=True)
        self.run("bea", "access", "review", request, *finding)
        self.table("bea", "access", "list")
        return request

    def prove(self, *requests: str) -> None:
        """A file for each that holds with public keys alone: it is checked where no server can be reached."""
        self.say("In seven years an auditor asks. One file answers, with public keys and no server")
        signing = environment.inherited() | {"KEYTURN_HOME": str(self.stack.home)}
        for what in ("checkpoint", "key"):
            done = self.call(signing, "ledger", what)
            if done.returncode:
                raise Failed(f"`keyturn ledger {what}`: {done.stderr.strip()}")
        (self.directory / "ledger.key").write_text(done.stdout)
        nothing = environment.inherited() | {"KEYTURN_HOME": str(self.directory / "nowhere")}
        believed = [text for name, key in self.keys.items() for text in ("--approver", f"{name}={key}")]
        for request in requests:
            self.run("bea", "access", "prove", request, "--out", f"{request}.json")
            arguments = ("access", "check", f"{request}.json", "--public-key-file", "ledger.key", *believed)
            self.console.print(f"  auditor$ keyturn access check {request}.json ...", style="dim", markup=False)
            done = self.call(nothing, *arguments)
            show_lines(self, done.stdout + done.stderr)
            if done.returncode:
                raise Failed("the proof does not hold")

    # --- steps

    def asked(self, *arguments: str) -> str:
        """The name of what ana has asked for."""
        text = self.run("ana", "access", "request", DATABASE_SECRET, *arguments, "--json")
        return str(json.loads(text)["id"])

    def opened(self, request: str) -> str:
        """The database's account that ana was given, tried at once; its password is shown to nobody."""
        fields: dict[str, Any] = json.loads(self.run("ana", "access", "open", request, "--json"))["fields"]
        if not self.logs_in(fields):
            raise Failed("the database refuses what was given")
        self.given = fields
        return str(fields["username"])

    def ended(self, user: str) -> None:
        """See that the database refuses the account soon. Raises Failed where it does not."""
        began = time.monotonic()
        while self.logs_in(self.given):
            if time.monotonic() - began > PATIENCE:
                raise Failed(f"the database accepts {user} still")
            time.sleep(0.1)
        self.bold(f"the database refuses {user}, {time.monotonic() - began:.1f} s later")

    def logs_in(self, fields: Mapping[str, Any]) -> bool:
        """Whether the database lets this account in."""
        import psycopg2

        try:
            psycopg2.connect(
                host=self.stack.host("postgres"),
                port=self.stack.ports["postgres"],
                dbname="ml",
                user=fields["username"],
                password=fields["password"],
                sslmode="verify-full",
                sslrootcert=environment.ca_file(self.stack),
            ).close()
        except psycopg2.OperationalError:
            return False
        return True

    def table(self, name: str, *arguments: str) -> None:
        """A command, and what it shows."""
        show_lines(self, self.run(name, *arguments))

    def say(self, line: str) -> None:
        """A step, for the person watching."""
        self.console.print(f"\n[bold]▸[/bold] {line}")

    def bold(self, line: str) -> None:
        """What it came to."""
        self.console.print(f"  {line}", style="bold", markup=False)


def mount_of(hub: Hub) -> str:
    """The accessor of the auth method that people log in at; it is made where it is not there."""
    if f"{MOUNT}/" not in hub.client.sys.list_auth_methods()["data"]:
        hub.client.sys.enable_auth_method("userpass", path=MOUNT)
    return str(hub.client.sys.list_auth_methods()["data"][f"{MOUNT}/"]["accessor"])


def key_of(name: str) -> str:
    """The key in the hub that somebody signs with: it bears their entity's name."""
    return f"keyturn-approver-demo-{name}"


def quoted(text: str) -> str:
    """An argument as it is typed."""
    return f"'{text}'" if " " in text else text


def show_lines(session: Session, text: str) -> None:
    """What a command has shown, set apart, without where the hub is."""
    show(session, "\n".join(line for line in text.splitlines() if not line.startswith("using the hub")))


def await_line(log: Path, words: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a program has said that. Raises Unavailable where it ends, or does not."""
    deadline = time.monotonic() + PATIENCE
    while words not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise Unavailable("start", "keyturn serve", log.read_text()[-500:], f"See {log}")
        time.sleep(0.1)


def main() -> int:
    """Play it in the stack that runs; 0 where all of it went as it should, else 1."""
    console, home = Console(), home_directory()
    if not (home / "stack.json").exists():
        console.print("error: there is no local stack: run `keyturn up` first", style="red")
        return 1
    stack = opened(home)
    session = Session(console, stack, home / "access-demo")
    try:
        session.say("Once, by an administrator of the hub: three people, their rights and keys, and who gives access")
        session.prepare()
        with session.giving():
            session.play()
    except (Failed, KeyturnError) as error:
        console.print(f"error: {error}", style="red", markup=False)
        return 1
    console.print("\nAll of it went as it should.", style="bold green")
    return 0


if __name__ == "__main__":
    sys.exit(main())
