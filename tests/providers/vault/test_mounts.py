"""Several KV mounts of one real hub, including an unreadable one."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keyturn.core.errors import Denied, Invalid, KeyturnError, Unavailable
from keyturn.core.ports.hub import Right, VersionState, survey
from keyturn.core.sensitive import SecretFields
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from tests.support.hooks import eventually
from tests.support.lab import Lab, fresh
from tests.support.mounts import make_kv


@pytest.fixture(scope="module")
def name(lab: Lab) -> Iterator[str]:
    """A second KV v2 mount in the hub, called so, and beside it a KV v1 one with ``-old`` behind its name."""
    made = f"m{secrets.token_hex(4)}"
    make_kv(lab.root, f"hub-{made}")
    lab.root.sys.enable_secrets_engine("kv", path=f"hub-{made}-old", options={"version": "1"})
    assert eventually(lambda: answers(lab, made))
    yield made
    lab.root.sys.disable_secrets_engine(f"hub-{made}")
    lab.root.sys.disable_secrets_engine(f"hub-{made}-old")


def answers(lab: Lab, name: str) -> bool:
    """Whether the new mount is ready: for a moment it is being upgraded."""
    try:
        return lab.hub.mounted({name: f"hub-{name}"}).describe(f"{name}:nothing") is None
    except Unavailable:
        return False


@pytest.fixture
def hub(lab: Lab, name: str) -> VaultHub:
    return lab.hub.mounted({name: f"hub-{name}"})


def test_a_secret_of_another_mount_has_all_that_one_of_the_default_mount_has(
    lab: Lab, hub: VaultHub, name: str
) -> None:
    path = f"{fresh()}/app"
    here, there = path, f"{name}:{path}"
    assert hub.write(here, SecretFields({"x": "here"}), cas=0) == 1
    assert hub.write(there, SecretFields({"x": "there"}), cas=0) == 1
    assert hub.write(there, SecretFields({"x": "newer"}), cas=1) == 2
    read = hub.read_many([here, there])
    assert {found: secret.fields.reveal()["x"] for found, secret in read.items()} == {here: "here", there: "newer"}
    assert read[there].path == there
    kv = lab.root.secrets.kv.v2
    assert kv.read_secret_version(path, mount_point=f"hub-{name}", raise_on_deleted_version=True)["data"]["data"] == {
        "x": "newer"
    }
    hub.patch_metadata(there, {"note": "of the other one"})
    told = hub.describe_many([here, there])
    assert {found: info.version for found, info in told.items()} == {here: 1, there: 2}
    assert (told[here].custom, told[there].custom) == ({}, {"note": "of the other one"})
    hub.delete(there, [1])
    hub.undelete(there, [1])
    hub.destroy(there, [1])
    info = hub.describe(there)
    assert info is not None
    assert [one.state for one in info.versions] == [VersionState.DESTROYED, VersionState.READABLE]
    assert [one.path for one in hub.describe_below(there.removesuffix("/app"))] == [there]
    assert hub.address("destroy", there) == f"hub-{name}/destroy/{path}"
    assert hub.missing_capabilities([Right("update", hub.address("data", there))]) == []


def test_a_survey_tells_of_every_mount(hub: VaultHub, name: str) -> None:
    path = f"{fresh()}/app"
    for one in (path, f"{name}:{path}"):
        hub.write(one, SecretFields({"x": "1"}), cas=0)
    told = survey(hub)
    assert {path, f"{name}:{path}"} <= told.keys()
    assert told.unread == {}


def test_what_is_called_as_in_another_mount_is_left_out_of_the_default_one(lab: Lab, hub: VaultHub, name: str) -> None:
    path = f"{name}:{fresh()}"
    lab.hub.write(path.replace(":", "-"), SecretFields({"x": "1"}), cas=0)
    lab.root.secrets.kv.v2.create_or_update_secret(path, {"x": "1"}, mount_point="secret")
    assert path in {info.path for info in lab.hub.describe_below()}, "without mounts it is a secret like others"
    assert path not in survey(hub)
    assert hub.read(path) is None
    read = lab.hub.read(path)
    assert read is not None


@pytest.mark.parametrize("look", ["read", "describe", "write", "describe_below"])
def test_a_mount_that_nothing_declares_is_no_absent_secret(hub: VaultHub, name: str, look: str) -> None:
    doing: dict[str, Callable[[str], object]] = {
        "read": hub.read,
        "describe": hub.describe,
        "write": lambda path: hub.write(path, SecretFields({"x": "1"}), cas=0),
        "describe_below": lambda path: list(hub.describe_below(path)),
    }
    with pytest.raises(Invalid, match=f"declares no mount {name}x.*Did you mean {name}"):
        doing[look](f"{name}x:team/app")


@pytest.mark.parametrize(
    ("suffix", "error", "why"),
    [
        ("-old", Invalid, "it is KV version 1, and Keyturn needs version 2"),
        ("-none", Denied, "has no such mount"),
        ("/team", Invalid, "it is a folder of the mount"),
    ],
)
def test_a_mount_that_is_none_is_told_at_its_first_use_and_stops_no_other(
    lab: Lab, name: str, suffix: str, error: type[KeyturnError], why: str
) -> None:
    hub = lab.hub.mounted({"bad": f"hub-{name}{suffix}", "good": f"hub-{name}"})
    path = f"{fresh()}/app"
    hub.write(f"good:{path}", SecretFields({"x": "1"}), cas=0)
    told = survey(hub)
    assert f"good:{path}" in told
    assert list(told.unread) == ["bad"]
    for doing in (hub.read, hub.describe):
        with pytest.raises(error, match=why):
            doing(f"bad:{path}")
    with pytest.raises(error, match=why):
        hub.write(f"bad:{path}", SecretFields({"x": "1"}), cas=0)


def test_a_mount_that_goes_away_is_not_taken_for_an_empty_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.providers.vault.mounts.LASTS", 0.0)
    name = f"m{secrets.token_hex(4)}"
    make_kv(lab.root, f"hub-{name}")
    assert eventually(lambda: answers(lab, name))
    hub = lab.hub.mounted({name: f"hub-{name}"})
    hub.write(f"{name}:app", SecretFields({"x": "1"}), cas=0)
    lab.root.sys.disable_secrets_engine(f"hub-{name}")
    for look in (
        hub.read,
        hub.describe,
        lambda path: hub.describe_many([path]),
        lambda path: list(hub.describe_below(f"{name}:")),
    ):
        with pytest.raises(Denied, match="has no such mount"):
            look(f"{name}:app")


def test_a_login_without_rights_in_one_mount_is_denied_there_alone(lab: Lab, name: str, tmp_path: Path) -> None:
    policy = 'path "secret/*" {\n  capabilities = ["create", "read", "update", "list"]\n}\n'
    lab.root.sys.create_or_update_policy(f"only-{name}", policy)
    (tmp_path / "token").write_text(lab.root.auth.token.create(policies=[f"only-{name}"])["auth"]["client_token"])
    path = fresh()
    lab.hub.write(path, SecretFields({"x": "1"}), cas=0)
    with closing(
        VaultHub(HubSettings(lab.world.hub_address, login=TokenLogin(file=str(tmp_path / "token"))))
    ) as worker:
        hub = worker.mounted({name: f"hub-{name}"})
        told = survey(hub)
        assert path in told
        assert isinstance(told.error(f"{name}:{path}"), Denied)
        with pytest.raises(Denied, match=f"hub-{name}/data/"):
            hub.describe(f"{name}:{path}")
