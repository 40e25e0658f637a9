"""A secret that was read oddly is ended where a rule asks for that: once, at its target, and seen through."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hvac
import pytest

from keyturn.access_log.detection.alerts import Alert, Response, Stage
from keyturn.access_log.detection.detector import Detector
from keyturn.access_log.detection.policy import React
from keyturn.access_log.hub_log import HubAuditLog
from keyturn.access_log.reactions.reactions import Reactions
from keyturn.catalogue.monitor_policies import DeclaredPolicies
from keyturn.catalogue.monitors import MonitorSettings
from keyturn.core.errors import Unavailable
from keyturn.core.notifications.channel import Announcement
from keyturn.core.ports.ledger import Outcome
from keyturn.revocation import run
from keyturn.revocation.by_alert import RevocationReaction, incident_id
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.incident import Incident
from keyturn.rotation.state.context import Workspace
from local.openbao import OpenBao
from tests.access_log.hub import LONG_AGO, LONG_AHEAD
from tests.access_log.reactions.samples import alert
from tests.revocation.site import Site
from tests.support.hooks import Hooked, Once, eventually, raising
from tests.support.lab import Lab, fresh

pytestmark = pytest.mark.sampled(4, of="file")

OWN = "approle keyturn-worker"


@dataclass
class Here:
    """Sees incidents through in this process where it is told to, and notes what is handed over."""

    sees: bool = False
    takes: bool = True
    handed: list[str] = field(default_factory=list)

    def see_through(self, workspace: Workspace, incident: Incident) -> None:
        if self.sees:
            run.restore_service(workspace, incident)
            run.tell_and_clear(workspace, incident)
            run.finish(workspace, incident.id)

    def hand_over(self, incident: str, path: str, reason: str) -> bool:
        self.handed.append(path)
        return self.takes


@dataclass
class Revoker:
    """The reaction over one secret, and what it has said and told."""

    site: Site
    workspace: Workspace
    conductor: Here = field(default_factory=Here)
    messages: list[Announcement] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reaction = RevocationReaction(
            lambda: self.workspace, lambda: {OWN}, self.conductor, self.messages.append, self.lines.append
        )

    def alert(self, react: React = React.REVOKE, path: str = "", **more: Any) -> Alert:
        at = more.pop("at", self.workspace.clock())
        response = Response(path or self.site.secret.path, "other-reader", react, at)
        return alert(fresh() * 2, principal=more.pop("principal", "token thief"), responses=(response,), **more)

    def works(self) -> bool:
        """Whether what was in force at first still does."""
        return self.site.lab.logs_in(self.site.secret.first)

    def incident(self, of: Alert) -> Incident | None:
        return incident_store.find_incident(self.workspace, incident_id(of, of.responses[0]))

    def closed(self, of: Alert) -> bool:
        incident = self.incident(of)
        return incident is not None and incident.closed_at is not None

    def outcomes(self, action: str) -> list[Outcome]:
        return [entry.outcome for entry in self.site.entries() if entry.action == action]


@pytest.fixture
def revoker(lab: Lab) -> Revoker:
    site = Site.of(lab, lab.alternating())
    return Revoker(site, site.impatient())


def thief_reads(lab: Lab, path: str) -> None:
    """Somebody with a token of their own, who may."""
    lab.root.sys.create_or_update_policy("thief", f'path "secret/data/{path}" {{ capabilities = ["read"] }}')
    token = lab.root.auth.token.create(policies=["thief"], ttl="1h")["auth"]["client_token"]
    kv = hvac.Client(url=lab.world.hub_address, token=token).secrets.kv.v2
    kv.read_secret_version(path, raise_on_deleted_version=True)


@pytest.fixture
def logged(openbao: OpenBao, tmp_path: Path) -> Callable[[], HubAuditLog]:
    """What the hub's audit file has from now on."""
    begin = openbao.audit_log.stat().st_size

    def tail() -> HubAuditLog:
        rest = tmp_path / "audit.log"
        rest.write_bytes(openbao.audit_log.read_bytes()[begin:])
        return HubAuditLog(rest, "secret")

    return tail


def test_what_a_thief_has_read_is_dead_soon_after(
    lab: Lab, revoker: Revoker, logged: Callable[[], HubAuditLog]
) -> None:
    path = revoker.site.secret.path
    rule = {"paths": [path], "readers": ["approle payments"], "rules": {"other-reader": {"react": "revoke"}}}
    catalogue = revoker.workspace.catalogue
    detector = Detector(DeclaredPolicies({"thieves": MonitorSettings.model_validate(rule)}, catalogue), live=True)
    revoker.conductor.sees = True
    reactions = Reactions([revoker.reaction], revoker.lines.append)
    thief_reads(lab, path)
    alerts = detector.take_all(logged().accesses(LONG_AGO, LONG_AHEAD))
    reactions.take(alerts)
    assert eventually(lambda: not revoker.works(), 20)
    (begun,) = (each for each in alerts if each.responses)
    assert eventually(lambda: revoker.closed(begun), 30)
    assert lab.logs_in(lab.current(revoker.site.secret))
    assert revoker.messages == [] == revoker.lines
    reactions.close()


