"""The actor of an action is the login that the hub reports, never a claimed name."""

import os
import pwd
from dataclasses import replace
from typing import Any

import pytest

from keyturn.cli.commands import acting_command
from keyturn.core.actor import Acting, acting
from keyturn.core.errors import Unavailable
from keyturn.core.ports.hub import Identity
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.core.schedule.due import Trigger
from keyturn.ledger.entries import parse_leaf
from keyturn.revocation.incidents.give_up import give_up_incident
from keyturn.revocation.report.build import about_incident
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import UNNAMED, entry
from tests.revocation.site import Site
from tests.support.lab import Lab
from tests.support.people import hub_with, program


def entries_of(workspace: Workspace, secret: str) -> list[Entry]:
    """What the ledger records about a secret."""
    ledger: Any = workspace.ledger
    found = [parse_leaf(leaf).entry for _, leaf in ledger.leaves()]
    return [one for one in found if one.secret == secret]


@pytest.mark.parametrize("variable", ["SUDO_USER", "USER", "LOGNAME", "USERNAME"])
def test_an_environment_variable_does_not_set_the_actor(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "the-auditor")
    said = acting_command("revoke")
    assert "the-auditor" not in said.remark
    assert said.asked_by.startswith(f"{pwd.getpwuid(os.getuid()).pw_name}@")


def test_an_action_is_recorded_under_the_hubs_name_for_the_login(lab: Lab) -> None:
    ana, secret = program(lab, "ana"), lab.generated()
    workspace = ana.workspace(lab.open(secret).workspace)
    token = acting.set(Acting("keyturn rotate, process 1", "somebody-else@laptop"))
    try:
        rotate(workspace, secret.path, Trigger.FORCE)
    finally:
        acting.reset(token)
    entries = entries_of(workspace, secret.path)
    identity = workspace.hub.identity()
    assert identity.entity_id == ana.entity
    words = f"approle {ana.name} (entity {ana.name} {ana.entity}, accessor {identity.accessor})"
    assert {one.actor for one in entries} == {words}
    assert {one.run for one in entries} == {"keyturn rotate, process 1, asked for by somebody-else@laptop"}


def test_a_process_does_not_choose_its_actor(lab: Lab) -> None:
    secret = lab.generated()
    workspace = lab.open(secret).workspace
    token = acting.set(Acting("run", "userpass-ana (entity ana, accessor x)"))
    try:
        written = entry(workspace, "rotate", Outcome.BEGUN, secret.path)
    finally:
        acting.reset(token)
    assert "ana" not in written.actor
    assert written.actor == lab.hub.identity().words


def test_an_incident_and_its_end_bear_the_names_of_two_logins(lab: Lab) -> None:
    ana, bea = program(lab, "ana"), program(lab, "bea")
    site = Site.of(lab, lab.generated())
    opened = site.begin(workspace=ana.workspace(site.workspace))
    assert opened.actor.startswith(f"approle {ana.name} (entity {ana.name} {ana.entity}, ")
    assert about_incident(opened).remark == opened.remark
    status = give_up_incident(bea.workspace(site.workspace), opened.id, "looked at by hand")
    assert status.incident.given_up_by.startswith(f"approle {bea.name} (")


def test_a_token_with_another_persons_display_name_is_shown_as_a_created_token(lab: Lab) -> None:
    made = lab.root.auth.token.create(policies=["root"], ttl="1h", display_name="ana", meta={"username": "ana"})
    identity = hub_with(lab, made["auth"]["client_token"]).identity()
    assert (identity.name, identity.entity_id, identity.role) == ("token-ana", "", "")


def test_a_person_has_one_name_from_their_login_method() -> None:
    ana = Identity("userpass-ana", "7f3a", "8609", "auth/userpass/login/ana", role="ana")
    assert ana.words == "userpass-ana (entity 7f3a, accessor 8609)"
    assert Identity("", "", "", "").words == "unnamed login"


def test_two_logins_of_one_person_are_distinguished(lab: Lab) -> None:
    ana = program(lab, "ana")
    first, second = ana.hub().identity(), ana.hub().identity()
    assert (first.name, first.entity_id) == (second.name, second.entity_id)
    assert first.words != second.words


def test_a_login_that_can_not_look_itself_up_continues_under_a_generic_name(lab: Lab) -> None:
    made = lab.root.auth.token.create(policies=["nothing-at-all"], no_default_policy=True, ttl="1h")
    hub, secret = hub_with(lab, made["auth"]["client_token"]), lab.generated()
    workspace = lab.open(secret).workspace
    poor: Any = type("Poor", (), {"identity": staticmethod(hub.identity)})()
    assert entry(with_hub(workspace, poor), "rotate", Outcome.BEGUN, secret.path).actor == UNNAMED


def test_an_unreachable_hub_delays_no_ledger_entry(lab: Lab) -> None:
    def away() -> None:
        raise Unavailable("ask for", "the login", "the hub does not answer")

    workspace = lab.open(lab.generated()).workspace
    gone: Any = type("Gone", (), {"identity": staticmethod(away)})()
    assert entry(with_hub(workspace, gone), "rotate", Outcome.FAILED).actor == UNNAMED


def with_hub(workspace: Workspace, hub: Any) -> Workspace:
    """The workspace over another hub."""
    return replace(workspace, hub=hub)
