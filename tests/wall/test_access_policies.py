"""A catalogue change gives access only to the targets of its own secrets."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from keyturn.catalogue import CatalogueInvalid, find_problems, load_catalogue
from keyturn.core.errors import Denied, Invalid
from keyturn.rights import hub_policies
from keyturn.rights.scope import places_of, scope_of
from keyturn.settings.hub import HubSettings
from tests.support.given import GivenSite, deliver_access, given_site, people_with_least_rights, reader_role
from tests.support.lab import Lab, fresh

CREATION = ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'"]


def secret(target: str | None, classification: str = "internal") -> dict[str, Any]:
    """A secret whose user has a password at that target; without one, a random value."""
    rotation: dict[str, Any] = {"strategy": "generated", "interval": "30d", "grace": "1h"}
    if target:
        user = f"{target}_{classification}"
        rotation = {"strategy": "single-user", "user": user, "accepts_gap": True, "target": target, "interval": "30d"}
    return {"owner": "a@example.com", "classification": classification, "rotation": {"grace": "0s", **rotation}}


def policy(credential: str, *paths: str, **more: Any) -> dict[str, Any]:
    """Who is on call may have it without approval, unless something else is said."""
    usual = {"paths": list(paths), "classifications": ["internal"], "subjects": {"entities": ["e"]}, "approvals": 0}
    return {**usual, "credential": credential, **more}


def declared(**policies: dict[str, Any]) -> dict[str, Any]:
    """Two databases with a role each, and three secrets."""
    server = {"kind": "postgresql", "database": "app"}
    return {
        "targets": {
            name: {**server, "host": f"{name}.example.com", "admin": f"targets/{name}"} for name in ("ml", "finance")
        },
        "hub": {
            "ml": {"kind": "database", "target": "ml"},
            "finance": {"kind": "database", "target": "finance"},
            "ml-reader": {"kind": "database-role", "connection": "ml", "creation": CREATION},
            "swift": {"kind": "database-role", "connection": "finance", "creation": CREATION},
        },
        "secrets": {
            "ml/database": secret("ml"),
            "ml/dummy": secret(None),
            "finance/ledger": secret("finance", "restricted"),
        },
        "access_policies": policies,
    }


def flaws(directory: Path, data: dict[str, Any]) -> list[str]:
    """What is wrong with this catalogue, which loads only where nothing is."""
    (directory / "all.yaml").write_text(yaml.safe_dump(data))
    found = [str(problem) for problem in find_problems(directory, {})]
    if found:
        with pytest.raises(CatalogueInvalid):
            load_catalogue(directory, {})
    else:
        load_catalogue(directory, {})
    return found


@pytest.mark.parametrize(
    "credential",
    [
        "secret/data/finance/swift",
        "auth/token/create",
        "auth/token/create/keyturn-worker",
        "pki/issue/x",
        "database/creds/*",
        "database/creds/ml*",
        "+/creds/ml-reader",
        "+/+/+",
        "*",
        "sys/raw/creds",
        "secret/../database/creds/ml-reader",
        "database/creds/../creds/ml-reader",
        "database//creds/ml-reader",
        "/database/creds/ml-reader",
        "database/creds/ml-reader/",
        "database/creds/ml-reader?x=y",
        "database/creds/{{identity.entity.name}}",
        "database/creds/ml-reader\u202e",
        "keyturn/data/targets/creds/ml",
        "secret/data/creds/ml-reader",
        "database/static-creds/ml-reader",
        "other/creds/ml-reader",
        "database/creds/finance-admin",
        "cubbyhole/creds/ml-reader",
        "identity/oidc/token/creds/x",
    ],
)
def test_a_policy_gives_no_credential_but_that_of_a_declared_role(credential: str, tmp_path: Path) -> None:
    (flaw,) = flaws(tmp_path, declared(mine=policy(credential, "ml/database")))
    assert "access_policies.mine.credential: " in flaw
    assert flaws(tmp_path, declared(mine=policy("database/creds/ml-reader", "ml/database"))) == []


@pytest.mark.parametrize("path", ["ml/dummy", "ml/database"])
def test_a_policy_gives_no_credential_for_another_target_than_its_secrets_have(path: str, tmp_path: Path) -> None:
    found = flaws(tmp_path, declared(mine=policy("database/creds/swift", path)))
    assert any(f"it gives access to the target finance, and chooses {path}, " in flaw for flaw in found)


def test_an_account_of_keyturns_own_is_for_the_target_of_the_secrets_alone(tmp_path: Path) -> None:
    data = declared(mine=policy("", "ml/dummy", grant="reader") | {"credential": None})
    del data["access_policies"]["mine"]["credential"]
    data["grants"] = {
        "reader": {"target": "finance", "admin": "grant-admins/reader", "roles": ["reader"], "owner": "owner"}
    }
    found = flaws(tmp_path, data)
    message = "it gives access to the target finance, and chooses ml/dummy, which has no target"
    assert any(message in flaw for flaw in found)


def test_access_to_a_confidential_secret_needs_its_number_of_approvals(tmp_path: Path) -> None:
    data = declared(mine=policy("database/creds/swift", "finance/dummy"))
    data["secrets"]["finance/dummy"] = secret("finance")
    (flaw,) = flaws(tmp_path, data)
    assert "without approval it gives access to finance, and so to finance/ledger, which is restricted" in flaw


@pytest.mark.parametrize(
    "host", ["FINANCE.example.com", "finance.example.com.", "other.example.com,finance.example.com"]
)
def test_a_second_name_for_a_server_does_not_lower_the_number_of_approvals(host: str, tmp_path: Path) -> None:
    data = declared(mine=policy("database/creds/mine", "mine/dummy"))
    data["targets"]["mine"] = {**data["targets"]["finance"], "host": host, "admin": "targets/mine"}
    data["hub"] |= {"mine-too": {"kind": "database", "target": "mine"}}
    data["hub"]["mine"] = {"kind": "database-role", "connection": "mine-too", "creation": CREATION}
    data["secrets"]["mine/dummy"] = secret("mine")
    (flaw,) = flaws(tmp_path, data)
    assert "and so to finance/ledger, which is restricted" in flaw


def test_no_policy_asks_for_fewer_approvals_than_that_of_the_most_confidential_secret(tmp_path: Path) -> None:
    approvers = {"approvers": ["bea", "cleo"]}
    theirs = policy("database/creds/swift", "finance/ledger", **approvers, approvals=2, classifications=["restricted"])
    mine = policy("database/creds/swift", "finance/dummy", **approvers, approvals=1)
    data = declared(theirs=theirs, mine=mine)
    data["secrets"]["finance/dummy"] = secret("finance")
    for role in ("swift", "swift-too"):
        data["hub"]["swift-too"] = data["hub"]["swift"]
        data["access_policies"]["mine"] = mine | {"credential": f"database/creds/{role}"}
        (flaw,) = flaws(tmp_path, data)
        told = "access_policies.mine.approvals: it opens the server of the policy theirs, and so finance/ledger"
        assert told in flaw
        data["access_policies"]["mine"]["approvals"] = 2
        assert flaws(tmp_path, data) == []


# --- mounts


def rights(directory: Path, data: dict[str, Any]) -> list[str]:
    """The paths of all rules that are rendered from this catalogue."""
    (directory / "all.yaml").write_text(yaml.safe_dump(data))
    catalogue = load_catalogue(directory, {})
    scope = scope_of(catalogue, places_of(catalogue, HubSettings("https://hub.example.com")))
    roles = [*hub_policies.ROLES, *(f"consumer:{name}" for name in scope.consumers)]
    return [rule.path for role in roles for section in hub_policies.sections(scope, role) for rule in section.rules]


@pytest.mark.parametrize(
    "mount", ["secret/data", "secret", "keyturn", "keyturn/data/targets", "transit", "payments/data/x"]
)
@pytest.mark.parametrize("section", ["hub", "secrets", "certificates", "pki"])
def test_an_engine_may_not_be_below_a_mount_of_secrets_or_of_keyturn(mount: str, section: str, tmp_path: Path) -> None:
    data = declared() | {"mounts": {"payments": {"mount": "payments"}}}
    times = {"interval": "30d", "grace": "1h"}
    match section:
        case "hub":
            data["hub"]["ml"]["mount"] = mount
        case "secrets":
            rotation = {"strategy": "vault-dynamic", "target": "ml", "mount": mount, "role": "x", **times}
            data["secrets"]["ml/database"]["rotation"] = rotation
        case "certificates":
            rotation = {
                "strategy": "certificate",
                "mount": mount,
                "role": "x",
                "common_name": "a.internal",
                "ttl": "60d",
                "grace": "1h",
            }
            data["secrets"]["ml/database"]["rotation"] = rotation
        case "pki":
            data["pki"] = {"ca": {"mount": mount, "common_name": "ca", "ttl": "3650d"}}
    with pytest.raises(Invalid, match="render policies for the mount"):
        rights(tmp_path, data)


@pytest.mark.parametrize("mount", ["keyturn", "keyturn/data/targets", "transit", "transit/keys"])
def test_a_mount_of_secrets_may_not_be_below_one_of_keyturn(mount: str, tmp_path: Path) -> None:
    data = declared() | {"mounts": {"mine": {"mount": mount}}}
    data["secrets"]["mine:targets/finance"] = secret(None)
    with pytest.raises(Invalid, match="render policies for the mount"):
        rights(tmp_path, data)


@pytest.mark.parametrize("mount", ["sys", "auth/token", "identity/oidc", "cubbyhole", "+", "data*base", "a/../b"])
def test_a_mount_may_not_be_a_system_path_of_the_hub_or_a_pattern(mount: str, tmp_path: Path) -> None:
    for section, entry in (("mounts", {"mount": mount}), ("hub", {"kind": "database", "target": "ml", "mount": mount})):
        data = declared()
        data[section] = {**data.get(section, {}), "mine": entry}
        (flaw,) = flaws(tmp_path, data)
        assert f"{section}.mine.mount: " in flaw


# --- in the hub


@pytest.fixture(scope="module")
def site(lab: Lab) -> GivenSite:
    return given_site(lab, people_with_least_rights(lab), reader_role(lab))


def test_a_role_of_another_server_gives_nothing_whatever_the_catalogue_says(site: GivenSite) -> None:
    request = site.approved()
    role = site.access.policy["credential"].rpartition("/")[2]
    connection, root = fresh(), site.lab.root
    made = root.read("database/config/ml")["data"]["connection_details"]
    url = str(made["connection_url"]).replace("/ml?", "/postgres?")
    root.write_data(
        f"database/config/{connection}",
        data={"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": url}
        | {"username": made["username"], "password": "x", "verify_connection": False},
    )
    before = root.read(f"database/roles/{role}")["data"]
    root.write_data(f"database/roles/{role}", data={**before, "db_name": connection})
    workspace = site.at_work("granter")
    try:
        with pytest.raises(Denied, match=r"makes accounts at .*/postgres, which is not the target pg"):
            deliver_access(workspace, request.id)
    finally:
        root.write_data(f"database/roles/{role}", data=before)
    assert site.grant_of(request) is None
    assert deliver_access(workspace, request.id).accessor
