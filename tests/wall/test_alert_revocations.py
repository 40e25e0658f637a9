"""Forged log entries can't make Keyturn revoke credentials of the attacker's choice."""

from dataclasses import replace

import pytest

from keyturn.core.ports.ledger import Outcome
from keyturn.revocation.incidents.store import list_incidents
from tests.revocation.site import Site
from tests.revocation.test_by_alert import Revoker
from tests.support.lab import Lab
from tests.wall.test_rate_limits import SMALL, nothing_counted

pytestmark = pytest.mark.sampled(3, of="file")

__all__ = ["nothing_counted"]


@pytest.fixture
def revoker(lab: Lab) -> Revoker:
    """One whose workspace has three secrets, and room for two incidents an hour."""
    site = Site.of(lab, lab.generated())
    others = tuple(lab.generated() for _ in range(2))
    opened = lab.open(site.secret, *others, stores=lambda name: site.store)
    site.others = others
    return Revoker(site, replace(opened.workspace, limits=SMALL, sleep=lambda seconds: None))


def incidents_of(revoker: Revoker) -> list[str]:
    paths = {revoker.site.secret.path, *(secret.path for secret in revoker.site.others)}
    return [path for incident in list_incidents(revoker.workspace) for path in incident.paths if path in paths]


def test_a_flood_of_alerts_ends_no_more_than_a_flood_through_prefect(revoker: Revoker) -> None:
    paths = [revoker.site.secret.path, *(secret.path for secret in revoker.site.others)]
    revoker.reaction.react([revoker.alert(path=path) for path in paths])
    ended = incidents_of(revoker)
    (message,) = revoker.messages
    assert sorted([*ended, message.subject.removeprefix("Keyturn: NOT revoked: ")]) == sorted(paths)
    assert len(ended) == 2
    assert "2 incidents were begun within the hour" in message.body


def test_repeated_revocations_of_one_secret_are_limited_as_for_people(revoker: Revoker) -> None:
    revoker.workspace = replace(revoker.workspace, limits=SMALL.model_copy(update={"incidents": 99}))
    revoker.reaction.react([revoker.alert() for _ in range(SMALL.incidents_of_one_secret + 1)])
    assert len(incidents_of(revoker)) == SMALL.incidents_of_one_secret
    assert len(revoker.messages) == 1


@pytest.mark.parametrize("pattern", ["**", "tests/*", "*"])
def test_a_path_in_a_log_is_not_used_as_a_pattern(revoker: Revoker, pattern: str) -> None:
    revoker.reaction.react([revoker.alert(path=pattern)])
    assert incidents_of(revoker) == []
    assert Outcome.DONE not in revoker.outcomes("revoke")


def test_a_login_with_keyturns_name_is_not_taken_for_keyturn(revoker: Revoker) -> None:
    revoker.reaction.react([revoker.alert(principal="userpass-x keyturn-worker")])
    assert incidents_of(revoker) == [revoker.site.secret.path]


def test_markup_in_a_name_is_plain_text_in_notifications(revoker: Revoker) -> None:
    revoker.reaction.react([revoker.alert(principal="<b>@channel</b>", path="<img src=x>")])
    (message,) = revoker.messages
    assert "<" not in message.subject + message.body
