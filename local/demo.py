"""The demonstration: live credentials are rotated and synced to clouds and a cluster while applications use them.

``python -m local.demo [--verbose]``; with KEEP=1 the stack keeps running afterwards.
"""

import asyncio
import io
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import psycopg2
import requests
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from keyturn.cli.environment import home_directory
from keyturn.core.errors import KeyturnError, Unavailable
from keyturn.core.fingerprint import shown
from keyturn.providers.postgresql.target import refused_login
from keyturn.providers.vault.hub import VaultHub
from keyturn.rights.check import compare, paths_to_ask
from keyturn.rights.roles import LOGINS, needed
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from local import environment
from local.demo_leak import command, leak, show
from local.demo_watch import own_client, watch
from local.home import locked
from local.leak_scan import Finding, scan
from local.pager import Pager
from local.prepare import CONSUMERS, DATABASE, hub_of, prepare_stack
from local.services import DATABASE_SECRET
from local.stack import Stack, down, status, up
from local.support.cloud_rights import CLOUD_LOGINS, narrow_clouds
from local.support.files import write_private
from local.support.ports import free_port

SECRETS: Final = (DATABASE_SECRET, "ml-training/api-keys")
PREFIXES: Final = ("keyturn-", "consumer-")
"""How the names of the hub's policies begin: those of Keyturn's own logins, and one for each application."""
CHECKED_AT_ONCE: Final = 4
PATIENCE: Final = 240
"""Seconds that one flow run may take, its start by the worker included."""
TURNS: Final = 5
PAUSE: Final = 3
"""How often, and how many seconds apart, a run is asked for while another one of its deployment is at work."""


@dataclass(frozen=True)
class Before:
    """A secret as it was before its rotation. ``fields`` are for trying the old credential at the end."""

    version: int
    fingerprint: str
    fields: dict[str, Any]


