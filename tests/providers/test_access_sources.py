"""The access logs of a catalogue, opened by their names on the machine that reads them."""

import json
import os
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import pytest

from keyturn.catalogue import Catalogue, load_catalogue
from keyturn.core.errors import Unavailable
from keyturn.core.notifications.messages import ID, POSTER, SIGNATURE, TIMESTAMP, signature
from keyturn.core.ports.access_source import AccessSource
from keyturn.core.ports.hub import StatePort
from keyturn.core.rights.rights import HubPlaces
from keyturn.core.webhook_keys import KEY, WebhookKeys, generate_webhook_key
from keyturn.rights.scope import scope_of
from keyturn.settings.directories import sources_directory
from keyturn.wiring.access_sources import audit_mount, open_door, open_source, read_here
from tests.access_log.cloud_logs import cloudtrail, trail_file
from tests.contracts.access_source import records

CATALOGUE = """\
mounts: { ml: { mount: kv-ml } }
access_logs:
  node-1: { kind: hub-file, log_file: "${KEYTURN_LOGS}/audit.log", pace: 5s }
  socket: { kind: hub-socket, listen: "127.0.0.1:9750", keep_malformed: false }
  apps: { kind: posted, posters: { trainer: {}, shop: { principal: approle shop } } }
  others: { kind: posted, posters: { trainer: {} }, machine: elsewhere.example.com }
"""


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    directory = tmp_path / "catalogue"
    directory.mkdir()
    (directory / "logs.yaml").write_text(CATALOGUE)
    return load_catalogue(directory, {**os.environ, "KEYTURN_LOGS": str(tmp_path)})


def opened(catalogue: Catalogue, name: str, directory: Path) -> AccessSource:
    return open_source(catalogue, name, directory, {})


def test_each_log_is_opened_under_the_name_that_it_is_known_by(catalogue: Catalogue, tmp_path: Path) -> None:
    names = read_here(catalogue, tmp_path)
    assert list(names.values()) == ["node-1", "socket", "apps"]
    for known_as, name in names.items():
        source = opened(catalogue, name, tmp_path)
        assert source.name == known_as
        assert source.pace == (5.0 if name == "node-1" else 1.0)
    with pytest.raises(Unavailable, match="no such file"):
        opened(catalogue, "node-1", tmp_path).read(None, 10)


def test_what_this_machine_has_received_has_a_name_of_its_own_wherever_it_lies(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    first, other = (opened(catalogue, "apps", tmp_path / place).name for place in ("first", "other"))
    assert first != other
    (tmp_path / "first").rename(tmp_path / "moved")
    assert opened(catalogue, "apps", tmp_path / "moved").name == first


def test_a_door_takes_what_a_poster_has_signed_with_the_key_in_the_hub(catalogue: Catalogue, tmp_path: Path) -> None:
    key = generate_webhook_key()

    class State:
        def read_state(self, path: str) -> Any:
            return type("Entry", (), {"data": {KEY: key.reveal()}}) if path == "posters/apps/shop" else None

    door = open_door(catalogue, tmp_path, cast("StatePort", State()))
    assert door
    assert WebhookKeys.from_data("x", {KEY: key.reveal()}).all == (key,)
    body = json.dumps({"accesses": [{"at": "2026-11-28T10:00:00Z", "path": "a"}]}).encode()
    statuses = []
    for poster in ("apps/shop", "apps/trainer", "others/trainer", "shop"):
        headers = {ID: "m", TIMESTAMP: "0", POSTER: poster, SIGNATURE: signature(key, "m", 0, body)}
        door._clock = lambda: 0.0
        statuses.append(door.answer(headers, body).status)
    # Its time is refused of the first; the others have no key, or are taken elsewhere.
    assert statuses == [
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.UNAUTHORIZED,
    ]
    assert records(opened(catalogue, "apps", tmp_path)) == []


def test_whoever_may_post_has_a_key_that_keyturn_may_read(catalogue: Catalogue) -> None:
    assert scope_of(catalogue, HubPlaces(mounts={"ml": "kv-ml"})).posters == (
        "posters/apps/shop",
        "posters/apps/trainer",
        "posters/others/trainer",
    )


def test_mounts_are_named_as_the_hub_has_them(catalogue: Catalogue) -> None:
    mount = audit_mount(catalogue, {"KEYTURN_HUB_MOUNT": "kv", "VAULT_NAMESPACE": "team"})
    assert (mount.mount, mount.namespace, dict(mount.others)) == ("kv", "team", {"ml": "kv-ml"})


def test_what_sources_keep_lies_where_the_environment_says(tmp_path: Path) -> None:
    assert sources_directory({"KEYTURN_ACCESS_LOGS": str(tmp_path)}) == tmp_path
    assert sources_directory({}).name == "access-logs"


def test_without_what_is_malformed_only_where_it_stands_is_given(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "audit.log").write_text('{"type":"response","s3cr3t":\n')
    with closing(opened(catalogue, "node-1", tmp_path)) as source:
        assert b"s3cr3t" in source.read(None, 10).malformed[0].record
    quiet = catalogue.access_log("node-1").model_copy(update={"keep_malformed": False})
    discreet = catalogue.model_copy(update={"access_logs": {"node-1": quiet}})
    with closing(opened(discreet, "node-1", tmp_path)) as source:
        (malformed,) = source.read(None, 10).malformed
    assert (malformed.record, malformed.position) == (b"", "audit.log:1")


COPIES = """\
stores:
  aws: { kind: aws-secrets-manager, region: eu-central-1 }
access_logs:
  trail: { kind: cloudtrail-files, directory: "${KEYTURN_LOGS}" }
secrets:
  ml/key:
    owner: ml
    classification: internal
    rotation: { strategy: generated, interval: 30d, grace: 1d }
    destinations: [{ store: aws, name: ml-key }]
"""


def test_a_clouds_log_tells_copies_by_their_secrets_paths(tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    (catalogue / "copies.yaml").write_text(COPIES)
    delivered = tmp_path / "delivered"
    delivered.mkdir()
    events = [cloudtrail(1, {"secretId": "ml-key"}), cloudtrail(2, {"secretId": "others"})]
    (delivered / "a.json.gz").write_bytes(trail_file(*events))
    source = opened(
        load_catalogue(catalogue, {**os.environ, "KEYTURN_LOGS": str(delivered)}), "trail", tmp_path / "kept"
    )
    accesses = [record.access for record in source.read(None, 10).records]
    assert [(access.system, access.path) for access in accesses] == [("aws", "ml/key"), ("aws", "aws:others")]
