"""Keyturn finds the Prefect server that Prefect itself would use."""

import os
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import Settings, temporary_settings

from keyturn.cli.setup import prefect_server
from keyturn.settings.prefect import PrefectSettings, read_settings

API = "https://prefect.example/api"
PROFILES = """
active = "work"

[profiles.work]
PREFECT_API_URL = "https://work.example/api"
PREFECT_API_KEY = "key-of-work"

[profiles.home]
PREFECT_API_URL = "http://127.0.0.1:4200/api"
PREFECT_API_AUTH_STRING = "admin:pass"
PREFECT_CLIENT_CUSTOM_HEADERS = '{"X-Door": "open"}'

[profiles.typed]
PREFECT_API_URL = "https://typed.example/api"
PREFECT_API_TLS_INSECURE_SKIP_VERIFY = true
"""
URL = {"PREFECT_API_URL": API}
CLOUD = "https://api.prefect.cloud/api/accounts/0a/workspaces/1b"

READ: Mapping[str, tuple[dict[str, str], dict[str, str]]] = {
    "nothing": ({}, {}),
    "an address": (URL, {}),
    "in lower case": ({"prefect_api_url": API}, {}),
    "empty, before a profile": ({"PREFECT_API_URL": ""}, {"home/profiles.toml": PROFILES}),
    "the active profile": ({}, {"home/profiles.toml": PROFILES}),
    "another profile": ({"PREFECT_PROFILE": "home"}, {"home/profiles.toml": PROFILES}),
    "the environment before the profile": (URL, {"home/profiles.toml": PROFILES}),
    "a profile without an active one": ({}, {"home/profiles.toml": PROFILES.replace("active", "passive")}),
    "a file of profiles elsewhere": ({"PREFECT_PROFILES_PATH": "mine.toml"}, {"mine.toml": PROFILES}),
    "a file of profiles that is not there": ({"PREFECT_PROFILES_PATH": "no.toml"}, {"home/profiles.toml": PROFILES}),
    "a key": ({**URL, "PREFECT_API_KEY": "key"}, {}),
    "an auth string before a key": ({**URL, "PREFECT_API_KEY": "key", "PREFECT_API_AUTH_STRING": "a:ü"}, {}),
    "headers": ({**URL, "PREFECT_CLIENT_CUSTOM_HEADERS": '{"X-A": "b", "authorization": "Bearer c"}'}, {}),
    "headers of Prefect's own": (
        {**URL, "PREFECT_API_KEY": "key", "PREFECT_CLIENT_CUSTOM_HEADERS": '{"User-Agent": "me", "X-A": "b"}'},
        {},
    ),
    "an authority": ({**URL, "PREFECT_API_SSL_CERT_FILE": "ca.pem"}, {}),
    "no check": ({**URL, "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "True"}, {}),
    "a check": ({**URL, "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "off"}, {}),
    "a timeout": ({**URL, "PREFECT_API_REQUEST_TIMEOUT": "7.5"}, {}),
    "pages elsewhere": ({**URL, "PREFECT_UI_URL": "https://ui.example/"}, {}),
    "no pages": ({**URL, "PREFECT_UI_URL": ""}, {}),
    "an API at the root": ({"PREFECT_API_URL": "https://prefect.example"}, {}),
    "Prefect Cloud": ({"PREFECT_API_URL": CLOUD}, {}),
    "a name and a password in the address": ({"PREFECT_API_URL": "https://me:p%40ss@prefect.example/api"}, {}),
    "a project that uses Prefect": (URL, {"pyproject.toml": '[project]\ndependencies = ["prefect"]'}),
    "variables of others": (URL, {".env": "PORT=80\n"}),
}
"""What stands in the environment, and in files of the directory, whose ``home`` is PREFECT_HOME."""

LEFT: Mapping[str, tuple[dict[str, str], dict[str, str]]] = {
    "prefect.toml": ({}, {"prefect.toml": f'[api]\nurl = "{API}"'}),
    "pyproject.toml": ({}, {"pyproject.toml": f'[tool.prefect.api]\nurl = "{API}"'}),
    ".env": ({}, {".env": f"PREFECT_API_URL={API}\n"}),
    "a profile whose values are no texts": ({"PREFECT_PROFILE": "typed"}, {"home/profiles.toml": PROFILES}),
    "a profile that there is not": ({"PREFECT_PROFILE": "lost"}, {"home/profiles.toml": PROFILES}),
    "a group as JSON": ({"PREFECT_API": f'{{"url": "{API}"}}'}, {}),
    "another cloud": ({"PREFECT_API_URL": CLOUD, "PREFECT_CLOUD_UI_URL": "https://mine.example"}, {}),
}
"""What Prefect is asked about."""

WRONG: Mapping[str, tuple[dict[str, str], dict[str, str]]] = {
    "profiles that are no TOML": (URL, {"home/profiles.toml": "active ="}),
    "a project that is no TOML": (URL, {"pyproject.toml": "prefect ="}),
    "headers that are no JSON": ({**URL, "PREFECT_CLIENT_CUSTOM_HEADERS": "X-A: b"}, {}),
    "neither yes nor no": ({**URL, "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "perhaps"}, {}),
    "a timeout in words": ({**URL, "PREFECT_API_REQUEST_TIMEOUT": "a minute"}, {}),
}
"""What Prefect itself says what is wrong with."""

Place = tuple[Mapping[str, str], Path]


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The environment and the directory, of which this process has both."""
    variables, files = request.param
    for name in list(os.environ):
        if name.upper().startswith("PREFECT_"):
            monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for name, text in {"PREFECT_HOME": str(tmp_path / "home"), **variables}.items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(tmp_path)
    return dict(os.environ), tmp_path


def cases(table: Mapping[str, tuple[dict[str, str], dict[str, str]]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("place", table.values(), ids=table.keys(), indirect=True)


@cases(READ)
@pytest.mark.attack
def test_the_settings_read_are_those_that_prefect_uses(place: Place) -> None:
    assert read_settings(*place) == prefect_server.of_prefect(Settings())


@cases({name: case for name, case in READ.items() if "PREFECT_API_URL" in case[0]})
def test_who_asks_is_told_as_prefects_client_tells_it(place: Place) -> None:
    read = read_settings(*place)
    assert read is not None
    if not read.url:
        return
    auth, key = (given.reveal() if given else None for given in (read.auth_string, read.key))
    trusted = {"verify": ssl.create_default_context()}
    with temporary_settings({"client.custom_headers": read.headers}):
        client = SyncPrefectClient(read.url, auth_string=auth, api_key=key, httpx_settings=trusted)
    with client:
        request = client._client.build_request("GET", "/health")
        flow = client._client._build_request_auth(request).sync_auth_flow(request)
        sent = next(flow).headers
    told = {name.lower(): text for name, text in read.authorized().items()}
    wanted = {name: sent[name] for name in ("authorization", "x-a") if name in sent}
    assert told == wanted


@cases(LEFT)
def test_what_is_rare_is_asked_of_prefect_itself(place: Place) -> None:
    assert read_settings(*place) is None


@cases(WRONG)
def test_what_is_wrong_is_said_by_prefect_itself(place: Place) -> None:
    assert read_settings(*place) is None


PROGRAM = """
import sys
from keyturn.cli.setup.prefect_server import prefect_settings
assert "prefect" not in sys.modules
settings = prefect_settings()
print(settings.url, settings.ca_file, "prefect" in sys.modules)
"""


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "https://prefect.example/api /ca.pem False"),
        ({"prefect.toml": '[api]\nssl_cert_file = "own.pem"'}, "https://prefect.example/api own.pem True"),
    ],
)
def test_prefect_is_imported_where_it_alone_can_tell(tmp_path: Path, files: dict[str, str], told: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    root = str(Path(__file__).parents[2])
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PREFECT_")}
    variables = {**kept, **URL, "PREFECT_HOME": str(tmp_path), "SSL_CERT_FILE": "/ca.pem", "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=variables, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == told


def test_what_is_confidential_is_not_shown() -> None:
    settings = read_settings(
        {"PREFECT_API_KEY": "CANARY", "PREFECT_CLIENT_CUSTOM_HEADERS": '{"X": "CANARY"}'}, Path("/nowhere")
    )
    assert isinstance(settings, PrefectSettings)
    assert "CANARY" not in repr(settings)
