"""The rendered hub policies allow a login's whole work and no other call."""

import json
import re
import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from keyturn.access_log.trail.cursors import HubCursors
from keyturn.catalogue import Catalogue
from keyturn.core.plan import Action
from keyturn.core.ports.backups import RESTORED
from keyturn.core.ports.restored import RestoredMark, mark_recovered, read_mark
from keyturn.core.rights.hcl import policy
from keyturn.core.rights.rights import PROBE, HubPlaces, HubRule
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.core.webhook_keys import generate_webhook_key
from keyturn.keys.own_keys import turn_own_key
from keyturn.ledger.naming import SIGNING_KEY, read_name
from keyturn.providers.vault.hub import VaultHub
from keyturn.revocation import run as incidents
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import Mode
from keyturn.revocation.incidents.store import list_incidents
from keyturn.revocation.objectives.measured import objective_statuses
from keyturn.revocation.objectives.rehearsing import rehearse
from keyturn.revocation.selector import Selection
from keyturn.rights import hub_policies as rules
from keyturn.rights.check import Comparison, compare, paths_to_ask
from keyturn.rights.roles import needed
from keyturn.rights.scope import HubScope, scope_of
from keyturn.rotation.outcome import RunState
from keyturn.rotation.renew import renew_credentials
from keyturn.rotation.repair.removed_entries import list_undeclared
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.login_checks import check_logins
from keyturn.rotation.state.quiet_period import list_secrets, listed_records
from keyturn.serving.alerts_sent import ToldMemory
from keyturn.serving.cursors import Marks
from keyturn.serving.leases import PartLease
from keyturn.serving.numbers.board import Seen
from keyturn.serving.numbers.displayed import Area
from keyturn.serving.numbers.published import publish
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.sync.plan import plan
from keyturn.wiring.registry import open_workspace
from local.prepare import LEASE
from tests.cli.command import run_keyturn
from tests.support.clock import Clock
from tests.support.engines import OverPostgreSQL
from tests.support.lab import Declared, Lab, catalogue_data, fresh
from tests.support.memory_store import MemoryStore
from tests.support.pki import Pki
from tests.support.sender import RecordingSender
from tests.support.world import REGION

pytestmark = pytest.mark.sampled(3, of="file")

CONSUMER: Final = "app"
SIGNING: Final = "webhooks/app/policies"
MANY: Final = 1_000
"""So many secrets are told by listings."""
METHODS: Final = {"get": "read", "list": "list", "post": "update", "patch": "patch", "delete": "delete"}


