"""Secrets for every way that a run can go, each with a canary in it, and the runs that go these ways."""

import dataclasses
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from configparser import ConfigParser
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyturn.catalogue.operator.policy import VARIABLE
from keyturn.core.ports.hub import ROTATED_AT
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.candidates import CANDIDATES
from local.emulators.aws import LocalAws
from local.environment import LEASE_TOKEN_ROLE, ROOT, inherited
from local.prepare import REVOKER
from local.prepare import Hub as PreparedHub
from tests.flows.gate import Door, Gate
from tests.flows.runs import AWS_VARIABLES, Installed
from tests.flows.site import Architect, Site, destination
from tests.support.given import forget_grants
from tests.support.lab import Declared, Lab, fresh
from tests.support.prefect_server import PrefectServer
from tests.support.world import REGION

PLAIN = {"username", "host", "port", "database", "endpoint", "retries", "rotated_at", "lease_id", "token_accessor"}
"""Fields that are no secrets: they are in the catalogue, or name something. The ledger has accessors of tokens."""


def canary(what: str) -> str:
    """A value that is nowhere else."""
    return f"CANARY-{what}-{secrets.token_urlsafe(24)}"


@dataclass
class Planted:
    """Secrets that hold canaries, and what else is confidential; ``values`` are all of it, by name."""

    lab: Lab
    values: dict[str, str] = field(default_factory=dict)

    def secret(self, declared: Declared, times: int = 1, target: str | None = None) -> Declared:
        """The same secret with one more field, which no rotation changes."""
        value = self.canary(declared.path)
        fields = SecretFields({**declared.first, "canary": value * times})
        self.lab.hub.write(declared.path, fields, cas=1)
        self.lab.hub.patch_metadata(declared.path, {ROTATED_AT: "2020-01-01T00:00:00+00:00"})
        rotation = {**declared.data["rotation"], **({"target": target} if target else {})}
        return dataclasses.replace(declared, data={**declared.data, "rotation": rotation})

    def canary(self, name: str) -> str:
        """A canary that is searched for."""
        self.values[name] = canary(fresh())
        return self.values[name]

    def state(self, path: str, data: dict[str, Any]) -> str:
        """An entry in Keyturn's own mount; its path."""
        self.lab.hub.write_state(path, data, cas=0)
        return path

    def collect(self, site: Site) -> None:
        """Every value of every version of every secret, and what waits in its record."""
        for path in site.workspace.catalogue.secrets:
            told = site.workspace.hub.describe(path)
            for number in range(1, told.version + 1 if told else 1):
                found = site.workspace.hub.read(path, number)
                self.keep(f"{path}@{number}", found.fields.reveal() if found else {})
            for place in site.workspace.hub.list_state(f"{CANDIDATES}/{path}"):
                state = site.workspace.hub.read_state(place)
                self.keep(f"{path} pending", dict(state.data) if state else {})

    def keep(self, name: str, fields: dict[str, Any]) -> None:
        """Search for these, unless they are plain; a long one repeats a canary."""
        kept = {key: value for key, value in fields.items() if key not in PLAIN and len(value) < 1000}
        self.values |= {f"{name} {key}": value for key, value in kept.items()}


