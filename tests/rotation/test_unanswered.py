"""Consumers without replies are reported as notified, not as updated."""

from datetime import timedelta
from typing import Any

import pytest

from keyturn.cli.programs.hearing import Answer, Hearings
from keyturn.core.errors import Unavailable
from keyturn.core.ports.ledger import Outcome
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import Sensitive
from keyturn.core.webhook_keys import WebhookKeys, generate_webhook_key
from keyturn.keys.webhook_keys import turn_webhook_key
from keyturn.ledger.entries import parse_leaf
from keyturn.revocation.incidents.incident import Step
from keyturn.rotation.report import outcome_data, outcome_from
from keyturn.rotation.retire import retire
from keyturn.rotation.rollout import ACKNOWLEDGED, HANDED_OVER, Acknowledgement
from keyturn.rotation.run import rotate
from keyturn.rotation.state.quiet_period import acknowledged
from keyturn.rotation.state.record_store import load_record
from tests.revocation.site import Site
from tests.rotation.helpers import with_copy
from tests.support.clock import Clock
from tests.support.lab import Declared, Lab, Opened, fresh

QUEUE = "arn:aws:sqs:eu-central-1:123456789012:jobs"
DOWN = Unavailable("notify", "jobs", "AWS did not answer")


def consumers() -> dict[str, Any]:
    return {
        "api": {"url": "http://localhost/api", "signing_key": "webhooks/api"},
        "jobs": {"kind": "aws-sqs", "queue_arn": QUEUE, "signing_key": "webhooks/jobs"},
    }


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return with_copy(lab.alternating(grace="1h", consumers=("api", "jobs")))


@pytest.fixture
def opened(lab: Lab, secret: Declared) -> Opened:
    return lab.open(secret, consumers=consumers())


def test_a_rotation_says_who_acknowledged_and_whose_notice_was_handed_over(opened: Opened, secret: Declared) -> None:
    outcome = rotate(opened.workspace, secret.path, Trigger.FORCE)
    assert [told.words for told in outcome.consumers] == [ACKNOWLEDGED, HANDED_OVER]
    assert outcome_from(outcome_data(outcome)).consumers == outcome.consumers
    assert rotate(opened.workspace, secret.path).consumers == outcome.consumers
    ledger: Any = opened.workspace.ledger
    written = [parse_leaf(leaf).entry for _, leaf in ledger.leaves()]
    entries = [
        entry
        for entry in written
        if (entry.secret, entry.action, entry.outcome) == (secret.path, "notify", Outcome.DONE)
    ]
    assert {entry.place: entry.note for entry in entries} == {"api": "", "jobs": HANDED_OVER}


def test_status_says_sent_and_never_that_it_has_acknowledged(opened: Opened, secret: Declared) -> None:
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    info, record = opened.workspace.hub.describe(secret.path), load_record(opened.workspace, secret.path)
    hearings = Hearings().of(opened.workspace, secret.path, info, record, acknowledged(record))
    assert {hearing.consumer: hearing.answer for hearing in hearings} == {"api": Answer.TOLD, "jobs": Answer.SENT}
    assert {hearing.consumer: hearing.to_data()["acknowledged"] for hearing in hearings} == {"api": True, "jobs": None}


def test_one_that_could_not_be_sent_holds_the_old_credential_and_is_sent_again(
    opened: Opened, secret: Declared
) -> None:
    opened.sender.silent["jobs"] = DOWN
    outcome = rotate(opened.workspace, secret.path, Trigger.FORCE)
    assert outcome.consumers == (Acknowledgement("api"), Acknowledgement("jobs", str(DOWN), False, type(DOWN).__name__))
    held = retire(opened.workspace, secret.path).held_by
    assert any("jobs could not be sent version 2" in why for why in held)
    opened.sender.silent.clear()
    held = retire(opened.workspace, secret.path).held_by
    assert [why for why in held if "jobs" in why] == []
    assert any("its grace ends" in why for why in held)


def test_an_incident_does_not_say_that_it_has_acknowledged(lab: Lab) -> None:
    secret = with_copy(lab.alternating(consumers=("api", "jobs")))
    site = Site(lab, secret, lab.open(secret, consumers=consumers()))
    status = site.revoke()
    events = {event.place: event.said for event in status.secrets[0].events if event.step is Step.NOTIFY}
    assert events["api"] == "has acknowledged"
    assert "unknown whether it uses the new value" in events["jobs"]
    assert status.open is False


def test_its_next_key_signs_alone_once_a_person_says_so_and_the_grace_is_over(lab: Lab) -> None:
    path, clock = f"webhooks/jobs/{fresh()}", Clock()
    key = generate_webhook_key()
    lab.keep(path, {"key": key.reveal()})
    declared = {"jobs": {**consumers()["jobs"], "signing_key": path}}
    workspace = lab.open(lab.generated(consumers=["jobs"]), consumers=declared, clock=clock).workspace

    def keys() -> tuple[Sensitive, ...]:
        state = workspace.hub.read_state(path)
        assert state
        return WebhookKeys.from_data(path, state.data).all

    assert turn_webhook_key(workspace, "jobs", forced=True).changed
    assert len(keys()) == 2
    for age, forced in ((timedelta(minutes=6), True), (timedelta(days=8), False)):
        clock.advance(age)
        turn = turn_webhook_key(workspace, "jobs", forced=forced)
        assert (turn.changed, turn.blocked, len(keys())) == (False, True, 2)
        assert "can't be tested" in turn.did
    assert turn_webhook_key(workspace, "jobs", forced=True).changed
    (left,) = keys()
    assert left.reveal() != key.reveal()