@dataclass
class Site:
    """Secrets of every kind that works with the hub, and logins with the policies that are rendered for them."""

    lab: Lab
    catalogue: Catalogue
    scope: HubScope
    stack: ExitStack
    calls: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    tokens: dict[str, str] = field(default_factory=dict)

    def install(self, directory: Path) -> None:
        """Write the policies to the hub under names of their own, and make a token with each, without any other."""
        roles = (
            rules.WORKER,
            rules.REVOKER,
            rules.NOTARY,
            rules.MONITOR,
            rules.AUDITOR,
            rules.LEASE,
            f"{rules.CONSUMER}:{CONSUMER}",
        )
        for role in roles:
            named = f"{self.prefix}-{role.replace(':', '-')}"
            self.lab.root.sys.create_or_update_policy(named, policy(rules.sections(self.scope, role)))
            policies = [named, *([f"{self.prefix}-{rules.WORKER}"] if role == rules.REVOKER else [])]
            made = self.lab.root.auth.token.create(policies=policies, no_default_policy=True, ttl="1h")
            self.tokens[role] = made["auth"]["client_token"]
        leases = f"{self.prefix}-{rules.LEASE}"
        token_role = {"allowed_policies": [leases], "token_no_default_policy": True, "orphan": True}
        self.lab.root.write_data(f"auth/token/roles/{leases}", data=token_role)
        self.directory = directory

    @property
    def prefix(self) -> str:
        """What the names of its policies begin with."""
        return self.scope.places.lease_token_role.removesuffix(f"-{LEASE}")

    def hub(self, role: str) -> VaultHub:
        """The hub with that login alone; every call that it makes is noted."""
        file = self.directory / role.replace(":", "-")
        file.write_text(self.tokens[role])
        role_of_tokens = self.scope.places.lease_token_role
        settings = HubSettings(
            self.lab.world.hub_address, login=TokenLogin(file=str(file)), lease_token_role=role_of_tokens
        )
        hub = VaultHub(settings)
        self.stack.enter_context(closing(hub))
        ask = hub._calls._call

        def noted(doing: str, name: str, method: str, path: str, token: str | None = None, **arguments: Any) -> Any:
            listing = (arguments.get("params") or {}).get("list")
            self.calls[rules.LEASE if token else role].add(("list" if listing else METHODS[method], path))
            return ask(doing, name, method, path, token=token, **arguments)

        hub._calls._call = noted  # type: ignore[method-assign]
        return hub

    def compared(self, role: str, login: str, more: Sequence[str] = ()) -> Comparison:
        """How a login compares with what ``login`` needs; with the policies of ``role``, and ``more``."""
        held = self.lab.root.auth.token.lookup(self.tokens[role])["data"]["policies"]
        made = self.lab.root.auth.token.create(policies=[*held, *more], no_default_policy=True, ttl="1h")
        sections = needed(self.scope, login)
        named = paths_to_ask(self.scope, sections)
        response = requests.post(
            f"{self.lab.world.hub_address}/v1/sys/capabilities",
            headers={"X-Vault-Token": self.lab.world.hub_token},
            json={"token": made["auth"]["client_token"], "paths": named},
            timeout=20,
        )
        return compare(self.scope, sections, response.json()["data"])

    def ask(self, role: str, method: str, path: str, body: Mapping[str, Any]) -> requests.Response:
        """What the hub answers whoever has that login and asks by hand."""

        def filled(text: str) -> str:
            return text.format(**self.names)

        plain = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
        sent = {name: [filled(text) for text in value] if name == "policies" else value for name, value in body.items()}
        return requests.request(
            method,
            f"{self.lab.world.hub_address}/v1/{filled(path)}",
            headers={"X-Vault-Token": self.tokens[role], **plain},
            data=json.dumps(sent) if body else None,
            timeout=20,
        )

    @cached_property
    def names(self) -> dict[str, str]:
        """What stands in the paths of calls."""
        by_strategy = {secret.rotation.strategy: path for path, secret in self.catalogue.secrets.items()}
        other = f"tests/{fresh()}"
        self.lab.hub.write(other, SecretFields({"value": "of somebody else"}), cas=0)
        roles = {name: self.catalogue.secrets[path].rotation for name, path in by_strategy.items()}
        return {
            "own": by_strategy["generated"],
            "other": other,
            "policy": f"{self.prefix}-{rules.WORKER}",
            "lease": self.scope.places.lease_token_role,
            "role": getattr(roles["vault-dynamic"], "role"),  # noqa: B009  of some strategies alone
            "signer": getattr(roles["certificate"], "role"),  # noqa: B009
        }

    @property
    def dynamic(self) -> str:
        """The secret whose credential is a lease."""
        secrets = self.catalogue.secrets.items()
        return next(path for path, secret in secrets if secret.rotation.strategy == "vault-dynamic")

    def workspace(self, role: str) -> Workspace:
        """What works with that login."""
        clock, memory = Clock(), MemoryStore("memory")
        return replace(
            open_workspace(self.catalogue, self.hub(role)),
            clock=clock,
            hub_clock=clock,
            sender=RecordingSender(),
            sleep=lambda seconds: None,
            open_store=lambda name: memory,
        )


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("policies")
    # The first login of a new hub may make it, and none may make another.
    lab.hub.fingerprint_keys()
    engine, pki = OverPostgreSQL(lab), Pki(lab, directory)
    kinds: list[dict[str, Any]] = [
        {"strategy": "vault-dynamic", "target": "pg", "role": engine.dynamic("24h", "768h"), "interval": "10d"},
        {
            "strategy": "vault-static-role",
            "target": "pg",
            "role": engine.static()[0],
            "interval": "10d",
            "accepts_gap": True,
        },
        {"strategy": "certificate", "role": pki.role(), "common_name": "www.internal", "ttl": "15d"},
    ]
    about = {"owner": "tests@example.com", "classification": "internal"}
    engines = [
        Declared(f"tests/{fresh()}", {**about, "rotation": {"grace": "0s", **rotation}}, {}) for rotation in kinds
    ]
    declared = [lab.alternating(dead_within="60s"), lab.single(), lab.generated(), *engines]
    pushed = [
        secret.having(destinations=[{"store": "memory", "name": secret.path}], consumers=[CONSUMER])
        for secret in declared
    ]
    consumers = {CONSUMER: {"url": "http://127.0.0.1:9/", "signing_key": SIGNING}}
    store = {"kind": "aws-secrets-manager", "region": REGION}
    catalogue = Catalogue.model_validate(catalogue_data(lab.world, tuple(pushed), store, consumers))
    scope = scope_of(catalogue, HubPlaces(lease_token_role=f"{fresh()}-{LEASE}"), lease_prefixes=["database/creds"])
    lab.keep(SIGNING, {"key": generate_webhook_key().reveal()})
    with ExitStack() as stack:
        made = Site(lab, catalogue, scope, stack)
        made.install(directory)
        yield made


