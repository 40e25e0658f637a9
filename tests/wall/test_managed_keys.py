"""A login that manages keys can't use them; no catalogue reaches Keyturn's own keys."""

import base64
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hvac.exceptions import Forbidden

from keyturn.catalogue.checks.permissions import LEADING, Surroundings, find_flaws
from keyturn.catalogue.keys.aws import AwsKmsKeySettings
from keyturn.catalogue.keys.transit import TransitKeySettings
from keyturn.catalogue.operator.policy import OperatorsPolicy
from keyturn.core.errors import Invalid
from keyturn.core.rights.kms_policies import ADMINISTER, USE, key_policy
from local.prepare import LEDGER_KEY
from tests.rotation.test_managed_keys import Transit
from tests.rotation.test_managed_keys import transit as transit

MINE = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd"
STRANGER = "arn:aws:iam::999988887777:role/stranger"


def test_a_catalogue_can_not_rotate_the_ledgers_key(transit: Transit) -> None:
    for name in (LEDGER_KEY, LEDGER_KEY.upper(), "keyturn-approver-ana"):
        with pytest.raises(ValueError, match="is a key of Keyturn's own"):
            TransitKeySettings.model_validate({"kind": "transit", "key": name})
        with pytest.raises(Invalid, match="a key of Keyturn's own"):
            transit.hub.transit_key(name)
    with pytest.raises(Invalid, match="a key of Keyturn's own"):
        transit.hub.transit_key("ml/../keyturn-ledger")


CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "decrypt": ("decrypt/{key}", {"ciphertext": "vault:v1:AAAA"}),
    "encrypt": ("encrypt/{key}", {"plaintext": base64.b64encode(b"x").decode()}),
    "sign": ("sign/{key}", {"input": base64.b64encode(b"x").decode()}),
    "let it be exported": ("keys/{key}/config", {"exportable": True}),
    "let it be deleted": ("keys/{key}/config", {"deletion_allowed": True}),
    "trim it": ("keys/{key}/trim", {"min_available_version": 1}),
    "rotate the ledger's": (f"keys/{LEDGER_KEY}/rotate", {}),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_login_that_manages_a_key_may_not_use_it(transit: Transit, call: str) -> None:
    path, body = CALLS[call]
    login = transit.hub.settings.login
    client = transit.lab.world.root()
    client.token = Path(getattr(login, "file", "")).read_text()
    with closing(client.adapter), pytest.raises(Forbidden):
        client.adapter.request("post", f"/v1/transit/{path.format(key=transit.key)}", json=body)


def test_a_role_of_a_foreign_account_is_not_admitted(tmp_path: Any) -> None:
    own = OperatorsPolicy.model_validate({"accounts": ["111122223333"]})
    users = [{"principals": [STRANGER], "via": ["ssm"]}]
    grants = [{"name": "x", "principal": STRANGER, "operations": ["Decrypt"]}]
    key = AwsKmsKeySettings.model_validate(
        {"kind": "aws-kms", "key": MINE, "policy": {"users": users}, "grants": grants}
    )
    sections: dict[str, Any] = {section: {} for section in LEADING} | {"keys": {"ours": key}}
    flaws = [flaw for _, _, flaw in find_flaws(sections, Surroundings(own, {}, tmp_path))]
    assert [path for path, *_ in flaws] == [("policy", "users", 0, "principals", 0), ("grants", 0, "principal")]
    assert {message for _, message, _ in flaws} == {"the operator's file does not allow the account 999988887777"}


def test_a_keys_administrator_may_not_use_it() -> None:
    assert not set(ADMINISTER) & set(USE)
    policy = key_policy(MINE, [STRANGER], [])
    (only,) = policy["Statement"]
    assert "kms:*" not in only["Action"]
