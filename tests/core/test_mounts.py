"""Which mount a name is in, and which names a pattern means."""

import pytest

from keyturn.catalogue.destinations import SyncSettings
from keyturn.catalogue.freezes import FreezeSettings
from keyturn.core.errors import Invalid
from keyturn.core.mounts import join, split
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.text.audit_lines import AuditMount, AuditRequest
from keyturn.core.text.path_patterns import covers
from keyturn.providers.vault.mounts import insist_on_apart
from tests.support.places import single


@pytest.mark.parametrize(
    ("name", "known", "parts"),
    [
        ("team/app", None, ("", "team/app")),
        ("payments:team/app", None, ("payments", "team/app")),
        ("payments:", None, ("payments", "")),
        ("team/app:blue", None, ("", "team/app:blue")),
        ("-pay:app", None, ("", "-pay:app")),
        ("payments:app", ["payments"], ("payments", "app")),
        ("db:5432/app", ["payments"], ("", "db:5432/app")),
        ("db:5432/app", [], ("", "db:5432/app")),
    ],
)
def test_a_name_tells_its_mount(name: str, known: list[str] | None, parts: tuple[str, str]) -> None:
    assert split(name, known) == parts
    assert join(*parts) == name


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("**", "team/app", True),
        ("**", "payments:team/app", False),
        ("*/app", "payments:team/app", False),
        ("payments:**", "payments:team/app", True),
        ("payments:**", "billing:team/app", False),
        ("payments:**", "team/app", False),
        ("payments:team/*", "payments:team/app", True),
        ("payments:team/app", "payments:team/app", True),
        ("*:**", "payments:team/app", True),
        ("*:**", "team/app", True),
        ("*:team/*", "billing:team/app", True),
        ("*:team/*", "billing:other/app", False),
    ],
)
def test_a_pattern_means_one_mount_or_every(pattern: str, path: str, fits: bool) -> None:
    assert covers(pattern, path) is fits


def test_where_no_mount_is_declared_a_colon_means_nothing() -> None:
    """So a catalogue without mounts goes on to push what it has pushed."""
    assert covers("**", "db:5432/app", ())
    sync = SyncSettings.model_validate({"paths": ["**"], "stores": ["aws"], "name": "{name}"})
    assert [place.name for place in single(sync.destinations("db:5432/app", None, ()))] == ["app"]
    assert sync.destinations("db:5432/app", None, ["db"]) == ()


@pytest.mark.parametrize(
    ("template", "separator", "path", "name"),
    [
        ("{path}", None, "payments:team/app", "team/app"),
        ("{mount}/{path}", None, "payments:team/app", "payments/team/app"),
        ("{mount}/{path}", "-", "payments:team/app", "payments-team-app"),
        ("{mount}-{folder}-{name}", None, "team/app", "default-team-app"),
    ],
)
def test_names_of_copies_can_tell_the_mount(template: str, separator: str | None, path: str, name: str) -> None:
    sync = SyncSettings.model_validate({"paths": ["*:**"], "stores": ["aws"], "name": template, "separator": separator})
    assert sync.remote(path) == name


def test_a_freeze_holds_all_mounts_unless_it_names_paths() -> None:
    said = {"from": "2026-06-01T00:00", "to": "2026-06-02T00:00", "timezone": "UTC", "reason": "audit"}
    assert FreezeSettings.model_validate(said).covers("payments:team/app")
    assert FreezeSettings.model_validate(said).covers("team/app")
    assert not FreezeSettings.model_validate({**said, "paths": ["**"]}).covers("payments:team/app")


def test_marks_name_the_mount() -> None:
    marks = OwnershipTags("payments:team/app", 3, "0" * 64)
    assert OwnershipTags.from_tags(marks.to_tags()) == marks


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ("secret/data/team/app", ("data", "team/app")),
        ("kv-payments/data/team/app", ("data", "payments:team/app")),
        ("kv-payments/metadata/team/app", ("metadata", "payments:team/app")),
        ("kv-payments-old/data/team/app", None),
        ("secret/data/payments:team/app", None),
        ("secret/data/db:5432/app", ("data", "db:5432/app")),
        ("kv-payments/metadata/team/", None),
    ],
)
def test_audit_lines_tell_the_mount(asked: str, place: tuple[str, str] | None) -> None:
    assert AuditMount("secret", others={"payments": "kv-payments"}).place(AuditRequest(path=asked)) == place


@pytest.mark.parametrize(
    ("others", "why"),
    [
        ({"payments": "secret"}, "is the default mount already"),
        ({"payments": "keyturn"}, "holds Keyturn's own state"),
        ({"payments": "kv", "billing": "kv"}, "is the mount payments already"),
    ],
)
def test_a_mount_with_two_names_is_refused(others: dict[str, str], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        insist_on_apart("secret", "keyturn", others)
