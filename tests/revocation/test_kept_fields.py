"""Fields that a rotation keeps: an incident is proven only once none of them holds what has leaked."""

from dataclasses import replace
from secrets import token_urlsafe

import pytest

from keyturn.core.errors import Denied, Invalid
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.revocation import run
from keyturn.revocation.incidents.incident import IncidentStatus, Mode
from keyturn.revocation.preview import preview_revocation, with_store_warnings
from keyturn.revocation.proof import CheckAnswer, CheckSubject, IncidentVerdict
from keyturn.revocation.selector import Selection
from keyturn.rotation.outcome import RunState
from keyturn.rotation.run import rotate
from keyturn.sync.plan import plan
from tests.revocation.site import CONSUMERS, Site
from tests.rotation.helpers import with_copy
from tests.support.lab import Declared, Lab

VALUE = token_urlsafe(24)


def with_fields(lab: Lab, secret: Declared, **more: object) -> Declared:
    """The same secret with these fields next to its credential, in the hub too."""
    first = {**secret.first, **more}
    lab.hub.write(secret.path, SecretFields(first), cas=1)
    return replace(secret, first=first)


def replacing(secret: Declared, field: str) -> Declared:
    """The same secret, whose entry names this field as the generated one."""
    return replace(secret, data={**secret.data, "rotation": {**secret.data["rotation"], "field": field}})


def kept(status: IncidentStatus) -> dict[str, CheckAnswer]:
    return {check.place: check.answer for _, check in status.checks if check.subject is CheckSubject.KEPT_FIELDS}


def write(site: Site, **fields: object) -> None:
    """A person writes these fields to the hub, over what is there."""
    current = site.lab.current(site.secret)
    info = site.lab.hub.describe(site.secret.path)
    site.lab.hub.write(site.secret.path, SecretFields({**current, **fields}), cas=info.version if info else 0)


@pytest.mark.parametrize("kind", ["generated", "alternating"])
def test_a_secret_in_a_kept_field_keeps_the_incident_open_until_a_person_replaces_it(lab: Lab, kind: str) -> None:
    site = Site.of(lab, with_fields(lab, getattr(lab, kind)(), replica_password=VALUE))
    status = site.revoke()
    assert (status.verdict, kept(status)) == (
        IncidentVerdict.OPEN,
        {"replica_password": CheckAnswer.REMAINING},
    )
    assert any("write a new value to that field" in words for words in status.left)
    write(site, replica_password=token_urlsafe(24))
    status = run.finish(site.workspace, site.incident)
    assert (status.verdict, status.left) == (IncidentVerdict.PROVEN, ())
    info = lab.hub.describe(site.secret.path)
    assert info is not None
    assert [version.version for version in info.versions if version.readable] == [info.version]
    assert VALUE not in site.store.read(site.secret.path).reveal()


def test_an_address_a_name_and_what_the_catalogue_calls_public_may_stay(lab: Lab) -> None:
    secret = with_fields(lab, lab.alternating(), note="for the nightly training", replica_host="db2.example.com")
    site = Site.of(lab, secret.having(public_fields=["note"]))
    status = site.revoke()
    assert (status.verdict, kept(status)) == (IncidentVerdict.PROVEN, {"": CheckAnswer.CLEAR})
    assert lab.current(secret)["note"] == "for the nightly training"


def test_a_connection_string_with_the_leaked_password_is_no_address(lab: Lab) -> None:
    secret = lab.generated()
    url = f"https://app:{secret.first['value']}@api.example.com"
    site = Site.of(lab, with_fields(lab, secret, url=url))
    assert kept(site.revoke()) == {"url": CheckAnswer.REMAINING}


def test_without_a_replacement_a_kept_secret_is_reported_and_not_proven(lab: Lab) -> None:
    site = Site.of(lab, with_fields(lab, lab.generated(), admin_token=VALUE))
    status = site.revoke(Mode.REVOKE_ONLY)
    assert (status.verdict, kept(status)) == (IncidentVerdict.CLOSED, {"admin_token": CheckAnswer.IRREVOCABLE})


def test_a_field_that_the_hub_lacks_is_not_added_until_a_person_says_so(lab: Lab) -> None:
    secret = with_fields(lab, lab.generated(), api_key=VALUE)
    opened = lab.open(replacing(secret, "secret"))
    with pytest.raises(Invalid, match="declares the field secret") as refused:
        rotate(opened.workspace, secret.path, Trigger.FORCE)
    assert "--change-account" in refused.value.hint
    assert "secret" not in lab.current(secret)
    assert rotate(opened.workspace, secret.path, Trigger.FORCE, change_account=True).state is RunState.ROTATED
    assert "secret" in lab.current(secret)
    assert rotate(opened.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED


def test_a_revocation_of_a_secret_without_the_declared_field_cuts_and_stays_open(lab: Lab) -> None:
    secret = lab.generated()
    lab.hub.write(secret.path, SecretFields({"api_key": VALUE, "endpoint": "https://api.example.com"}), cas=1)
    site = Site.of(lab, replacing(secret, "secret"))
    status = site.revoke()
    assert status.verdict is IncidentVerdict.OPEN
    assert status.secrets[0].cut_at is not None
    assert any("declares the field secret" in words for words in status.left)
    assert lab.current(secret)["api_key"] == VALUE
    corrected = lab.open(replacing(site.secret, "api_key"), consumers=CONSUMERS, stores=lambda name: site.store)
    status = run.finish(corrected.workspace, site.incident)
    assert (status.verdict, status.left) == (IncidentVerdict.PROVEN, ())
    assert VALUE not in site.store.read(site.secret.path).reveal()


def test_preview_and_plan_say_beforehand_which_fields_keep_it_open(lab: Lab) -> None:
    secret = with_fields(lab, lab.generated(), api_key=VALUE)
    opened = lab.open(with_copy(replacing(secret, "secret")))
    (shown,) = preview_revocation(opened.workspace, Selection((secret.path,)), Mode.REPLACE).secrets
    assert any("the field api_key is kept" in words for words in shown.warnings)
    assert any("declares the field secret" in words for words in shown.warnings)
    assert CheckSubject.KEPT_FIELDS in {check.subject for check in shown.checks}
    assert any(f"{secret.path}: the catalogue declares" in words for words in plan(opened.workspace).remarks)


def test_the_preview_warns_of_a_store_that_this_login_cannot_read(lab: Lab) -> None:
    secret = lab.generated()
    opened = lab.open(with_copy(secret))

    def warnings() -> list[str]:
        preview = preview_revocation(opened.workspace, Selection((secret.path,)), Mode.REPLACE)
        (shown,) = with_store_warnings(opened.workspace, preview).secrets
        return [words for words in shown.warnings if words.startswith("memory:")]

    assert warnings() == []
    opened.store.down = Denied("find", "memory", "no usable credentials", "Give this process a role")
    (warning,) = warnings()
    assert "so the incident would stay open" in warning
    assert warning.endswith("no usable credentials. Give this process a role")


def test_all_that_the_preview_lists_is_checked(lab: Lab) -> None:
    site = Site.of(lab, lab.generated())
    planned = preview_revocation(site.workspace, Selection((site.secret.path,)), Mode.REPLACE)
    listed = {(check.subject, check.place) for check in (*planned.secrets[0].checks, *planned.checks)}
    status = site.revoke()
    assert {(check.subject, check.place) for _, check in status.checks} == listed
