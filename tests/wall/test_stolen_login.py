"""After the documented clean-up, a stolen login is worthless and Keyturn continues."""

import json
import os
import re
import secrets
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import hvac
import pytest
import requests
import yaml
from hvac.exceptions import Forbidden, InvalidRequest
from typer.testing import CliRunner

from keyturn.catalogue.hub_entries import OWN
from keyturn.cli.app import app
from keyturn.core.rights.hcl import policy
from keyturn.core.rights.rights import rules_of, sample
from keyturn.doctor.results import Grade
from keyturn.doctor.token_roles import check_records
from keyturn.providers.vault.hub import VaultHub
from keyturn.rights import hub_policies as rules
from keyturn.rights.hub_wanted import HubDeclaration, token_roles
from keyturn.rights.policy_documents import Origin
from keyturn.rights.roles import LOGINS, needed
from keyturn.rights.scope import EVERYTHING, HubScope
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from tests.cli.command import surroundings
from tests.manual.lines import lines_of
from tests.support.hooks import eventually
from tests.support.lab import Lab, catalogue_data, fresh

pytestmark = pytest.mark.sampled(2, of="file")

PAGE = (Path(__file__).parents[2] / "docs" / "stolen-access.md").read_text()
BAO = Path(sys.executable).with_name("bao")
HERE: Final = ("127.0.0.0/8", "::1/128")
ELSEWHERE: Final = ("192.0.2.0/24",)
CONSUMER: Final = f"{rules.CONSUMER}:"
SECTIONS: Final = {"worker": "A worker's login", "revoker": "The emergency worker's login"}
OTHERS: Final = "Any other login"
OPEN: Final = ("pki", "sys/wrapping/lookup")
METHODS: Final = {
    "read": "GET",
    "list": "LIST",
    "create": "POST",
    "update": "POST",
    "patch": "PATCH",
    "delete": "DELETE",
}