@dataclass(frozen=True)
class Stage:
    """One secret for each way that a run can go."""

    site: Site
    directory: Path
    gate: Gate
    secrets: dict[str, Declared]

    @staticmethod
    def set_up(architect: Architect, planted: Planted, azure: dict[str, str]) -> "Stage":
        """Secrets, and what refuses each of them."""
        lab, secret = architect.lab, planted.secret
        admin = planted.state(
            f"targets/refused/{fresh()}", {"username": "keyturn_admin", "password": planted.canary("admin")}
        )
        planted.values["signing key"] = f"whsec_{secrets.token_hex(24)}"
        key = planted.state(f"webhooks/unsigned/{fresh()}", {"key": planted.values["signing key"]})
        gate = Gate(lab.world.port, Door.HELD)
        stage = {
            "alternating": secret(lab.alternating(**pushed())),
            "generated": secret(lab.generated(**pushed())),
            "leased": secret(lab.dynamic(interval="20m", grace="0s", **pushed())),
            "killed": secret(lab.alternating(), target="held"),
            "admin refused": secret(lab.alternating(), target="refused"),
            "account refused": secret(lab.alternating()),
            "candidate refused": secret(lab.alternating()),
            "too large": secret(lab.generated(destinations=[destination()]), times=1500),
            "AWS refuses": secret(lab.generated(destinations=[destination("refused")])),
            "Azure refuses": secret(lab.generated(destinations=[destination("azure")])),
            "bad signing key": secret(lab.generated(consumers=["unsigned"])),
            "record unreadable": secret(lab.generated()),
        }
        lab.sql(f"CREATE ROLE {stage['account refused'].users[1]} LOGIN")
        lab.sql(f"CREATE TABLE {stage['candidate refused'].owner} ()")
        lab.sql(f"GRANT SELECT ON {stage['candidate refused'].owner} TO {stage['candidate refused'].users[0]}")
        unreadable = {"rotation": {"stage": planted.canary("stage")}, "history": []}
        planted.state(f"rotations/{stage['record unreadable'].path}", unreadable)
        endpoint = architect.stores["aws"]["endpoint_url"]
        refused = {"kind": "aws-secrets-manager", "region": REGION, "endpoint_url": endpoint, "profile": "refused"}
        site = architect.build(
            *stage.values(),
            stores={"refused": refused, "azure": azure},
            targets={"held": {"port": gate.port}, "refused": {"admin": admin}},
            consumers={"unsigned": {"url": architect.consumers["app"]["url"], "signing_key": key}},
        )
        return Stage(site, architect.directory / site.name, gate, stage)

    def crash(self, installed: Installed, planted: Planted) -> str:
        """Kill the worker's run while its candidate is PENDING; the state that it ends in."""
        run = installed.start("rotate-secret", self.site, path=self.secrets["killed"].path)
        assert self.gate.taken.wait(60)
        planted.collect(self.site)
        pid = int(installed.server.get(f"flow_runs/{run}")["infrastructure_pid"].rpartition(":")[2])
        os.killpg(os.getpgid(pid), signal.SIGKILL)
        self.gate.move(Door.OPEN)
        return str(installed.ended(run)["state_type"])

    def commands(self) -> dict[str, list[str]]:
        """What somebody types who does without Prefect."""
        paths = {name: secret.path for name, secret in self.secrets.items()}
        rotated = ("generated", "admin refused", "record unreadable", "Azure refuses")
        return {
            **{f"keyturn rotate {one}": ["rotate", paths[one], "--now", "--local", "--json"] for one in rotated},
            "keyturn sync": ["sync", paths["Azure refuses"], "--local"],
            "keyturn retire": ["retire", paths["generated"], "--local", "--json"],
            "keyturn history": ["history", paths["generated"]],
        }

    def play(self, server: PrefectServer, aws: LocalAws, planted: Planted, printed: Path, kept: Path) -> dict[str, str]:
        """Run every flow, in processes that print whatever comes; how each run ended."""
        forget_grants(planted.lab)
        rotations = [("rotate", secret.path, "force") for secret in self.secrets.values()]
        runs = [*rotations, ("retire", None, "grace"), ("sync",), ("rotate-due",)]
        env, commands = self.environment(server, aws, planted, kept), self.commands()
        ends = child(runs, [*commands.values()], planted, printed, kept, env)
        # A revocation destroys versions in the hub, and so what is to be searched for.
        planted.collect(self.site)
        own, revocations = env | revoker(planted, kept), self.revocations()
        ends += child([*revocations.values()], [*EMERGENCIES.values()], planted, printed, kept, own)
        names = [*self.secrets, "retire", "sync", "rotate-due", *commands, *revocations, *EMERGENCIES]
        return dict(zip(names, ends, strict=True))

    def revocations(self) -> dict[str, list[Any]]:
        """The logins that are tried, and then what the form is filled in with."""
        everything = " ".join(secret.path for secret in self.secrets.values())
        leaked, rest = "leaked in a test", ["", "any", "", "", "", ""]
        return {
            "check-logins": ["check-logins"],
            "check-hub": ["check-hub"],
            "doctor": ["doctor"],
            "drill": ["drill", self.secrets["generated"].path],
            "rotate-keys": ["rotate-keys"],
            "renew-authorities": ["renew-authorities"],
            "rotate-own-keys": ["rotate-own-keys", "webhooks/app/flows", True],
            "preview-revocation": ["preview-revocation", everything],
            "emergency-revoke all": [
                "emergency-revoke",
                leaked,
                everything,
                *rest,
                "INC-ALL",
                "replace",
                len(self.secrets),
            ],
            "emergency-revoke one": ["emergency-revoke", leaked, self.secrets["alternating"].path, *rest, "INC-ONE"],
            "emergency-revoke nothing": ["emergency-revoke", leaked, "", *rest],
            "resume-incident": ["resume-incident", "INC-ONE"],
            "finish-incidents": ["finish-incidents"],
            "grant-access": ["grant-access"],
            "keep-ledger": ["keep-ledger"],
            "backup": ["backup"],
            "restore-drill": ["restore-drill"],
            "rehearse": ["rehearse", self.secrets["alternating"].path],
            "compliance-report": ["compliance-report", "pci"],
        }

    def environment(self, server: PrefectServer, aws: LocalAws, planted: Planted, kept: Path) -> dict[str, str]:
        """All that leads to the servers; some of the logins are wrong ones."""
        return {
            **inherited(),
            **server.environment,
            **{name: os.environ[name] for name in (*AWS_VARIABLES, VARIABLE)},
            "AWS_SHARED_CREDENTIALS_FILE": str(with_refused_profile(aws, planted, kept)),
            "AZURE_TENANT_ID": "tenant",
            "AZURE_CLIENT_ID": "client",
            "AZURE_CLIENT_SECRET": planted.canary("Azure secret"),
            "VAULT_ADDR": planted.lab.world.hub_address,
            "KEYTURN_HUB_ROLE_ID_FILE": str(self.directory.parent / "role-id"),
            "KEYTURN_HUB_SECRET_ID_FILE": str(self.directory.parent / "secret-id"),
            "KEYTURN_HUB_LEASE_TOKEN_ROLE": LEASE_TOKEN_ROLE,
            "KEYTURN_CATALOGUE": str(self.directory),
            # Among what is searched: it must hold no value either.
            "KEYTURN_LEDGER": str(kept / "state" / "ledger.db"),
            "PREFECT_LOGGING_LEVEL": "DEBUG",
            # So many lines, sent every other second, would hold up the server's database.
            "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "30",
        }