def test_who_rotates_a_secret_is_among_its_readers(revoker: Revoker) -> None:
    path = revoker.site.secret.path
    monitor = MonitorSettings.model_validate({"paths": [path], "readers": ["approle payments"]})
    policies = DeclaredPolicies({"payments": monitor}, revoker.workspace.catalogue)
    assert [bool(policies.policy(name, path).readers) for name in (OWN, f"{OWN}-2", "userpass-ana")] == [
        False,
        True,
        True,
    ]


def test_an_alert_that_comes_again_begins_no_second_incident(revoker: Revoker) -> None:
    begun, revoker.conductor.sees = revoker.alert(), True
    revoker.reaction.react([begun])
    assert eventually(lambda: revoker.closed(begun), 30)
    version = revoker.site.lab.hub.read(revoker.site.secret.path)
    later = Revoker(revoker.site, revoker.workspace)
    for reaction in (revoker.reaction, later.reaction):
        reaction.react([replace(begun, stage=Stage.COMPLETE)])
    after = revoker.site.lab.hub.read(revoker.site.secret.path)
    assert version == after
    assert not revoker.works()


def test_a_dry_run_says_what_it_would_do_and_does_nothing(revoker: Revoker) -> None:
    revoker.reaction.react([revoker.alert(React.DRY_RUN)])
    assert revoker.works()
    assert revoker.outcomes("would revoke") == [Outcome.DONE]
    (message,) = revoker.messages
    assert message.subject == f"Keyturn: would revoke {revoker.site.secret.path} (dry run)"
    assert f"It would end: username {revoker.site.secret.users[0]}" in message.body
    assert "consumers: app" in message.body


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"principal": OWN}, "it is Keyturn's own login that has read it"),
        ({"path": "tests/not/declared"}, "it is no secret of the catalogue"),
        ({"path": "tests/**"}, "it is no secret of the catalogue"),
        ({"at": LONG_AGO}, "it was read 2000-01-01 00:00 UTC, long ago"),
    ],
    ids=["own", "undeclared", "pattern", "old"],
)
def test_what_is_left_to_a_person_is_told(revoker: Revoker, more: dict[str, Any], why: str) -> None:
    revoker.reaction.react([revoker.alert(**more)])
    assert revoker.works()
    assert revoker.messages[0].body.splitlines()[0] == f"Nothing was ended: {why}"
    incidents = incident_store.list_incidents(revoker.workspace)
    assert not any(revoker.site.secret.path in incident.paths for incident in incidents)


def test_what_can_not_be_done_now_is_done_later_and_holds_up_no_other(revoker: Revoker) -> None:
    other = Site.of(revoker.site.lab, revoker.site.lab.alternating())
    both = revoker.site.lab.open(revoker.site.secret, other.secret, stores=lambda name: revoker.site.store)
    broken = Hooked(both.workspace.hub, missing_capabilities=Once(raising(Unavailable("ask", "the hub", "it is down"))))
    revoker.workspace = replace(both.workspace, hub=broken, sleep=lambda seconds: None)
    alerts = [revoker.alert(), revoker.alert(path=other.secret.path)]
    with pytest.raises(Unavailable):
        revoker.reaction.react(alerts)
    assert revoker.works()
    assert not revoker.site.lab.logs_in(other.secret.first)
    revoker.reaction.react(alerts)
    assert eventually(lambda: not revoker.works())


@pytest.mark.parametrize("takes", [True, False])
def test_a_login_that_may_not_revoke_hands_it_over_or_says_so(revoker: Revoker, takes: bool) -> None:
    revoker.site.lab.root.sys.create_or_update_policy("looker", READS_ALONE)
    revoker.workspace = revoker.site.with_rights_of("looker")
    revoker.conductor.takes = takes
    revoker.reaction.react([revoker.alert()])
    assert revoker.conductor.handed == [revoker.site.secret.path]
    assert len(revoker.messages) == (0 if takes else 1)
    assert revoker.works()


def test_a_dry_run_that_nobody_may_look_for_is_told(revoker: Revoker) -> None:
    revoker.site.lab.root.sys.create_or_update_policy("looker", READS_ALONE)
    revoker.workspace = revoker.site.with_rights_of("looker")
    revoker.reaction.react([revoker.alert(React.DRY_RUN)])
    (message,) = revoker.messages
    assert message.subject == f"Keyturn: no dry run of {revoker.site.secret.path}"


READS_ALONE = """
path "sys/capabilities-self" { capabilities = ["update"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
"""
