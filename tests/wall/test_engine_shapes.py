"""A catalogue's engine description reaches the engine's credentials, and no settings or other paths."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from keyturn.core.rights.rights import HubPlaces
from keyturn.strategies.hub_engines import LEASE_SHAPES, STATIC_SHAPES
from keyturn.strategies.vault_dynamic import VaultDynamicSettings
from keyturn.strategies.vault_static_role import VaultStaticRoleSettings

LEASED = {"strategy": "vault-dynamic", "role": "app", "interval": "1d", "grace": "1h"}
STATIC = {"strategy": "vault-static-role", "role": "app", "interval": "1d", "grace": "1h", "accepts_gap": True}
UP = [
    "../keyturn/data/targets/main",
    "creds/../../sys/leases/{{role}}",
    "creds/..",
    "creds/./{{role}}",
    "creds/{{role}}/../other",
]
ELSEWHERE = [
    "creds/other-role",
    "creds/x{{role}}",
    "creds/{{role}}{{role}}",
    "creds/{{role}}/{{role}}",
    "creds/{{identity.entity.name}}",
    "creds/{role}",
    "{{role}}",
    "data/{{role}}",
    "finance/swift/{{role}}",
    "export/encryption-key/{{role}}",
    "sign/{{role}}",
]
SET_UP = ["roles/{{role}}", "config/{{role}}", "static-roles/{{role}}", "rotate-root/{{role}}", "config/creds/{{role}}"]


def leased(**shape: Any) -> VaultDynamicSettings:
    """A secret whose entry describes its engine so."""
    read: VaultDynamicSettings = TypeAdapter(VaultDynamicSettings).validate_python({**LEASED, "shape": shape})
    return read


def static(**shape: Any) -> VaultStaticRoleSettings:
    """The same for a static role."""
    read: VaultStaticRoleSettings = TypeAdapter(VaultStaticRoleSettings).validate_python({**STATIC, "shape": shape})
    return read


@pytest.mark.parametrize("path", [*UP, *ELSEWHERE, *SET_UP])
def test_no_path_of_another_role_engine_or_setting_is_asked_for_a_credential(path: str) -> None:
    """With a body, the hub would be written to: a role's SQL, or the address that an engine's own login is sent to."""
    for describe in (
        lambda: leased(credential=path, body={"creation_statements": "GRANT"}),
        lambda: static(credential=path),
    ):
        with pytest.raises(ValidationError) as caught:
            describe()
        assert "shape.credential" in str(caught.value)


@pytest.mark.parametrize("path", [*UP, *ELSEWHERE, "creds/{{role}}", "config/{{role}}", "rotate-root/{{role}}"])
def test_no_other_path_is_read_as_a_role(path: str) -> None:
    for describe in (leased, static):
        with pytest.raises(ValidationError):
            describe(role=path)


@pytest.mark.parametrize("path", [*UP, *ELSEWHERE, *SET_UP, "rotate-role/other", "rotate-root"])
def test_nothing_but_a_static_credential_is_rotated(path: str) -> None:
    with pytest.raises(ValidationError):
        static(rotate=path)


@pytest.mark.parametrize("path", [*UP, "creds/{{role}}", "data/config", "lease/../config"])
def test_no_other_path_is_read_for_times(path: str) -> None:
    with pytest.raises(ValidationError):
        leased(terms=path)


def test_a_role_has_no_two_dots() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(VaultDynamicSettings).validate_python({**LEASED, "role": "a..b"})


def test_the_paths_that_keyturn_knows_are_such_paths() -> None:
    for shape in LEASE_SHAPES.values():
        leased(credential=shape.credential, role=shape.role, terms=shape.terms or None)
    for each in STATIC_SHAPES.values():
        static(credential=each.credential, role=each.role, rotate=each.rotate)


def test_the_rights_are_those_paths_below_the_mount_and_no_pattern() -> None:
    settings = leased(credential="static-account/{{role}}/key", role="static-account/{{role}}", body={})
    (asking,) = settings.rights_to_ask(HubPlaces())
    assert asking.rules[0].path == "database/static-account/app/key"
    (section,) = settings.rights(HubPlaces())
    own = [rule.path for rule in section.rules if rule.path.startswith("database/")]
    assert own == ["database/static-account/app"]