def commands(section: str) -> list[str]:
    """Those of a section of the page that need no target."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [line for line in re.findall(r"^\$ (.*)$", text, re.M) if "targets/" not in line]


@dataclass
class Theft:
    """A login with its rendered policies, in an auth method and token roles of its own, and what a thief has of it."""

    lab: Lab
    login: str
    addresses: tuple[str, ...] = HERE
    loot: list[str] = field(default_factory=list)
    mount: str = field(default_factory=lambda: f"approle-{secrets.token_hex(4)}")
    prefix: str = field(default_factory=fresh)

    @cached_property
    def scope(self) -> HubScope:
        """The rules of the repository, with token roles that no other test uses."""
        places = replace(
            EVERYTHING.places,
            lease_token_role=f"{self.prefix}-lease",
            grant_token_role=f"{self.prefix}-grant",
            token_addresses=self.addresses,
        )
        return replace(EVERYTHING, places=places)

    @property
    def role(self) -> str:
        """What the page calls the AppRole."""
        return f"keyturn-{self.login}" if self.login in SECTIONS else "ROLE"

    def set_up(self) -> "Theft":
        """Policies, the AppRole, and the token roles as `keyturn setup hub --apply` makes them."""
        named = [rules.CONSUMER] if self.login == CONSUMER else list(LOGINS[self.login])
        named += [rules.login_policy(self.role)] if self.login in OWN and self.role != "ROLE" else []
        for name in named:
            sections = needed(self.scope, CONSUMER) if name == rules.CONSUMER else rules.sections(self.scope, name)
            self.write_policy(name, policy(sections))
        self.lab.root.sys.enable_auth_method("approle", path=self.mount)
        approle = self.lab.root.auth.approle
        policies = [f"{self.prefix}-{name}" for name in named]
        approle.create_or_update_approle(self.role, token_policies=policies, mount_point=self.mount)
        declared = HubDeclaration(self.scope, Origin(), {}, {})
        for made in token_roles(declared):
            kind = rules.LEASE if made.name.endswith("lease") else rules.GRANT
            self.write_policy(kind, policy(rules.sections(self.scope, kind)))
            fields = {**made.fields, "allowed_policies": [f"{self.prefix}-{kind}"]}
            self.lab.root.write_data(f"auth/token/roles/{made.name}", data=fields)
        return self

    def write_policy(self, name: str, text: str) -> None:
        """Under a name of its own."""
        text = text.replace("auth/approle", f"auth/{self.mount}")
        self.lab.root.sys.create_or_update_policy(f"{self.prefix}-{name}", text)

    @cached_property
    def halves(self) -> tuple[str, str]:
        """The role id and a secret id, as they lie in files."""
        approle = self.lab.root.auth.approle
        role_id = approle.read_role_id(self.role, mount_point=self.mount)["data"]["role_id"]
        return role_id, approle.generate_secret_id(self.role, mount_point=self.mount)["data"]["secret_id"]

    def log_in(self, role_id: str, secret_id: str) -> hvac.Client:
        """Whoever has both."""
        client = hvac.Client(url=self.lab.world.hub_address, verify=self.lab.world.hub_ca)
        client.auth.approle.login(role_id, secret_id, mount_point=self.mount)
        return client

    def ask(self, token: str, method: str, path: str, body: Any = None) -> requests.Response:
        """One request of the thief's."""
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        return requests.request(
            method,
            f"{self.lab.world.hub_address}/v1/{path}",
            headers={"X-Vault-Token": token, "Content-Type": content},
            data=None if body is None else json.dumps(body),
            verify=str(self.lab.world.hub_ca) if self.lab.world.hub_ca else True,
            timeout=20,
        )

    def mint(self, token: str, kind: str, **limits: Any) -> str:
        """A token of a token role, which nothing records; empty where the login may not."""
        answer = self.ask(token, "POST", f"auth/token/create/{self.prefix}-{kind}", limits)
        return str(answer.json()["auth"]["client_token"]) if answer.status_code == 200 else ""

    def run_page(self, directory: Path, section: str) -> None:
        """The section's commands, with an administrator's login."""
        hub = {"BAO_ADDR": self.lab.world.hub_address, "BAO_TOKEN": self.lab.world.hub_token, "HOME": str(directory)}
        env = {**os.environ, **hub, "BAO_CACERT": str(self.lab.world.hub_ca)}
        script = "\n".join(commands(section)).replace("auth/approle", f"auth/{self.mount}")
        script = re.sub(r"create/keyturn-(lease|grant)", rf"create/{self.prefix}-\1", script)
        script = f'set -e\nvault() {{ "{BAO}" "$@"; }}\n{script}'
        subprocess.run(["sh", "-c", script], check=True, cwd=directory, env=env)


@pytest.fixture
def theft(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Theft]:
    made = Theft(lab, request.param).set_up()
    yield made
    lab.root.sys.disable_auth_method(made.mount)


@pytest.mark.parametrize("theft", [*LOGINS, CONSUMER], indirect=True, ids=str)
def test_after_the_documented_clean_up_a_thief_has_no_access(theft: Theft, tmp_path: Path) -> None:
    thief = theft.log_in(*theft.halves)
    token, halves = str(thief.token), [theft.halves]
    made = theft.ask(token, "POST", f"auth/{theft.mount}/role/{theft.role}/secret-id")
    halves += [(theft.halves[0], made.json()["data"]["secret_id"])] if made.status_code == 200 else []
    assert len(halves) == (2 if theft.login in SECTIONS and theft.login in OWN else 1)
    minted = [each for kind in ("lease", "grant") if (each := theft.mint(token, kind))]
    assert bool(minted) == (theft.login in ("worker", "revoker", "granter"))
    path = f"database/creds/{theft.lab.dynamic().role}"
    accounts = [theft.ask(each, "GET", path).json()["data"] for each in minted]
    assert all(theft.lab.logs_in(account) for account in accounts)

    theft.run_page(tmp_path, SECTIONS.get(theft.login, OTHERS))

    for stolen in (token, *minted):
        assert theft.ask(stolen, "GET", "auth/token/lookup-self").status_code == 403
        assert theft.ask(stolen, "GET", path).status_code == 403
    for rule in rules_of(needed(theft.scope, theft.login)):
        for capability in rule.capabilities & METHODS.keys():
            # A hub tells some of it, such as an authority's issuers, to anybody.
            answers = [theft.ask(each, METHODS[capability], sample(rule.path), {}) for each in (token, "of-nobody")]
            assert answers[0].status_code == answers[1].status_code, (capability, rule.path)
            assert answers[0].status_code == 403 or rule.path.startswith(OPEN), (capability, rule.path)
    for both in halves:
        with pytest.raises((InvalidRequest, Forbidden)):
            theft.log_in(*both)
    assert all(eventually(lambda account=account: not theft.lab.logs_in(account), 30) for account in accounts)  # type: ignore[misc]