class Demo:
    """One run of the demonstration on a stack that is up. ``console`` takes the details, ``result`` the outcome."""

    def __init__(self, outcome: Console, console: Console, stack: Stack, pager: Pager) -> None:
        self.outcome = outcome
        self.console = console
        self.stack = stack
        self.pager = pager
        self.kv = own_client(hub_of(stack)).secrets.kv.v2
        self.seen: dict[str, str] = {}
        """The values that were in play before some of them were destroyed."""

    async def run(self) -> bool:
        """Rotate, retire, fail and recover, leak and revoke, and watch; True if every step succeeded."""
        narrowed = await self.narrow()
        before = {path: self.look(path) for path in SECRETS}
        queries = self.stats()
        self.say("Rotating both secrets through the worker, while both applications query without pause")
        await asyncio.gather(*(self.deployment("rotate-secret", path=path, trigger="force") for path in SECRETS))
        self.say("Retiring the old credentials: every copy is in sync and every application has acknowledged")
        await self.deployment("retire", waive="grace")
        refused = self.refused(before[DATABASE_SECRET].fields)
        acknowledged = self.stats()
        self.show(before, acknowledged)
        failure = await self.failure()
        sound = self.verdict(queries, refused=refused, notified=failure)
        self.seen = self.values()
        ended = await leak(self)
        watched = await watch(self)
        hidden = self.no_leak()
        return await self.in_sync() and hidden and sound and ended and watched and narrowed

    async def narrow(self) -> bool:
        """Give each login exactly what this catalogue needs; whether hub and clouds say that each has just that."""
        self.say("Keyturn's logins to the hub and the clouds get what this catalogue needs, and nothing else")
        for step in ("setup store", "policy check", "policy check --as auditor"):
            self.console.print(f"  $ keyturn {step}", style="dim")
        found = await asyncio.to_thread(self.narrowed)
        other = {login: differs for login, differs in found.items() if differs}
        for login, differs in other.items():
            show(self, f"{login}: {differs}")
        if other or not found:
            return self.result(False, f"logins with other rights than the catalogue needs: {', '.join(other) or 'all'}")
        clouds = f"{len(CLOUD_LOGINS)} of them in the clouds, too"
        return self.result(True, f"{len(found)} logins to the hub have exactly the rights that are needed, {clouds}")

    def narrowed(self) -> dict[str, str]:
        """Render the rights, put them in force, and ask: what differs for each login; none where rendering failed."""
        made, text = command(self, "setup", "store", "--json")
        if not made:
            show(self, text)
            return {}
        documents = {document["name"]: document["text"] for document in json.loads(text)["documents"]}
        self.narrow_hub(documents)
        for login in CLOUD_LOGINS:
            narrow_clouds(self.stack, login, documents)
        consumers = [name.removesuffix(".hcl") for name in documents if name.startswith("consumer-")]
        logins = {**LOGINS, **{f"consumer:{name.removeprefix('consumer-')}": (name,) for name in consumers}}
        with ThreadPoolExecutor(CHECKED_AT_ONCE) as pool:
            return dict(zip(logins, pool.map(self.differences, logins, logins.values()), strict=True))

    def narrow_hub(self, documents: Mapping[str, str]) -> None:
        """Write the hub's policies, and delete those that this catalogue has no need of."""
        policies = hub_of(self.stack).client.sys
        named = {name.removesuffix(".hcl"): text for name, text in documents.items() if name.endswith(".hcl")}
        rendered = {name: text for name, text in named.items() if name.startswith(PREFIXES)}
        for name, text in rendered.items():
            policies.create_or_update_policy(name, text)
        # A catalogue without authorities or access policies needs no rights for them.
        for name in {name for names in LOGINS.values() for name in names} - rendered.keys():
            policies.delete_policy(name)

    def differences(self, login: str, policies: Sequence[str]) -> str:
        """What a login with these policies lacks or has beyond; empty if it has exactly what it needs."""
        tokens = hub_of(self.stack).client.auth.token
        token = tokens.create(policies=list(policies), ttl="10m")["auth"]["client_token"]
        if login not in CLOUD_LOGINS:
            return self.differences_in_hub(login, token)
        clouds = environment.cloud_login(self.stack, CLOUD_LOGINS[login])
        variables = environment.environment(self.stack) | clouds | {"VAULT_TOKEN": token}
        sound, report = command(self, "policy", "check", "--as", login, "--json", variables=variables)
        found = json.loads(report[: report.rindex("}") + 1])
        other = {part: found[part] for part in ("lacking", "beyond", "elsewhere") if found[part]}
        return "" if sound and not other else json.dumps(other) if other else report

    def differences_in_hub(self, login: str, token: str) -> str:
        """As ``keyturn policy check`` compares, but in this process, which saves most of a minute."""
        from keyturn.cli.setup.policy import hub_scope
        from tasks.workspace import current_workspace

        file = self.stack.home / f"checked-{login.replace(':', '-')}"
        write_private(file, token)
        scope = hub_scope(current_workspace().catalogue, [], [])
        sections = needed(scope, login)
        try:
            with closing(VaultHub(replace(HubSettings.from_environment(), login=TokenLogin(file=str(file))))) as hub:
                compared = compare(scope, sections, hub.capabilities(paths_to_ask(scope, sections)))
        finally:
            file.unlink()
        return "; ".join(str(finding) for finding in (*compared.lacking, *compared.beyond))

    async def failure(self) -> bool:
        """A rotation that fails half way, its notification, and the run that finishes what it began."""
        self.say("Now a failure: the database refuses Keyturn's admin, half way through a rotation")
        path = "targets/ml-postgres"
        right = self.kv.read_secret_version(path, mount_point="keyturn", raise_on_deleted_version=True)["data"]["data"]
        wrong = {**right, "password": "no-longer-valid"}
        self.kv.create_or_update_secret(path, wrong, mount_point="keyturn")
        try:
            await self.deployment("rotate-secret", expected="FAILED", path=DATABASE_SECRET, trigger="force")
        finally:
            self.kv.create_or_update_secret(path, right, mount_point="keyturn")
        message = self.pager.wait(30, f"rotate-{DATABASE_SECRET}")
        self.console.print(Panel(message or "no notification came", title="on call receives", border_style="red"))
        self.say("The admin is right again: the next run finishes what the failed one began")
        await self.deployment("rotate-secret", path=DATABASE_SECRET)
        return message is not None

    async def deployment(self, name: str, expected: str = "COMPLETED", **parameters: Any) -> None:
        """Run a deployment through the worker and wait. Raises Unavailable unless it ends as expected."""
        from prefect.deployments.flow_runs import arun_deployment

        for _ in range(TURNS):
            run = await arun_deployment(f"{name}/{name}", parameters=parameters, timeout=PATIENCE, poll_interval=0.5)
            state = run.state
            if state is None or state.type.value != "CANCELLED":
                break
            # The schedule's own run of it is at work: two at once are not let in.
            await asyncio.sleep(PAUSE)
        if state is None or not state.is_final():
            problem = f"it did not end within {PATIENCE} s, and is {state.name if state else 'unknown'}"
            raise Unavailable("run", name, problem, f"See the worker's log under {self.stack.home}")
        if state.type.value != expected:
            problem = f"it ended as {state.name}: {state.message}"
            raise Unavailable("run", name, problem, f"See the worker's log under {self.stack.home}")
        took = run.total_run_time.total_seconds()
        ended = "failed, as it should" if expected == "FAILED" else "completed"
        self.console.print(f"  {run.name}: {ended} in {took:.1f} s", style="dim")

    def look(self, path: str) -> Before:
        """A secret as the hub has it now."""
        from keyturn.core.sensitive import SecretFields
        from tasks.workspace import current_workspace

        read = self.kv.read_secret_version(path, mount_point="secret", raise_on_deleted_version=True)["data"]
        return Before(
            read["metadata"]["version"],
            shown(current_workspace().fingerprint(path, SecretFields(read["data"]))),
            read["data"],
        )

    def stats(self) -> dict[str, dict[str, Any]]:
        """What each application counts."""
        trusted = environment.ca_file(self.stack)
        return {
            name: requests.get(f"{self.stack.url(name)}/stats", timeout=10, verify=trusted).json() for name in CONSUMERS
        }

    def refused(self, fields: dict[str, Any]) -> bool:
        """Whether the database refuses the old password."""
        try:
            psycopg2.connect(
                host=self.stack.database.host,
                port=self.stack.ports["postgres"],
                dbname=DATABASE,
                user=fields["username"],
                password=fields["password"],
                sslmode="verify-full",
                sslrootcert=environment.ca_file(self.stack),
                connect_timeout=10,
            ).close()
        except psycopg2.OperationalError as error:
            # A server that does not answer, or is not trusted, has refused no login.
            return refused_login(error)
        return False

    def show(self, before: dict[str, Before], stats: dict[str, dict[str, Any]]) -> None:
        """The table of what happened, in names, versions and fingerprints."""
        table = Table(title="Rotated, and in sync everywhere", show_lines=True)
        for heading in ("secret", "version", "fingerprint", "copies", "acknowledged by"):
            table.add_column(heading, overflow="fold")
        for path, old in before.items():
            now = self.look(path)
            copies = "\n".join(self.copies(path))
            heard = "\n".join(name for name in CONSUMERS if acknowledges(stats[name], path, now.version))
            turned = (f"{old.version} → {now.version}", f"{old.fingerprint} → {now.fingerprint}")
            table.add_row(path, *turned, copies, heard or "nobody")
        self.console.print(table)

    def copies(self, path: str) -> Iterator[str]:
        """The state of each copy, read from the stores themselves."""
        from keyturn.rotation.copies.push import look_at_copies
        from tasks.workspace import current_workspace

        for copy in look_at_copies(current_workspace(), path):
            yield f"{copy.store}:{copy.name} {copy.state}"

    def verdict(self, earlier: dict[str, dict[str, Any]], *, refused: bool, notified: bool) -> bool:
        """The applications' counts, and whether the database refuses the old password."""
        time.sleep(1)
        now = self.stats()
        served = sum(now[name]["served"] - earlier[name]["served"] for name in CONSUMERS)
        failed = sum(now[name]["failed"] - earlier[name]["failed"] for name in CONSUMERS)
        rotated = f"{len(SECRETS)} secrets rotated, and every copy is in sync: {served} queries, {failed} failed"
        return all(
            [
                self.result(served > 0 and failed == 0, rotated),
                self.result(
                    refused, f"the old password is {'refused' if refused else 'STILL ACCEPTED'} by the database"
                ),
                self.result(
                    notified,
                    f"a rotation failed halfway and was {'' if notified else 'NOT '}reported; the next run finished it",
                ),
            ]
        )

    def no_leak(self) -> bool:
        """Search all that Prefect has kept, and every log, for every value that was in play."""
        places = [self.stack.directory("prefect"), *(s.log for s in status(self.stack.home))]
        findings: list[Finding] = scan(places, self.seen | self.values())
        verdict = f"FOUND in {', '.join(sorted({f.place for f in findings}))}" if findings else "none"
        return self.result(not findings, f"secret values in Prefect's database, results and logs: {verdict}")

    async def in_sync(self) -> bool:
        """Whether a plan finds nothing left to do, once what follows the hub is through, too, with the last change."""
        from keyturn.cli.copies.planned import summarize_plan
        from keyturn.sync.plan import plan
        from tasks.workspace import current_workspace

        for _ in range(TURNS):
            planned = plan(current_workspace())
            settled = not planned.work and not planned.trouble
            if settled:
                break
            await asyncio.sleep(PAUSE)
        return self.result(settled, f"a plan for every copy in every store: {summarize_plan(planned)}")

    def values(self) -> dict[str, str]:
        """Every value of every version of what was rotated, and of what Keyturn itself holds, by name."""
        versions = {
            path: self.kv.read_secret_metadata(path, mount_point="secret")["data"]["versions"] for path in SECRETS
        }
        read = [
            ("secret", path, int(number))
            for path, numbers in versions.items()
            for number, version in numbers.items()
            if not version["destroyed"]
        ]
        own = ("targets/ml-postgres", "fingerprint-key", *(f"webhooks/{name}" for name in CONSUMERS))
        read += [("keyturn", path, 0) for path in own]
        texts = {name: text for mount, path, number in read for name, text in self.texts(mount, path, number)}
        return texts | {"the cluster's token": Path(os.environ["KEYTURN_KUBERNETES_TOKEN_FILE"]).read_text()}

    def texts(self, mount: str, path: str, version: int) -> Iterator[tuple[str, str]]:
        """The values of one version that must stay secret; 0 is the newest."""
        read = self.kv.read_secret_version(path, version or None, mount, raise_on_deleted_version=True)
        for name, value in read["data"]["data"].items():
            if name not in PLAIN:
                yield f"{path}@{version} {name}", str(value)

    def say(self, line: str) -> None:
        """Print a step, one of the details."""
        self.console.print(f"[bold]▸[/bold] {line}")

    def result(self, good: bool, line: str) -> bool:
        """Print one outcome, and return whether it is good."""
        mark, style = ("✓", "green") if good else ("✗", "bold red")
        self.outcome.print(f"[{style}]{mark}[/] {escape(line)}", highlight=False, soft_wrap=True)
        return good