EMERGENCIES = {
    "keyturn revoke": ["revoke", "--resume", "INC-ALL", "--local", "--json"],
    "keyturn whois": ["whois", "CANARY-of-somebody-who-pastes-it-here"],
    "keyturn incidents": ["incidents", "INC-ONE"],
    "keyturn ledger verify": ["ledger", "verify"],
    "keyturn ledger export": ["ledger", "export"],
    "keyturn ledger show": ["ledger", "show", "--last", "1000"],
}
"""What somebody types in an emergency."""


def child(
    runs: Sequence[Sequence[Any]],
    commands: list[list[str]],
    planted: Planted,
    printed: Path,
    kept: Path,
    environment: dict[str, str],
) -> list[str]:
    """Run these in a process of their own, and keep what it made; how each ended."""
    job = {"runs": runs, "commands": commands, "made": str(kept / "made"), "told": str(kept / "told")}
    with (printed / "out.txt").open("a") as out, (printed / "err.txt").open("a") as err:
        subprocess.run(
            [sys.executable, "-m", "tests.flows.leak_child"],
            input=json.dumps(job),
            text=True,
            stdout=out,
            stderr=err,
            env=environment,
            cwd=ROOT,
            check=True,
        )
    for value in json.loads((kept / "made").read_text()):
        planted.values[f"made {len(planted.values)}"] = value
    return list(json.loads((kept / "told").read_text()))


def revoker(planted: Planted, kept: Path) -> dict[str, str]:
    """The login that may revoke, and a report's place."""
    world, names = planted.lab.world, ("KEYTURN_HUB_ROLE_ID_FILE", "KEYTURN_HUB_SECRET_ID_FILE")
    for name, half in zip(names, PreparedHub(world.hub_address, world.hub_token).login_of(REVOKER), strict=True):
        (kept / name).write_text(half)
    planted.values["revoker"] = (kept / names[1]).read_text()
    return {name: str(kept / name) for name in names} | {"XDG_STATE_HOME": str(kept / "state")}


def pushed() -> dict[str, Any]:
    """Pushed to AWS, and told to the application."""
    return {"destinations": [destination()], "consumers": ["app"]}


def with_refused_profile(aws: LocalAws, planted: Planted, kept: Path) -> Path:
    """The local AWS's key, and a profile that has the same id with another secret."""
    parser = ConfigParser(interpolation=None)
    parser.read(aws.credentials)
    key = parser["default"]["aws_access_key_id"]
    parser["refused"] = {"aws_access_key_id": key, "aws_secret_access_key": planted.canary("AWS secret")}
    with (kept / "credentials").open("w") as file:
        parser.write(file)
    return kept / "credentials"