@pytest.mark.parametrize("theft", ["worker", "revoker"], indirect=True, ids=str)
def test_keyturn_has_another_login_afterwards(theft: Theft, tmp_path: Path) -> None:
    assert theft.halves
    theft.run_page(tmp_path, SECTIONS[theft.login])
    files = [tmp_path / f"{'revoker.' if theft.login == 'revoker' else ''}{name}" for name in ("role-id", "secret-id")]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    another = theft.log_in(*(file.read_text().strip() for file in files))
    assert set(LOGINS[theft.login]) < set(another.auth.token.lookup_self()["data"]["policies"])


# --- what a thief may do before that


@pytest.mark.parametrize("login", ["worker", "granter"])
def test_a_token_that_a_thief_makes_is_short_lived_bound_to_addresses_and_has_no_other_policy(
    lab: Lab, login: str
) -> None:
    theft, kind = Theft(lab, login).set_up(), "lease" if login == "worker" else "grant"
    token = str(theft.log_in(*theft.halves).token)
    for more in (
        {"policies": ["root"]},
        {"policies": ["default"]},
        {"period": "768h"},
        {"no_parent": True},
        # A batch token has no accessor and no lease, so nothing could end it.
        {"type": "batch"},
        {"id": "hvs.of-my-choice"},
        {"entity_alias": "another"},
        {"display_name": "another"},
    ):
        assert theft.mint(token, kind, **more) == "", more
    about = lab.root.auth.token.lookup(theft.mint(token, kind))["data"]
    assert about["policies"] == [f"{theft.prefix}-{rules.LEASE if kind == 'lease' else rules.GRANT}"]
    assert about["bound_cidrs"] == ["127.0.0.0/8", "::1"]
    role = lab.root.read(f"auth/token/roles/{theft.prefix}-{kind}")
    assert role
    assert 0 < about["ttl"] <= role["data"]["token_explicit_max_ttl"]
    elsewhere = Theft(lab, login, ELSEWHERE).set_up()
    taken = elsewhere.mint(str(elsewhere.log_in(*elsewhere.halves).token), kind)
    assert elsewhere.ask(taken, "GET", f"database/creds/{lab.dynamic().role}").status_code == 403


