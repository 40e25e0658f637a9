"""The access logs of a catalogue, opened by their names on the machine that reads them."""

import socket
from pathlib import Path

import pytest

from keyturn.catalogue import load_catalogue
from keyturn.core.errors import Unavailable
from keyturn.providers.access_sources import audit_mount, open_sources, sources_directory
from tests.access_log.cloud_logs import cloudtrail, trail_file

CATALOGUE = """\
mounts: { ml: { mount: kv-ml } }
access_logs:
  node-1: { kind: hub-file, log_file: "${KEYTURN_LOGS}/audit.log", pace: 5s }
  here: { kind: hub-file, log_file: /nowhere/audit.log, machine: HERE }
  elsewhere: { kind: hub-file, log_file: /nowhere/audit.log, machine: bao-2.example.com }
"""


def test_each_log_that_this_machine_reads_is_opened_under_its_name(tmp_path: Path) -> None:
    catalogue_file = tmp_path / "catalogue" / "logs.yaml"
    catalogue_file.parent.mkdir()
    catalogue_file.write_text(CATALOGUE.replace("HERE", socket.gethostname()))
    catalogue = load_catalogue(catalogue_file.parent, {"KEYTURN_LOGS": str(tmp_path)})
    sources = open_sources(catalogue, tmp_path / "kept", {})
    assert {name: source.name for name, source in sources.items()} == {"node-1": "node-1", "here": "here"}
    assert sources["node-1"].pace == 5.0
    assert not (tmp_path / "kept").exists()
    with pytest.raises(Unavailable, match="no such file"):
        sources["node-1"].read(None, 10)


def test_mounts_are_named_as_the_hub_has_them(tmp_path: Path) -> None:
    (tmp_path / "mounts.yaml").write_text(CATALOGUE.splitlines()[0])
    mount = audit_mount(load_catalogue(tmp_path, {}), {"KEYTURN_HUB_MOUNT": "kv", "VAULT_NAMESPACE": "team"})
    assert (mount.mount, mount.namespace, dict(mount.others)) == ("kv", "team", {"ml": "kv-ml"})


def test_what_sources_keep_lies_where_the_environment_says(tmp_path: Path) -> None:
    assert sources_directory({"KEYTURN_ACCESS_LOGS": str(tmp_path)}) == tmp_path
    assert sources_directory({}).name == "access-logs"


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
    source = open_sources(load_catalogue(catalogue, {"KEYTURN_LOGS": str(delivered)}), tmp_path / "kept", {})["trail"]
    accesses = [record.access for record in source.read(None, 10).records]
    assert [(access.system, access.path) for access in accesses] == [("aws", "ml/key"), ("aws", "aws:others")]
