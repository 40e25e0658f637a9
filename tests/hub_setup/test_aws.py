"""Vault's AWS engine and AWS auth method, which OpenBao lacks: recorded answers, as its documented API gives them.

Source: "AWS secrets engine (API)" and "AWS auth method (API)" in the documentation of Vault.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from keyturn.core.hub_setup import Difference, HubResource, Kind, SetupVerdict
from keyturn.hub_setup.apply import apply_setup
from keyturn.hub_setup.plan import plan_setup
from keyturn.hub_setup.record import SetupRecord
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from tests.hub_setup.site import wanted

ARN = "arn:aws:iam::123456789012:role/deploy"
ENTRIES: dict[str, dict[str, Any]] = {
    "deploy": {"kind": "aws-role", "credential_type": "assumed_role", "role_arns": [ARN], "ttl": "15m"},
    "aws-iam": {"kind": "aws-login"},
    "trainer": {"kind": "aws-login-role", "method": "aws-iam", "principals": [ARN], "login": "monitor"},
}
TOKENS = {
    "token_bound_cidrs": [],
    "token_explicit_max_ttl": 0,
    "token_max_ttl": 0,
    "token_no_default_policy": False,
    "token_num_uses": 0,
    "token_period": 0,
    "token_policies": ["keyturn-monitor"],
    "token_ttl": 3600,
    "token_type": "default",
}
LOGIN = "auth/token/lookup-self"
RECORDED: dict[str, dict[str, Any]] = {
    LOGIN: {"accessor": "recorded", "ttl": 0, "renewable": False, "policies": ["root"]},
    "aws/roles/deploy": {
        "credential_types": ["assumed_role"],
        "default_sts_ttl": 900,
        "iam_groups": None,
        "max_sts_ttl": 0,
        "permissions_boundary_arn": "",
        "policy_arns": None,
        "policy_document": "",
        "role_arns": [ARN],
        "user_path": "",
    },
    "auth/aws-iam/role/trainer": {
        **TOKENS,
        "auth_type": "iam",
        "bound_account_id": [],
        "bound_iam_principal_arn": [ARN],
        "bound_iam_principal_id": ["AROAEXAMPLE"],
        "inferred_entity_type": "",
        "resolve_aws_unique_ids": True,
    },
}


@dataclass
class Recorded:
    """Answers a thing once it was made; what it was asked to make, by address."""

    answers: dict[str, dict[str, Any]] = field(default_factory=lambda: dict(RECORDED))
    made: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """The status, and what is said with it."""
        address = path.removeprefix("/v1/")
        if method == "POST":
            self.made[address] = json.loads(body)
            return 204, b""
        data = self.answers.get(address) if address in (*self.made, LOGIN) else None
        return (200, json.dumps({"data": data}).encode()) if data else (404, b'{"errors":[]}')


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[tuple[Recorded, VaultHub]]:
    """It, and a hub that it answers for."""
    answers = Recorded()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            status, body = answers.answer(self.command, self.path, self.rfile.read(size))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = answer  # noqa: N815  # the server's own names
        do_LIST = answer  # noqa: N815
        do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "token").write_text("recorded")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        login = TokenLogin(file=str(tmp_path / "token"))
        with closing(VaultHub(HubSettings(f"http://127.0.0.1:{server.server_port}", login=login))) as hub:
            yield answers, hub
        server.shutdown()


class WithoutState:
    """The hub's recorded part, and a record that nothing is kept in: Keyturn's own mount is no engine of AWS."""

    def __init__(self, hub: VaultHub) -> None:
        port = hub.setup()
        self.look, self.names, self.put, self.remove = port.look, port.names, port.put, port.remove

    def read_state(self, path: str) -> None:
        return None

    def write_state(self, path: str, data: object, *, cas: int) -> int:
        return cas + 1


def of_aws(*kinds: Kind) -> tuple[HubResource, ...]:
    return tuple(resource for resource in wanted(ENTRIES) if resource.kind in kinds)


def test_roles_are_made_as_vault_documents_them_and_are_in_place_then(recorded: tuple[Recorded, VaultHub]) -> None:
    answers, hub = recorded
    port, roles = WithoutState(hub), of_aws(Kind.AWS_ROLE, Kind.AWS_LOGIN_ROLE)
    record = apply_setup(port, "keyturn", plan_setup(port, roles, SetupRecord()), SetupRecord())

    assert answers.made["aws/roles/deploy"]["credential_type"] == "assumed_role"
    assert answers.made["aws/roles/deploy"]["role_arns"] == [ARN]
    login = answers.made["auth/aws-iam/role/trainer"]
    assert (login["auth_type"], login["bound_iam_principal_arn"]) == ("iam", [ARN])
    assert not plan_setup(port, roles, record).differs

    answers.answers["auth/aws-iam/role/trainer"] |= {"bound_iam_principal_arn": ["arn:aws:iam::*:*"]}
    (item,) = plan_setup(port, roles, record).of(SetupVerdict.DRIFT)
    assert item.differences == (Difference("bound_iam_principal_arn", ["arn:aws:iam::*:*"], [ARN]),)


def test_the_engine_and_the_method_are_mounted_where_a_role_needs_them() -> None:
    mounts = {resource.key: resource.fields["type"] for resource in of_aws(Kind.MOUNT, Kind.AUTH_METHOD)}
    assert mounts["mount:aws"] == mounts["auth-method:aws-iam"] == "aws"
