"""The rendered roles for service account keys allow their rotation, and nothing more."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
import requests
import yaml

from keyturn.catalogue import Catalogue
from keyturn.core.errors import NotFound
from keyturn.core.ports.cloud_keys import CREDENTIALS_JSON
from keyturn.core.rights.gcp_rights import ON_ACCOUNT
from keyturn.core.rights.rights import AccountRights, Verdict
from keyturn.providers.gcp import rights
from keyturn.providers.gcp.iam import GcpIam
from keyturn.rights.accounts import accounts_at, target_documents
from local.emulators.gcp_iam.emulator import Conduct, Emulator
from local.emulators.gcp_iam.server import Server

pytestmark = pytest.mark.sampled(37, of="files")

PROJECT: Final = "keyturn-keys"
ACCOUNT: Final = f"app@{PROJECT}.iam.gserviceaccount.com"
ORIGIN: Final = "Made by `keyturn setup store` for a test."
EVERYTHING: Final = frozenset(
    (
        *rights.ON_PROJECT,
        *rights.BEYOND_KEYS,
        "iam.serviceAccounts.create",
        "iam.serviceAccounts.disable",
        "iam.serviceAccounts.enable",
        "iam.serviceAccounts.get",
        *(f"iam.serviceAccountKeys.{verb}" for verb in ("create", "delete", "disable", "enable", "get", "list")),
        "monitoring.timeSeries.list",
    )
)


def catalogue(strategy: str, target: dict[str, Any], **rotation: Any) -> Catalogue:
    """One secret, whose credential is rotated at one target."""
    turned = {"strategy": strategy, "target": "cloud", "interval": "30d", "grace": "1h", **rotation}
    about = {"path": "team/a", "owner": "tests@example.com", "classification": "internal", "rotation": turned}
    return Catalogue.model_validate({"targets": {"cloud": target}, "secrets": {"team/a": about}})


OF_GOOGLE: Final = {"kind": "gcp-iam", "project": PROJECT}


def rendered() -> dict[str, dict[str, Any]]:
    """The roles of Google Cloud, by their files."""
    declared = catalogue("gcp-service-account-key", OF_GOOGLE, service_account=ACCOUNT)
    return {made.name: yaml.safe_load(made.text) for made in target_documents(declared, ORIGIN)}


class Iam(Emulator):
    """Its caller may do what these allow on the one account, and on the project nothing but what is said."""

    port = 0

    def grant(self, on_account: frozenset[str], on_project: frozenset[str] = frozenset()) -> None:
        """From now on."""
        self._conduct = replace(self._conduct, denied=EVERYTHING - on_account, on_project=on_project)


@pytest.fixture(scope="module")
def iam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iam]:
    emulator = Iam(tmp_path_factory.mktemp("iam"), Conduct())
    emulator.add_account(ACCOUNT)
    with Server(emulator, 0) as server:
        emulator.port = server.port
        yield emulator


@pytest.fixture
def granted(iam: Iam) -> Iam:
    """The rendered roles."""
    roles = rendered()
    iam.grant(frozenset(permission for role in roles.values() for permission in role["includedPermissions"]))
    return iam


def test_with_the_rendered_roles_a_key_is_made_tried_and_ended(granted: Iam) -> None:
    target = GcpIam("cloud", project=PROJECT, endpoint=f"127.0.0.1:{granted.port}")
    key = target.create(ACCOUNT)
    key_id = json.loads(key[CREDENTIALS_JSON].reveal())["private_key_id"]
    assert target.signs_in(ACCOUNT, key)
    assert target.accepts(ACCOUNT, key)
    assert key_id in {listed.key_id for listed in target.keys(ACCOUNT)}
    target.revoke(ACCOUNT, key_id, 1)
    assert key_id not in {listed.key_id for listed in target.keys(ACCOUNT)}
    target.close()


@pytest.mark.parametrize(
    "path",
    [f"/serviceAccounts/{ACCOUNT}:disable", f"/serviceAccounts/{ACCOUNT}:enable", "/serviceAccounts"],
)
def test_a_call_outside_the_rendered_roles_is_refused(granted: Iam, path: str) -> None:
    address = f"http://127.0.0.1:{granted.port}/v1/projects/{PROJECT}{path}"
    assert requests.post(address, json={"accountId": "another"}, timeout=20).status_code == 403


def verdicts(iam: Iam, *names: str) -> list[Verdict]:
    accounts = AccountRights("target-cloud", ORIGIN, names)
    return list(
        rights.ask_service_accounts("cloud", accounts, False, project=PROJECT, endpoint=f"127.0.0.1:{iam.port}")
    )


def test_an_account_with_the_rendered_roles_has_exactly_the_rights_it_needs(granted: Iam) -> None:
    answers = verdicts(granted, ACCOUNT)
    assert {verdict.allowed for verdict in answers if verdict.needed} == {True}
    assert [verdict for verdict in answers if not verdict.needed] == []


def test_missing_and_excess_rights_of_an_account_are_reported(iam: Iam) -> None:
    held = frozenset({"iam.serviceAccountKeys.list", "iam.serviceAccounts.actAs"})
    iam.grant(held, frozenset({"iam.serviceAccountKeys.create"}))
    answers = verdicts(iam, ACCOUNT)
    lacking = {verdict.call for verdict in answers if verdict.needed and not verdict.allowed}
    beyond = {(verdict.call, verdict.place) for verdict in answers if not verdict.needed and verdict.allowed}
    assert lacking == {permission for permission in ON_ACCOUNT if permission not in held}
    assert beyond == {
        ("iam.serviceAccounts.actAs", ACCOUNT),
        ("iam.serviceAccountKeys.create", f"projects/{PROJECT}"),
    }
    with pytest.raises(NotFound):
        verdicts(iam, f"nobody@{PROJECT}.iam.gserviceaccount.com")


def test_a_role_for_keys_of_storage_accounts_is_assigned_to_each() -> None:
    subscription = "6f6fd4c2-93a4-4f2b-8d5e-0a7b1c2d3e4f"
    target = {"kind": "azure-resource-manager", "subscription": subscription}
    declared = catalogue("azure-storage-key", target, account="mltraining", resource_group="ml")
    role, assigned = sorted(target_documents(declared, ORIGIN), key=lambda made: len(made.name))
    definition = json.loads(role.text)
    assert definition["DataActions"] == []
    assert {action.removeprefix("Microsoft.Storage/storageAccounts/") for action in definition["Actions"]} == {
        "read",
        "listkeys/action",
        "regeneratekey/action",
    }
    (place,) = [assignment["scope"] for assignment in json.loads(assigned.text)["assignments"]]
    assert place.startswith(f"/subscriptions/{subscription}/resourceGroups/")
    assert place.endswith("/providers/Microsoft.Storage/storageAccounts/mltraining")


def test_a_target_without_such_secrets_takes_no_role() -> None:
    declared = catalogue("gcp-service-account-key", OF_GOOGLE, service_account=ACCOUNT)
    assert accounts_at(declared, "cloud", ORIGIN).names == (ACCOUNT,)
    assert list(declared.targets["cloud"].rights(AccountRights("target-cloud", ORIGIN, ()))) == []
