"""Credentials of Vault's AWS engine, which OpenBao does not have: a stand-in that speaks its wire.

Source: "AWS secrets engine (API)" of Vault: an IAM user's keys have a lease that is renewed and revoked, a session's
of STS one that is neither, and end by their own time.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from keyturn.client.client import SecretClient
from keyturn.client.sources import HubSource
from keyturn.core.errors import Missing, Unavailable
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from tests.support.hooks import eventually


class AwsEngine:
    """Keeps which users there are, by their leases; ``calls`` are what was asked for."""

    def __init__(self, server: HTTPServer) -> None:
        self.users: set[str] = set()
        self.calls: list[str] = []
        self.down = False
        server.expect_request("/v1/auth/token/lookup-self").respond_with_json(
            {"data": {"ttl": 86_400, "renewable": True}}
        )
        server.expect_request("/v1/aws/creds/trainer", method="GET").respond_with_handler(self.iam_user)
        server.expect_request("/v1/aws/sts/trainer", method="GET").respond_with_handler(self.session)
        server.expect_request("/v1/sys/leases/renew").respond_with_handler(self.renew)
        server.expect_request("/v1/sys/leases/revoke").respond_with_handler(self.revoke)

    def iam_user(self, request: Request) -> Response:
        lease_id = f"aws/creds/trainer/{len(self.calls)}"
        self.users.add(lease_id)
        return self.lease(lease_id, 2_764_800, renewable=True, security_token=None)

    def session(self, request: Request) -> Response:
        return self.lease(
            f"aws/sts/trainer/{len(self.calls)}", 3599, renewable=False, security_token="IQoJb3JpZ2lu", ttl=3599
        )

    def lease(self, lease_id: str, seconds: int, *, renewable: bool, **more: object) -> Response:
        self.calls.append(lease_id)
        keys = {"access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": "wJalrXUtnFEMI", **more}
        return answer({"lease_id": lease_id, "renewable": renewable, "lease_duration": seconds, "data": keys})

    def renew(self, request: Request) -> Response:
        body = json.loads(request.data)
        self.calls.append(f"renew for {body['increment']}")
        if self.down:
            return answer({"errors": []}, HTTPStatus.SERVICE_UNAVAILABLE)
        if body["lease_id"] not in self.users:
            return answer({"errors": ["lease not found"]}, HTTPStatus.BAD_REQUEST)
        lease = {"lease_id": body["lease_id"], "renewable": True, "lease_duration": body["increment"], "data": None}
        return answer(lease)

    def revoke(self, request: Request) -> Response:
        lease_id = json.loads(request.data)["lease_id"]
        self.calls.append(f"revoke {lease_id}")
        self.users.discard(lease_id)
        return Response(status=HTTPStatus.NO_CONTENT)


def answer(body: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")


@pytest.fixture
def engine(httpserver: HTTPServer) -> AwsEngine:
    return AwsEngine(httpserver)


@pytest.fixture
def client(engine: AwsEngine, httpserver: HTTPServer, tmp_path: Path) -> Iterator[SecretClient]:
    (tmp_path / "token").write_text("s.token")
    (tmp_path / "token").chmod(0o600)
    settings = HubSettings(httpserver.url_for("").rstrip("/"), login=TokenLogin(file=str(tmp_path / "token")))
    with closing(VaultHub(settings)) as hub, SecretClient([HubSource(hub)], poll=0) as client:
        yield client


def test_a_users_keys_are_renewed_for_a_quarter_of_an_hour_at_a_time_and_given_back(
    client: SecretClient, engine: AwsEngine
) -> None:
    with client.lease("aws/creds/trainer") as credential:
        assert credential["access_key"].reveal() == "AKIAIOSFODNN7EXAMPLE"
        assert eventually(lambda: engine.calls[-1] == "renew for 900")
        assert engine.users == {credential.lease_id}
        engine.down = True
        with pytest.raises(Unavailable):
            credential.renew()
        assert not credential.expired
        engine.down = False
        engine.users.clear()
        with pytest.raises(Missing, match="it was revoked"):
            credential.renew()
    assert engine.calls[-1] == f"revoke {credential.lease_id}"


def test_a_session_of_sts_is_not_renewed(client: SecretClient, engine: AwsEngine) -> None:
    with client.lease("aws/sts/trainer") as credential:
        credential.renew()
        assert not credential.renewable
        assert credential["security_token"].reveal() == "IQoJb3JpZ2lu"
    assert engine.calls == ["aws/sts/trainer/0", "revoke aws/sts/trainer/0"]