@pytest.fixture(scope="module")
def worked(site: Site) -> Site:
    """The same, when a worker has done its whole job: each secret is rotated twice, pushed, tried and retired."""
    workspace = site.workspace(rules.WORKER)
    for _ in range(2):
        for path in site.catalogue.secrets:
            rotated = rotate(workspace, path, Trigger.FORCE)
            assert (rotated.state, [copy for copy in rotated.destinations if not copy.in_step]) == (
                RunState.ROTATED,
                [],
            )
            retire(workspace, path)
    assert {item.action for item in plan(workspace).items} == {Action.IN_SYNC}
    check_logins(workspace, site.catalogue.secrets, whose_turn=False)
    assert renew_credentials(workspace, [site.dynamic]) == {}
    (rehearsed,) = (path for path, secret in site.catalogue.secrets.items() if secret.dead_within)
    assert rehearse(workspace, rehearsed).refused is not None
    assert [status.state for status in objective_statuses(workspace, [rehearsed])] == ["met"]
    assert turn_own_key(workspace, SIGNING, forced=True).changed
    with list_secrets(workspace, MANY), listed_records(workspace, MANY) as records:
        for path in site.catalogue.secrets:
            assert records(path).history
    assert [secret for secret in list_undeclared(workspace) if secret.path in site.catalogue.secrets] == []
    recovered_once(site, workspace)
    workspace.hub.signer(SIGNING_KEY).public_key()
    notary = site.hub(rules.NOTARY)
    notary.signer(SIGNING_KEY).sign(b"the ledger as it stands")
    for place in ("ledgers", "forwarding"):
        notary.write_state(f"{place}/{fresh()}", {"a": "b"}, cas=0)
        assert list(workspace.hub.list_state(place))
    for role in (rules.WORKER, rules.MONITOR):
        run_on(site.hub(role))
    for role in (rules.WORKER, rules.MONITOR, rules.NOTARY):
        record_once(site, site.hub(role), f"unrecorded/{fresh()}/{fresh()}")
    assert list(workspace.hub.list_state("serve/access"))
    publish(workspace.hub, Area.REVIEWS, Seen(workspace.hub_now(), 0.1, None), 60.0)
    return site


def recovered_once(site: Site, workspace: Workspace) -> None:
    """What `keyturn repair recover` says in a hub that was restored."""
    mark = RestoredMark("20260301T120000Z-0a1b2c3d", 0, workspace.hub_now(), workspace.hub_now(), whole=True)
    site.lab.keep(RESTORED, mark.to_data())
    try:
        assert read_mark(workspace.hub) == mark
        mark_recovered(workspace.hub, mark, workspace.hub_now())
        assert read_mark(workspace.hub) != mark
    finally:
        site.lab.hub.delete_state(RESTORED)


def record_once(site: Site, hub: VaultHub, waiting: str) -> None:
    """What a process that can write the ledger does with an event that waits in the hub."""
    site.hub(rules.REVOKER).claim_state(waiting, {"a": "b"})
    incident = waiting.rpartition("/")[0]
    assert [*hub.list_state("unrecorded")]
    assert [*hub.list_state(incident)]
    assert hub.read_state(waiting)
    hub.delete_state(waiting)


