"""The record of which consumers have acknowledged a version."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from keyturn.core.notifications.notice_state import Heard, Silence, made_at
from keyturn.core.notifications.notices import SECRET_ROTATED, message_id
from keyturn.core.ports.hub import SecretInfo, VersionInfo, VersionState

MADE = datetime(2026, 3, 1, 12, 0, 0, 250, tzinfo=UTC)
NOW, LATER = "2026-03-01T12:00:01+00:00", "2026-03-01T13:00:00+00:00"
DOWN = Silence("", "Unavailable", "notify web: the connection failed")
INFO = SecretInfo("a/b", 3, (VersionInfo(3, MADE, VersionState.READABLE),), {})
HEARD = Heard(3, made_at(INFO), "f" * 64, told=("app",), waiting={"web": None, "job": None})


@pytest.mark.parametrize(
    "heard",
    [
        Heard(),
        HEARD,
        HEARD.after({"web": DOWN}, NOW).held("host/1/2", "a-claim", NOW),
        Heard(3, NOW, rotated=True, canary_told_at=NOW, canary_well=True),
    ],
)
def test_it_comes_back_as_it_was_kept(heard: Heard) -> None:
    assert Heard.from_data(heard.to_data()) == heard


@pytest.mark.parametrize(
    "spoilt", [{"version": "x"}, {"made_at": "yesterday"}, {"told": 1}, {"who": 1}, {"waiting": 1}]
)
def test_what_somebody_else_has_written_is_none(spoilt: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError)):
        Heard.from_data(spoilt)


def test_a_silence_of_one_kind_keeps_its_beginning_and_an_acknowledgement_ends_it() -> None:
    silent = HEARD.after({"web": DOWN, "job": None}, NOW)
    assert (silent.told, silent.waiting) == (("app", "job"), {"web": replace(DOWN, since=NOW)})
    assert silent.after({"web": DOWN}, LATER) == silent
    refused = replace(DOWN, kind="Denied")
    assert silent.after({"web": refused}, LATER).waiting == {"web": replace(refused, since=LATER)}
    assert silent.after({"web": None}, LATER).waiting == {}
    assert silent.owing(["app"]).waiting == {}


def test_a_version_is_known_by_its_number_and_its_moment() -> None:
    assert HEARD.of(INFO)
    assert not HEARD.of(None)
    assert not HEARD.of(replace(INFO, version=4))
    anew = VersionInfo(3, MADE.replace(year=2027), VersionState.READABLE)
    assert not HEARD.of(replace(INFO, versions=(anew,)))


def test_versions_of_one_number_have_messages_of_their_own() -> None:
    ids = {message_id("a/b", 3, SECRET_ROTATED, at) for at in (None, MADE, MADE.replace(year=2027))}
    assert len(ids) == 3
    assert message_id("a/b", 3, SECRET_ROTATED, MADE) in ids
