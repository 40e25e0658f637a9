"""Logins to the hub without a secret that lasts: a pod, a JWT, a wrapped secret id against OpenBao; AWS.

OpenBao has no login for AWS: what is tried there is the documented exchange, with a stand-in that checks signatures.
A certificate's login is tried in tests/wall/test_certificate_login.py.
"""

import json
import os
import signal
import time
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import hvac
import pytest
from pytest_httpserver import HTTPServer

from deployments.healthy import http_status
from keyturn.core.errors import Denied, Invalid
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import (
    AppRoleLogin,
    AwsLogin,
    CertLogin,
    JwtLogin,
    KubernetesLogin,
    TokenLogin,
    login_from_environment,
)
from local.openbao import binary
from local.support.ports import free_port
from local.support.process import Process
from tests.support.hooks import eventually
from tests.support.hub_logins import SERVER_ID, AwsHub, Doors, at_once
from tests.support.hub_logins import doors as doors
from tests.support.hub_logins import pods as pods

ADDRESS = {"VAULT_ADDR": "https://hub"}


def test_a_pod_logs_in_with_its_service_account(doors: Doors) -> None:
    with doors.hub(doors.as_pod()) as hub:
        assert hub.read("ml-training/database") is not None
        identity = hub.identity()
        assert identity.display_name == f"{doors.kubernetes}-ml-keyturn"
        assert identity.path == f"auth/{doors.kubernetes}/login"


def test_a_program_logs_in_with_the_jwt_of_its_platform(doors: Doors) -> None:
    with doors.hub(doors.as_program()) as hub:
        assert hub.read("ml-training/database") is not None
        assert hub.identity().display_name == f"{doors.jwt}-repo:acme/app"


def test_a_jwt_that_was_renewed_is_read_at_the_next_login(doors: Doors) -> None:
    with doors.hub(doors.as_program()) as hub:
        hub.read("ml-training/database")
        doors.issue(lives=-600)
        doors.end_login(hub)
        with pytest.raises(Denied, match="expired at"):
            hub.read("ml-training/database")
        doors.issue()
        assert hub.read("ml-training/database") is not None


def test_a_token_that_can_not_be_renewed_any_more_is_replaced(doors: Doors) -> None:
    with doors.hub(doors.as_program("brief")) as hub:
        first, end = hub.identity().accessor, time.monotonic() + 2.5
        while time.monotonic() < end:
            assert hub.read("ml-training/database") is not None
            time.sleep(0.1)
        assert hub.identity().accessor != first


def test_a_wrapped_secret_id_is_unwrapped_once_and_stays_in_memory(doors: Doors) -> None:
    doors.secret_id.unlink(missing_ok=True)
    with doors.hub(doors.as_role()) as hub:
        assert hub.read("ml-training/database") is not None
        assert not doors.wrap.exists()
        assert not doors.secret_id.exists()
        doors.end_login(hub)
        assert hub.read("ml-training/database") is not None, "logged in again with what was unwrapped before"
        doors.deliver()
        doors.end_login(hub)
        assert hub.read("ml-training/database") is not None
        assert not doors.wrap.exists(), "the newer wrap was taken"


def test_what_was_unwrapped_is_kept_for_other_processes_where_a_file_is_named(doors: Doors) -> None:
    login = doors.as_role(keep=True)
    for _ in range(2):
        with doors.hub(login) as hub:
            assert hub.read("ml-training/database") is not None
        assert doors.secret_id.stat().st_mode & 0o777 == 0o600
        assert not doors.wrap.exists()


def test_many_processes_that_start_at_once_open_a_wrap_once(doors: Doors) -> None:
    login = doors.as_role(keep=True)

    def read() -> object:
        with closing(VaultHub(doors.settings(login))) as hub:
            return hub.read("ml-training/database")

    assert None not in at_once([read] * 4)


@pytest.mark.parametrize("region", [None, "eu-central-1"])
def test_aws_says_who_a_process_is(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, region: str | None) -> None:
    hub = AwsHub(httpserver, monkeypatch)
    with closing(hub.session(AwsLogin("worker", region, SERVER_ID))) as session:
        assert session.client().token == hub.token
        assert session.login_again()
    assert hub.callers == ["AKIDEXAMPLE", "AKIDEXAMPLE"]
    assert hub.hosts == {f"sts.{f'{region}.' if region else ''}amazonaws.com"}