def run_on(hub: VaultHub) -> None:
    """What `keyturn serve` does in the hub for a log that it reads."""
    part, now = fresh(), datetime.now(UTC)
    lease = PartLease(hub, f"access/{part}", "holder")
    number = lease.take()
    assert number
    lease.renew()
    Marks(hub, part, number, now).move(1, now)
    ToldMemory(hub).add("ledger", [(part, "begun", 1)])
    cursors = HubCursors(hub)
    cursors.write(part, replace(cursors.read(part), cursor="a"))
    lease.give_back()
    read_name(hub)
    hub.signer(SIGNING_KEY).public_key()
    hub.read_state(f"ledgers/{part}")
    hub.identity()


@pytest.fixture(scope="module")
def revoked(worked: Site) -> Site:
    """The same, after an incident of all of it by whoever has the revoker's policy besides."""
    workspace, incident = worked.workspace(rules.REVOKER), f"INC-{fresh()}"
    gone = next(path for path, secret in worked.catalogue.secrets.items() if secret.rotation.strategy == "generated")
    worked.lab.hub.delete(gone, [1])
    leases = tuple(workspace.hub.leases("database/creds"))
    incidents.begin(
        workspace,
        Selection(tuple(worked.catalogue.secrets), leases[:0]),
        incident=incident,
        reason="leaked in a log",
        mode=Mode.REPLACE,
        selector="**",
        triggered_at=workspace.clock(),
        consent=Consent(len(worked.catalogue.secrets)),
    )
    status = incidents.finish(workspace, incident)
    assert (status.open, status.left) == (False, ())
    assert incident in {listed.id for listed in list_incidents(worked.workspace(rules.WORKER))}
    return worked


@pytest.mark.sampled(4, of="files")
def test_with_the_rendered_policies_the_whole_job_is_done_and_an_incident_is_proven(revoked: Site) -> None:
    assert all(revoked.calls[role] for role in (rules.WORKER, rules.REVOKER, rules.LEASE))


@pytest.mark.sampled(4, of="files")
@pytest.mark.parametrize("role", [rules.WORKER, rules.REVOKER, rules.NOTARY, rules.MONITOR, rules.LEASE])
def test_a_rendered_policy_has_no_rule_that_nothing_needs(revoked: Site, role: str) -> None:
    by = (role, rules.REVOKER) if role == rules.WORKER else (role,)  # whoever revokes has the worker's policy too
    calls = set().union(*(revoked.calls[caller] for caller in by))
    idle = [
        f"{capability} on {rule.path}"
        for section in rules.sections(revoked.scope, role)
        for rule in section.rules
        for capability in sorted(rule.capabilities)
        if not is_used(rule, capability, calls) and not ELSEWHERE.search(f"{capability} on {rule.path}")
    ]
    assert idle == []


ELSEWHERE: Final = re.compile(
    "|".join(
        (
            "on auth/token/(lookup|renew|revoke)-self|sys/capabilities-self",  # the login itself, outside of any call
            "sudo on ",  # what listing takes there
            "on secret/undelete/|on secret/delete/",  # where somebody has deleted a version
            "on keyturn/(meta)?data/(notices|forwarding|sync|quiet)/",  # following, forwarding, deletions, thousands
            "on keyturn/(meta)?data/fingerprint-keys?(/|$)",  # made once, and asked for once a minute
            "(read|update) on keyturn/metadata/",  # where an entry was deleted, or only prepared
            "create on keyturn/metadata/",
            "list on secret/metadata/",  # on Vault
            "on sys/leases/(lookup|renew)$",  # as its life goes on
            "list on keyturn/metadata/(rotations|sync)/",  # on Vault
            "on pki/issuer/",
            "on identity/entity/id/|deny on ",
            "on keyturn/(meta)?data/ledger$",  # the first use of the hub, and `keyturn ledger move`
            "read on keyturn/data/ledgers/",
            "read on keyturn/data/failover/epoch$",  # where there are two hubs
            "on keyturn/(meta)?data/(limits|approvals|break-glass.*)/",  # where a site asks for a second person
            "on keyturn/(meta)?data/(offboardings/|grants|agreements/)",  # where a project ends: tests/organisations
            "on keyturn/(meta)?data/hub-checks/",  # once a day: tests/hub_setup
            "on keyturn/(meta)?data/granted/",  # what is given, for `keyturn status`: tests/grants
            "on keyturn/(meta)?data/access-archive/",  # requests that are long over: tests/grants
            r"on keyturn/data/keys/\*$",  # of managed keys, of which this job has none
            "read on auth/token/roles/",  # `keyturn doctor` and `keyturn policy check`
            "read on keyturn/data/candidates/",  # where a run continues another one's rotation
        )
    )
)
"""What is needed where this job does not come to, and why."""