def test_a_thief_of_the_emergency_login_lists_no_tokens_and_ends_none_but_keyturns_own(lab: Lab) -> None:
    theft = Theft(lab, "revoker").set_up()
    token = str(theft.log_in(*theft.halves).token)
    victim = lab.root.auth.token.create(policies=["default"], ttl="1h")["auth"]
    place = "auth/token/create"
    leases = lab.root.list(f"sys/leases/lookup/{place}/")["data"]["keys"]
    foreign = next(f"{place}/{name}" for name in leases if not name.endswith("/"))
    assert theft.mint(token, "lease")
    own = theft.ask(token, "LIST", f"sys/leases/lookup/{place}/{theft.prefix}-lease").json()["data"]["keys"]
    mine = f"{place}/{theft.prefix}-lease/{own[0]}"
    attacks: list[tuple[str, str, Any]] = [
        ("LIST", "auth/token/accessors", None),
        ("POST", "auth/token/lookup-accessor", {"accessor": victim["accessor"]}),
        ("POST", "auth/token/revoke-accessor", {"accessor": victim["accessor"]}),
        ("POST", "auth/token/revoke-orphan", {"token": victim["client_token"]}),
        ("LIST", f"sys/leases/lookup/{place}", None),
        ("POST", "sys/leases/lookup", {"lease_id": foreign}),
        ("POST", "sys/leases/revoke", {"lease_id": foreign}),
        ("POST", f"sys/leases/revoke/{foreign}", {"sync": True}),
        # The hub takes a lease of the body before that of the path.
        ("POST", f"sys/leases/revoke/{mine}", {"lease_id": foreign}),
        ("POST", f"sys/leases/revoke/{mine}", {"url_lease_id": foreign}),
        ("POST", f"sys/leases/revoke-prefix/{place}/{theft.prefix}-lease", None),
        ("POST", f"sys/leases/revoke-force/{place}/{theft.prefix}-lease", None),
    ]
    for method, path, body in attacks:
        assert theft.ask(token, method, path, body).status_code == 403, (method, path, body)
    assert lab.root.auth.token.lookup_accessor(victim["accessor"])
    assert theft.ask(token, "POST", f"sys/leases/revoke/{mine}", {"sync": True}).status_code == 204


def test_a_credential_that_a_thief_of_the_granters_login_takes_is_found_by_the_worker(lab: Lab, tmp_path: Path) -> None:
    theft = Theft(lab, "granter").set_up()
    worker = Theft(lab, "worker", prefix=theft.prefix).set_up()
    minted = theft.mint(str(theft.log_in(*theft.halves).token), "grant", ttl="1h")
    path = f"database/creds/{lab.dynamic().role}"
    assert lab.logs_in(theft.ask(minted, "GET", path).json()["data"])
    (tmp_path / "token").write_text(str(worker.log_in(*worker.halves).token))
    role = f"{theft.prefix}-grant"
    login = TokenLogin(file=str(tmp_path / "token"))
    with closing(VaultHub(HubSettings(lab.world.hub_address, login=login, grant_token_role=role))) as hub:
        (token,) = hub.issued_tokens(role)
        assert token.accessor == ""
        result = check_records(role, [token], hub.now() + timedelta(minutes=2))
    assert (result.grade, token.lease_id in result.words) == (Grade.FAILED, True)
    lab.root.sys.revoke_lease(token.lease_id)
    assert theft.ask(minted, "GET", path).status_code == 403


def test_without_prefect_everything_is_done_and_seen(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = lab.alternating()
    data = {**catalogue_data(lab.world, (secret,), {}, {}), "stores": {}}
    data["secrets"][secret.path].pop("path")
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(data))))
    hub = {
        "VAULT_ADDR": lab.world.hub_address,
        "VAULT_TOKEN": lab.world.hub_token,
        "VAULT_CACERT": str(lab.world.hub_ca),
    }
    more = {"KEYTURN_CATALOGUE": str(tmp_path), "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    env = surroundings(tmp_path / "no-stack", **hub, **more, XDG_STATE_HOME=str(tmp_path / "state"))
    for name in set(os.environ) - set(env):
        monkeypatch.delenv(name)
    for name, text in env.items():
        monkeypatch.setenv(name, text)
    output = {}
    for line in lines_of("stolen-access.md"):
        words = shlex.split(line.replace("ml-training/database", secret.path))
        run = CliRunner().invoke(app, words[1:])
        assert run.exit_code == 0, (line, run.output)
        output[" ".join(words[1:3])] = run.output
    assert not lab.logs_in(secret.first)
    assert secret.path in output["ledger show"]
    assert re.search(r"^INC-.* closed ", output["incidents"], re.M)
