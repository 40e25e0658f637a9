"""Whatever people write into the requests of a REST API is read, or is a problem at its place."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.catalogue import find_problems, load_catalogue
from keyturn.strategies.http_api_key import HttpApiKeySettings
from keyturn.strategies.ssh_key import SshKeySettings
from tests.support import sampling

NAME = "keyturn {{path}} {{unique}}"
TIMES = {"target": "api", "interval": "30d", "grace": "1h"}
OWNED = {"owner": "app@example.com", "classification": "internal"}
API_KEY: dict[str, Any] = {
    **TIMES,
    "strategy": "http-api-key",
    "constants": {"team": "7"},
    "create": {"method": "POST", "path": "/teams/{{team}}/keys", "body": {"name": NAME, "tags": ["a", 1, None, True]}},
    "answer": {"id": "/id", "key": "/key"},
    "test": {"path": "/me?full=true", "headers": {"x-api-key": "{{key}}"}, "expect": [200, 204], "patience": "5s"},
    "delete": {"path": "/keys/{{id}}", "basic": "{{admin.username}}:{{admin.password}}"},
    "list": {"path": "/keys", "items": "/data", "id": "/id", "where": {"/name": NAME}, "last_used": "/used"},
    "last_used": {"path": "/keys/{{id}}", "at": "/used"},
    "limit": 5,
    "holds": {"url": "https://api.example.com"},
}
SSH_KEY: dict[str, Any] = {
    **TIMES,
    "strategy": "ssh-key",
    "key": "rsa-4096",
    "create": {"path": "/ssh", "form": {"key": "{{public_key}}"}},
    "delete": {"path": "/ssh/{{id}}"},
    "list": {"path": "/ssh", "id": "/id", "fingerprint": "/sha256", "next": "/next", "more": "/ssh?page={{next}}"},
    "test": {"path": "/ssh/{{fingerprint}}"},
}
TWO_SLOTS: dict[str, Any] = {
    **TIMES,
    "strategy": "http-two-slots",
    "constants": {"account": "ml"},
    "slots": ["key1", "key2"],
    "read": {"path": "/{{account}}/listKeys", "values": {"key1": "/keys/0", "key2": "/keys/1"}, "patience": "1m"},
    "regenerate": {"path": "/{{account}}/regenerateKey", "body": {"keyName": "{{slot}}"}},
    "test": {"path": "/me", "headers": {"api-key": "{{key}}"}},
    "fields": {"key": "{{key}}", "slot": "{{slot}}", "url": "Account={{account}};Key={{key}}"},
}
EXCHANGE: dict[str, Any] = {
    **TIMES,
    "strategy": "http-exchange",
    "accepts_gap": True,
    "exchange": {"path": "/rotate", "headers": {"private-token": "{{current.token}}"}},
    "answer": {"token": "/token", "expires_at": "/expires_at"},
    "test": {"path": "/me", "headers": {"private-token": "{{token}}"}},
    "recover": {"path": "/tokens", "body": {"name": NAME}, "answer": {"token": "/new", "expires_at": "/end"}},
    "revoke": {"path": "/revoke", "form": {"token": "{{token}}"}, "gone": {"status": [400]}},
}
TARGET = {
    "kind": "http-api",
    "url": "https://api.example.com/v1",
    "admin": "targets/api",
    "headers": {"authorization": "Bearer {{admin.token}}", "accept": "application/json"},
    "timeout": "30s",
}


def catalogue() -> dict[str, Any]:
    """Secrets that are sound."""
    rotations = {"app/key": API_KEY, "app/ssh": SSH_KEY, "app/slots": TWO_SLOTS, "app/exchange": EXCHANGE}
    secrets = {path: {**OWNED, "rotation": rotation} for path, rotation in rotations.items()}
    return {"targets": {"api": TARGET}, "secrets": secrets}


def test_all_that_may_be_said_is_read(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(catalogue()))
    read = load_catalogue(tmp_path, {})
    key, ssh = read.secret("app/key").rotation, read.secret("app/ssh").rotation
    assert isinstance(key, HttpApiKeySettings)
    assert isinstance(ssh, SshKeySettings)
    request = key.create.request("PUT")
    assert (request.method, request.body["tags"]) == ("POST", ["a", 1, None, True])
    assert [step.request("DELETE").method for step in key.delete] == ["DELETE"]
    assert key.test.request("GET").expect == {200, 204}
    assert ssh.listing is not None
    assert ssh.listing.listing.more == "/ssh?page={{next}}"


def test_two_secrets_can_not_regenerate_the_keys_of_one_account(tmp_path: Path) -> None:
    data = catalogue()
    for number, account in enumerate(("ml", "other")):
        data["secrets"][f"app/slots-{number}"] = {**OWNED, "rotation": {**TWO_SLOTS, "constants": {"account": account}}}
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(data))
    (problem,) = find_problems(tmp_path, {})
    assert problem.message == "the account on the target api whose keys it regenerates is taken already"
    assert "app/slots" in problem.remedy


SCALARS = st.sampled_from(
    [None, True, 3, 1.5, "", "/", "/x", "{{id}}", "{{key}}", "{{", "}}{{a b}}", "/{{admin.x}}", "\u00fc", "30d", "POST"]
)
KEYS = st.sampled_from(["path", "headers", "body", "form", "list", "where", "id", "key", "/name", "test", "x", "basic"])
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=15
)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """The catalogue with some of its values replaced by others."""
    data = yaml.safe_load(yaml.safe_dump(catalogue()))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = data
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or draw(st.integers(0, 3)) == 0:
                place[key] = draw(ANYTHING)
                break
            place = place[key]
    return data


@settings(max_examples=sampling.examples(30, 150))
@given(mutated())
def test_whatever_stands_there_is_a_problem_with_a_line_and_never_a_crash(data: Any) -> None:
    with TemporaryDirectory() as directory:
        (Path(directory) / "all.yaml").write_text(yaml.safe_dump(data))
        for problem in find_problems(Path(directory), {}):
            assert problem.line > 0
            assert problem.message
            assert problem.remedy


@pytest.mark.parametrize("count", [2, 300])
def test_many_secrets_may_share_a_list_where_each_knows_its_own(tmp_path: Path, count: int) -> None:
    secrets = {f"app/key-{number}": {**OWNED, "rotation": API_KEY} for number in range(count)}
    (tmp_path / "all.yaml").write_text(yaml.safe_dump({"targets": {"api": TARGET}, "secrets": secrets}))
    assert find_problems(tmp_path, {}) == []