def is_used(rule: HubRule, capability: str, calls: set[tuple[str, str]]) -> bool:
    """Whether one of the calls took this capability at the rule's path."""
    method = "update" if capability == "create" else capability
    beginning = rule.path.removesuffix("*")
    return any(
        called == method
        and (f"{path}/".startswith(beginning) if rule.path.endswith("*") else rule.path in (path, f"{path}/"))
        for called, path in calls
    )


# --- beside it

Attack = tuple[str, str, dict[str, Any]]

OF_A_WORKER: Final[list[Attack]] = [
    ("GET", "secret/data/{other}", {}),
    ("POST", "secret/data/{other}", {"data": {"a": "b"}}),
    ("GET", "secret/metadata/{other}", {}),
    ("PATCH", "secret/metadata/{other}", {"custom_metadata": {"a": "b"}}),
    ("POST", "secret/undelete/{other}", {"versions": [1]}),
    ("DELETE", "secret/data/{own}", {}),
    ("POST", "secret/delete/{own}", {"versions": [1]}),
    ("POST", "secret/destroy/{own}", {"versions": [1]}),
    ("DELETE", "secret/metadata/{own}", {}),
    ("POST", "secret/metadata/{own}", {"max_versions": 1}),
    ("PATCH", "secret/metadata/{own}", {"max_versions": 1}),
    ("PATCH", "secret/metadata/{own}", {"custom_metadata": {"a": "b"}, "max_versions": 1}),
    ("PATCH", "secret/metadata/{own}", {"delete_version_after": "1s"}),
    ("PATCH", "secret/metadata/{own}", {"cas_required": False}),
    ("POST", "secret/config", {"max_versions": 1}),
    ("POST", "keyturn/data/targets/ml-postgres", {"data": {"username": "me"}}),
    ("GET", "keyturn/data/targets/another", {}),
    ("POST", "keyturn/data/webhooks/app", {"data": {"key": "mine"}}),
    ("POST", "keyturn/data/fingerprint-key", {"data": {"key": "mine"}}),
    ("DELETE", "keyturn/data/fingerprint-keys/2", {}),
    ("DELETE", "keyturn/metadata/fingerprint-keys/2", {}),
    ("POST", "keyturn/metadata/fingerprint-keys/2", {"max_versions": 1}),
    ("POST", "keyturn/data/incidents/INC-1/head", {"data": {"incident": "closed"}}),
    ("POST", "keyturn/data/anything", {"data": {"a": "b"}}),
    ("POST", "keyturn/metadata/rotations/{own}", {"max_versions": "50"}),
    ("DELETE", "keyturn/data/rotations/{own}", {}),
    ("DELETE", "keyturn/metadata/rotations/{own}", {}),
    ("DELETE", "keyturn/data/candidates/{own}/any", {}),
    ("POST", "keyturn/metadata/candidates/{own}/any", {"max_versions": "50"}),
    ("POST", "keyturn/config", {"max_versions": 50}),
    ("GET", "sys/policies/acl/{policy}", {}),
    ("POST", "sys/policies/acl/{policy}", {"policy": 'path "*" { capabilities = ["sudo"] }'}),
    ("POST", "sys/policy/{policy}", {"policy": 'path "*" { capabilities = ["sudo"] }'}),
    ("POST", "sys/mounts/mine", {"type": "kv"}),
    ("DELETE", "sys/mounts/secret", {}),
    ("POST", "sys/mounts/database/tune", {"max_lease_ttl": "1s"}),
    ("POST", "sys/auth/mine", {"type": "userpass"}),
    ("GET", "sys/audit", {}),
    ("POST", "sys/seal", {}),
    ("POST", "auth/approle/role/keyturn-revoker/secret-id", {}),
    ("POST", "auth/token/create", {"policies": ["{policy}"]}),
    ("POST", "auth/token/create-orphan", {}),
    ("POST", "auth/token/create/{lease}", {"policies": ["{policy}"]}),
    ("POST", "auth/token/create/{lease}", {"ttl": "87600h"}),
    ("LIST", "auth/token/accessors", {}),
    ("POST", "auth/token/lookup-accessor", {"accessor": "any"}),
    ("POST", "identity/entity", {"name": "mine"}),
    ("LIST", "sys/leases/lookup/database/creds/another", {}),
    ("LIST", "sys/leases/lookup/auth", {}),
    ("POST", "sys/leases/lookup", {"lease_id": "database/creds/another/abc"}),
    ("POST", "sys/leases/renew", {"lease_id": "database/creds/another/abc"}),
    ("POST", "sys/leases/revoke", {"lease_id": "database/creds/another/abc"}),
    ("POST", "sys/leases/revoke", {"lease_id": "auth/token/create/abc"}),
    ("POST", "sys/leases/revoke-prefix/database", {}),
    ("POST", "sys/leases/revoke-force/database", {}),
    ("GET", "database/creds/{role}", {}),
    ("GET", "database/creds/another", {}),
    ("GET", "database/config/ml", {}),
    ("GET", "database/roles/another", {}),
    ("POST", "database/roles/{role}", {"db_name": "ml"}),
    ("GET", "database/static-creds/another", {}),
    ("POST", "database/rotate-role/another", {}),
    ("POST", "database/rotate-root/ml", {}),
    ("POST", "pki/sign/another", {"csr": ""}),
    ("POST", "pki/issue/{signer}", {"common_name": "www.internal"}),
    ("POST", "pki/sign-verbatim/{signer}", {"csr": ""}),
    ("POST", "pki/issuer/default/sign/{signer}", {"csr": ""}),
    ("POST", "pki/roles/{signer}", {"allow_any_name": True}),
    ("GET", "transit/keys/another", {}),
    ("POST", "transit/sign/another", {"input": ""}),
    ("POST", "transit/sign/keyturn-ledger", {"input": ""}),
    ("POST", "keyturn/data/ledgers/any", {"data": {"checkpoint": "mine"}}),
    ("POST", "transit/keys/keyturn-ledger/config", {"exportable": True}),
    ("POST", "transit/keys/keyturn-ledger/rotate", {}),
    ("GET", "transit/export/signing-key/keyturn-ledger", {}),
    ("DELETE", "transit/keys/keyturn-ledger", {}),
]
OF_A_NOTARY: Final[list[Attack]] = [
    ("GET", "secret/data/{own}", {}),
    ("LIST", "secret/metadata", {}),
    ("GET", "keyturn/data/rotations/{own}", {}),
    ("GET", "keyturn/data/targets/ml-postgres", {}),
    ("POST", "transit/sign/another", {"input": ""}),
    ("POST", "transit/keys/keyturn-ledger/rotate", {}),
    ("DELETE", "transit/keys/keyturn-ledger", {}),
]
OF_A_MONITOR: Final[list[Attack]] = [
    ("GET", "secret/data/{own}", {}),
    ("GET", "secret/metadata/{own}", {}),
    ("LIST", "secret/metadata", {}),
    ("GET", "keyturn/data/rotations/{own}", {}),
    ("GET", "keyturn/data/incidents/INC-1/head", {}),
    ("GET", "keyturn/data/targets/ml-postgres", {}),
    ("GET", "keyturn/data/fingerprint-key", {}),
    ("DELETE", "keyturn/metadata/serve/follow", {}),
    ("POST", "keyturn/data/ledgers/any", {"data": {"checkpoint": "mine"}}),
    ("POST", "transit/sign/keyturn-ledger", {"input": ""}),
    ("GET", "sys/audit", {}),
]
OF_AN_AUDITOR: Final[list[Attack]] = [
    ("GET", "secret/data/{own}", {}),
    ("GET", "secret/metadata/{other}", {}),
    ("GET", "keyturn/data/candidates/{own}/any", {}),
    ("GET", "keyturn/data/deliveries/any/any", {}),
    ("GET", "keyturn/data/targets/ml-postgres", {}),
    ("GET", "keyturn/data/webhooks/app", {}),
    ("GET", "keyturn/data/fingerprint-key", {}),
    ("GET", "keyturn/data/fingerprint-keys/2", {}),
    ("LIST", "keyturn/metadata/candidates", {}),
    ("POST", "keyturn/data/rotations/{own}", {"data": {"a": "b"}}),
    ("POST", "keyturn/data/incidents/INC-1/head", {"data": {"incident": "closed"}}),
    ("DELETE", "keyturn/metadata/rotations/{own}", {}),
    ("POST", "transit/sign/keyturn-ledger", {"input": ""}),
    ("GET", "transit/export/signing-key/keyturn-ledger", {}),
    ("POST", "sys/policies/acl/{policy}", {"policy": ""}),
    ("GET", "database/creds/{role}", {}),
    ("POST", "auth/token/create", {}),
]
OF_A_REVOKER: Final[list[Attack]] = [
    ("GET", "secret/data/{other}", {}),
    ("POST", "secret/destroy/{other}", {"versions": [1]}),
    ("POST", "secret/delete/{other}", {"versions": [1]}),
    ("DELETE", "secret/metadata/{own}", {}),
    ("PATCH", "secret/metadata/{own}", {"max_versions": 1}),
    ("DELETE", "keyturn/metadata/incidents/INC-1/head", {}),
    ("POST", "sys/policies/acl/{policy}", {"policy": ""}),
    ("LIST", "sys/leases/lookup/auth", {}),
    ("LIST", "sys/leases/lookup/pki", {}),
    ("POST", "sys/leases/revoke", {"lease_id": "pki/issue/x/abc"}),
    ("POST", "sys/leases/revoke", {"lease_id": "auth/token/create/abc"}),
    ("POST", "sys/leases/revoke-prefix/database/creds", {}),
    ("POST", "auth/token/revoke-orphan", {"token": "any"}),
    ("POST", "auth/token/create", {}),
    ("POST", "auth/approle/role/keyturn-worker/secret-id", {}),
]
OF_A_CONSUMER: Final[list[Attack]] = [
    ("POST", "secret/data/{own}", {"data": {"a": "b"}}),
    ("GET", "secret/data/{other}", {}),
    ("GET", "secret/metadata/{own}", {}),
    ("LIST", "secret/metadata", {}),
    ("GET", "keyturn/data/rotations/{own}", {}),
    ("GET", "keyturn/data/webhooks/app", {}),
    ("GET", "keyturn/data/fingerprint-key", {}),
    ("GET", "keyturn/data/fingerprint-keys/2", {}),
    ("POST", "transit/sign/keyturn-ledger", {"input": ""}),
]
OF_A_LEASE: Final[list[Attack]] = [
    ("GET", "database/creds/another", {}),
    ("GET", "secret/data/{own}", {}),
    ("GET", "keyturn/data/rotations/{own}", {}),
    ("POST", "auth/token/create", {}),
    ("POST", "sys/leases/revoke", {"lease_id": "database/creds/{role}/abc"}),
]
BESIDE: Final = {
    rules.WORKER: OF_A_WORKER,
    rules.REVOKER: OF_A_REVOKER,
    rules.NOTARY: OF_A_NOTARY,
    rules.MONITOR: OF_A_MONITOR,
    rules.AUDITOR: OF_AN_AUDITOR,
    f"{rules.CONSUMER}:{CONSUMER}": OF_A_CONSUMER,
    rules.LEASE: OF_A_LEASE,
}