PLAIN: Final = frozenset({"username", "host", "port", "database", "rotated_at", "bound"})
"""Fields that are no secrets: they stand in the catalogue, or tell a time or a kind."""


def acknowledges(stats: dict[str, Any], path: str, version: int) -> bool:
    """Whether an application has taken this version of this secret."""
    return any(a["secret_path"] == path and a["version"] == version for a in stats["acknowledged"])


@contextmanager
def running(console: Console, home: Path) -> Iterator[tuple[Stack, Pager]]:
    """The stack, up and prepared, with a pager; stopped again unless KEEP is set."""
    pager = Pager(pager_port(home))
    os.environ["KEYTURN_FAILURE_URL"] = pager.address
    prepared: list[Stack] = []

    def prepare(stack: Stack) -> None:
        prepare_stack(stack)
        prepared.append(stack)

    try:
        stack = up(home, prepare, lambda line: console.print(f"  {line}", style="dim"))
        if not prepared:
            prepare_stack(stack)  # it ran already, and reports failures to somebody else
        os.environ.update(environment.worker(stack))
        yield stack, pager
    finally:
        if not os.environ.get("KEEP"):
            down(home)
        pager.close()


def pager_port(home: Path) -> int:
    """The port where failures are reported: the same at every demonstration, so that it is registered once."""
    file = home / "pager.port"
    if not file.exists():
        with locked(home, lambda line: None):
            write_private(file, str(free_port()))
    return int(file.read_text())


