"""The access logs of a catalogue, opened by their names on the machine that reads them."""

import socket
from pathlib import Path

import pytest

from keyturn.catalogue import load_catalogue
from keyturn.core.errors import Unavailable
from keyturn.providers.access_sources import audit_mount, open_sources, sources_directory

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