def test_a_worker_can_begin_a_successor_of_the_fingerprints_key_and_never_change_one(site: Site) -> None:
    # Far beyond the newest, where nobody takes it for a key.
    path = f"keyturn/data/fingerprint-keys/{secrets.randbelow(10**6) + 10**6}"
    assert site.ask(rules.WORKER, "POST", path, {"data": {"key": "first"}}).status_code == 200
    for method, body in (("POST", {"data": {"key": "mine"}}), ("PATCH", {"data": {"key": "mine"}}), ("DELETE", {})):
        assert site.ask(rules.WORKER, method, path, body).status_code == 403
    assert site.ask(rules.WORKER, "GET", path, {}).json()["data"]["data"] == {"key": "first"}


@pytest.mark.parametrize(
    ("role", "attack"),
    [
        pytest.param(role, attack, id=f"{role} {attack[0]} {attack[1]} {' '.join(attack[2])}".strip())
        for role, attacks in BESIDE.items()
        for attack in attacks
    ],
)
def test_a_call_outside_its_work_is_refused(site: Site, role: str, attack: Attack) -> None:
    method, path, body = attack
    response = site.ask(role, method, path, body)
    assert (response.status_code, "permission denied" in response.text) == (403, True), response.text


@pytest.mark.parametrize("role", [rules.WORKER, rules.REVOKER, f"{rules.CONSUMER}:{CONSUMER}"])
def test_the_same_request_is_allowed_where_it_is_part_of_the_work(site: Site, role: str) -> None:
    assert site.ask(role, "GET", "secret/data/{own}", {}).status_code == 200


