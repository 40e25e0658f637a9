"""A secret's path reaches the secret of exactly that name, within its mount."""

import pytest

from keyturn.core.errors import Invalid
from keyturn.core.sensitive import SecretFields
from tests.support.lab import Lab, fresh


@pytest.mark.parametrize("name", ["?version=1", "#part", "%61pp", "app;a=b", "with space", "ä"])
def test_every_character_of_a_path_is_literal(lab: Lab, name: str) -> None:
    folder = fresh()
    lab.root.secrets.kv.v2.create_or_update_secret(f"{folder}/app", {"is": "another"}, mount_point="secret")
    assert lab.hub.read(f"{folder}/app{name}") is None
    lab.hub.write(f"{folder}/app{name}", SecretFields({"is": "this"}), cas=0)
    read = lab.hub.read(f"{folder}/app{name}")
    assert read is not None
    assert read.fields.reveal() == {"is": "this"}
    assert f"{folder}/app{name}" in {info.path for info in lab.hub.describe_below(folder)}


@pytest.mark.parametrize("path", ["../metadata/app", "app/../../sys/mounts", "./app", "app/.."])
def test_a_path_with_dots_is_refused_before_any_request(lab: Lab, path: str) -> None:
    with pytest.raises(Invalid, match=r"a part of its path is \. or \.\."):
        lab.hub.read(path)
    with pytest.raises(Invalid):
        lab.hub.write(path, SecretFields({"is": "elsewhere"}), cas=0)