# --- the environment ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "login"),
    [
        ({}, TokenLogin()),
        ({"KEYTURN_HUB_AUTH": "token", "KEYTURN_HUB_TOKEN_FILE": "/t"}, TokenLogin(file="/t")),
        ({"KEYTURN_HUB_ROLE_ID_FILE": "/r", "KEYTURN_HUB_SECRET_ID_FILE": "/s"}, AppRoleLogin("/r", "/s")),
        (
            {
                "KEYTURN_HUB_AUTH": "approle",
                "KEYTURN_HUB_ROLE_ID_FILE": "/r",
                "KEYTURN_HUB_WRAPPED_SECRET_ID_FILE": "/w",
            }
            | {"KEYTURN_HUB_AUTH_MOUNT_PATH": "auth/roles/"},
            AppRoleLogin("/r", None, "/w", "roles"),
        ),
        ({"KEYTURN_HUB_AUTH": "kubernetes", "KEYTURN_HUB_AUTH_ROLE": "w"}, KubernetesLogin("w")),
        (
            {"KEYTURN_HUB_AUTH": "jwt", "KEYTURN_HUB_AUTH_ROLE": "w", "KEYTURN_HUB_AUTH_TOKEN_PATH": "/jwt"}
            | {"KEYTURN_HUB_AUTH_AUDIENCE": "hub"},
            JwtLogin("w", "/jwt", "hub"),
        ),
        (
            {"KEYTURN_HUB_AUTH": "aws", "KEYTURN_HUB_AUTH_ROLE": "w", "KEYTURN_HUB_AUTH_REGION": "eu-central-1"}
            | {"KEYTURN_HUB_AUTH_HEADER_VALUE": "hub.example.com"},
            AwsLogin("w", "eu-central-1", "hub.example.com"),
        ),
        ({"KEYTURN_HUB_AUTH": "cert", "VAULT_CLIENT_CERT": "/c", "VAULT_CLIENT_KEY": "/k"}, CertLogin()),
    ],
)
def test_variables_say_how(env: dict[str, str], login: object) -> None:
    assert login_from_environment(ADDRESS | env) == login


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ({"KEYTURN_HUB_AUTH": "ldap"}, "KEYTURN_HUB_AUTH is none of token, approle, kubernetes, jwt, aws, cert"),
        ({"KEYTURN_HUB_AUTH": "kubernetes"}, "KEYTURN_HUB_AUTH_ROLE is not set, which the method kubernetes needs"),
        (
            {"KEYTURN_HUB_AUTH": "jwt", "KEYTURN_HUB_AUTH_ROLE": "w"},
            "KEYTURN_HUB_AUTH_TOKEN_PATH is not set, which the method jwt needs",
        ),
        ({"KEYTURN_HUB_AUTH_ROLE": "w"}, "KEYTURN_HUB_AUTH_ROLE is set, which the method token does not read"),
        (
            {"KEYTURN_HUB_AUTH": "aws", "KEYTURN_HUB_AUTH_ROLE": "w", "KEYTURN_HUB_AUTH_AUDIENCE": "hub"},
            "KEYTURN_HUB_AUTH_AUDIENCE is set, which the method aws does not read",
        ),
        (
            {"KEYTURN_HUB_AUTH": "aws", "KEYTURN_HUB_AUTH_ROLE": "w", "KEYTURN_HUB_AUTH_REGION": "evil.example/"},
            "KEYTURN_HUB_AUTH_REGION is no region of AWS",
        ),
        (
            {"KEYTURN_HUB_AUTH": "kubernetes", "KEYTURN_HUB_AUTH_ROLE": "w", "KEYTURN_HUB_AUTH_MOUNT_PATH": "../sys"},
            "KEYTURN_HUB_AUTH_MOUNT_PATH is no path of a method",
        ),
        ({"KEYTURN_HUB_AUTH": "approle"}, "KEYTURN_HUB_ROLE_ID_FILE is not set"),
        ({"KEYTURN_HUB_ROLE_ID_FILE": "/r"}, "KEYTURN_HUB_SECRET_ID_FILE is not set, which the method approle needs"),
        ({"KEYTURN_HUB_AUTH": "cert"}, "VAULT_CLIENT_CERT is not set, which the method cert needs"),
        (
            {"KEYTURN_HUB_AUTH": "cert", "VAULT_CLIENT_CERT": "/c", "VAULT_ADDR": "http://127.0.0.1:8200"},
            "VAULT_ADDR is no https address",
        ),
    ],
)
def test_a_setting_that_is_wrong_or_would_not_be_read_is_named(env: dict[str, str], problem: str) -> None:
    with pytest.raises(Invalid) as caught:
        HubSettings.from_environment(ADDRESS | env)
    assert problem in str(caught.value)
    assert caught.value.hint


def test_the_root_token_of_a_hub_that_was_just_initialized_is_a_login(tmp_path: Path) -> None:
    port = free_port()
    listener = {"tcp": {"address": f"127.0.0.1:{port}", "tls_disable": True}}
    (tmp_path / "hub.json").write_text(json.dumps({"storage": {"inmem": {}}, "listener": listener}))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BAO_", "VAULT_"))}
    server = Process("hub", tmp_path)
    command = [str(binary()), "server", f"-config={tmp_path / 'hub.json'}"]
    server.start(command, ready=lambda: http_status(port, "/v1/sys/health") is not None, environment=clean)
    try:
        admin = hvac.Client(f"http://127.0.0.1:{port}")
        made = admin.sys.initialize(secret_shares=1, secret_threshold=1)
        admin.sys.submit_unseal_key(made["keys"][0])
        (tmp_path / "token").write_text(made["root_token"])
        (tmp_path / "token").chmod(0o600)
        assert eventually(lambda: http_status(port, "/v1/sys/health") == HTTPStatus.OK, 30)
        with closing(VaultHub(HubSettings(admin.url, login=TokenLogin(file=str(tmp_path / "token"))))) as hub:
            assert hub.identity().display_name == "root"
    finally:
        server.stop(signal.SIGKILL)