# --- what a login may do is told by the hub


@pytest.mark.parametrize(
    ("login", "role"),
    [
        ("worker", rules.WORKER),
        ("revoker", rules.REVOKER),
        ("monitor", rules.MONITOR),
        ("auditor", rules.AUDITOR),
        ("consumer:app", "consumer:app"),
    ],
)
def test_a_login_with_its_rendered_policies_has_exactly_the_rights_it_needs(site: Site, login: str, role: str) -> None:
    assert site.compared(role, login) == Comparison((), ())


def test_a_worker_has_no_revokers_rights_and_vice_versa(site: Site) -> None:
    lacking = {finding.path for finding in site.compared(rules.WORKER, "revoker").lacking}
    assert f"secret/destroy/{site.names['own']}" in lacking
    beyond = {(finding.capability, finding.path) for finding in site.compared(rules.REVOKER, "worker").beyond}
    assert ("update", f"secret/destroy/{site.names['own']}") in beyond


@pytest.mark.parametrize(
    ("granted", "beyond"),
    [
        ('path "secret/data/*" { capabilities = ["read"] }', ("read", f"secret/data/{PROBE}")),
        ('path "sys/policies/acl/*" { capabilities = ["update"] }', ("update", f"sys/policies/acl/{PROBE}")),
        ('path "auth/*" { capabilities = ["create"] }', ("create", f"auth/approle/role/{PROBE}")),
        ('path "transit/sign/*" { capabilities = ["update"] }', ("update", f"transit/sign/{PROBE}")),
        ('path "keyturn/data/*" { capabilities = ["update"] }', ("update", f"keyturn/data/{PROBE}")),
        ('path "secret/metadata/*" { capabilities = ["delete"] }', ("delete", f"secret/metadata/{PROBE}")),
    ],
)
def test_excess_rights_of_a_login_are_reported(site: Site, granted: str, beyond: tuple[str, str]) -> None:
    policy_name = fresh()
    site.lab.root.sys.create_or_update_policy(policy_name, granted)
    compared = site.compared(rules.WORKER, "worker", [policy_name])
    assert beyond in {(finding.capability, finding.path) for finding in compared.beyond}
    assert compared.lacking == ()


def test_the_command_reports_whether_a_login_lacks_rights(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "catalogue.yaml").write_text(json.dumps({"secrets": {"tests/nobody": DECLARED}}))
    monkeypatch.setenv("VAULT_ADDR", site.lab.world.hub_address)
    command = ("policy", "check", "--catalogue", str(tmp_path), "--json")
    monkeypatch.setenv("VAULT_TOKEN", site.lab.world.hub_token)
    result = run_keyturn(*command)
    assert (result.returncode, json.loads(result.stdout)["beyond"]) == (0, [{"capability": "root", "path": "*"}])
    monkeypatch.setenv("VAULT_TOKEN", site.tokens[rules.WORKER])
    result = run_keyturn(*command)
    assert result.returncode == 1
    assert "secret/data/tests/nobody" in {finding["path"] for finding in json.loads(result.stdout)["lacking"]}


DECLARED: Final = {
    "owner": "tests@example.com",
    "classification": "internal",
    "rotation": {"strategy": "generated", "fields": {"value": {}}, "interval": "30d", "grace": "1h"},
}