NEXT: Final = (
    ("keyturn status", "every secret with its age, copies and consumers"),
    (f"keyturn rotate {DATABASE_SECRET} --now", "rotate it while the applications use it"),
    (f"keyturn revoke {DATABASE_SECRET} --reason test --preview", "what an emergency revocation would do"),
)
"""Commands to try while the stack runs."""


def main(*, verbose: bool = False) -> int:
    """Run it; 0 if every step succeeded, else 1. ``verbose`` prints every step and the output of every command."""
    outcome, began, home = Console(), time.monotonic(), home_directory()
    details = outcome if verbose else Console(file=io.StringIO(), width=outcome.width)
    outcome.print(f"Starting the stack on loopback, under {home}. The demo takes about two minutes.", soft_wrap=True)
    sound = False
    try:
        with running(details, home) as (stack, pager):
            demo = Demo(outcome, details, stack, pager)
            demo.result(True, f"{len(status(home))} processes are running, all over TLS")
            sound = asyncio.run(demo.run())
            prefect = stack.url("prefect-server")
    except KeyturnError as error:
        outcome.print(f"error: {error}", style="red", markup=False)
    if not sound and isinstance(details.file, io.StringIO):
        outcome.print(details.file.getvalue(), markup=False, highlight=False)
    outcome.print(
        f"\n{'Every step succeeded' if sound else 'NOT every step succeeded'}, {time.monotonic() - began:.0f} s."
    )
    if sound:
        end_with(outcome, prefect)
    return 0 if sound else 1


def end_with(outcome: Console, prefect: str) -> None:
    """Print what to try next."""
    if not os.environ.get("KEEP"):
        outcome.print("The stack is stopped. `KEEP=1 keyturn demo` keeps it running; then try:")
    else:
        outcome.print(
            f"The stack keeps running until `keyturn down`. Prefect's UI: {prefect}\nTry next:", soft_wrap=True
        )
    for command_line, purpose in NEXT:
        outcome.print(f"  {command_line}  # {purpose}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main(verbose="--verbose" in sys.argv[1:]))
