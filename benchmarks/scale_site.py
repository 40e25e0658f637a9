"""A site of many secrets, written straight into its hub and its clouds, for the benchmark of scale.

Each secret has a version, metadata and the record of a past rotation in a durable OpenBao, and a copy in sync in
Secrets Manager, Key Vault and GCP Secret Manager; every tenth also has one in Parameter Store.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ssm.models import ssm_backends

from benchmarks import in_step
from benchmarks.bare import FOLDER, PROJECT, REGION
from benchmarks.clouds import Clouds, fields_of
from benchmarks.in_step import Copies
from keyturn.catalogue import Catalogue, load_catalogue
from keyturn.core.ports.hub import ROTATED_AT, TOKEN
from keyturn.core.rotation_record import Record, Rotation, Stage
from keyturn.core.sensitive import SecretFields
from keyturn.providers.aws.parameter_store import OURS, parameter_description
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from local.emulators.aws import state as aws_state
from local.prepare import Hub

AT_ONCE: Final = 8
FILE: Final = 500
"""Secrets in a file of the catalogue."""
IN_PARAMETERS: Final = 10
"""Every tenth secret has a copy in Parameter Store: the emulator reads all of them for each page of 50."""
STORES: Final = """
stores:
  aws: {{kind: aws-secrets-manager, region: {region}, endpoint_url: "http://127.0.0.1:{aws}", writes_per_second: 1e6}}
  ssm: {{kind: aws-parameter-store, region: {region}, endpoint_url: "http://127.0.0.1:{aws}", writes_per_second: 1e6}}
  azure: {{kind: azure-key-vault, vault_url: "https://localhost:{azure}", authority: "https://localhost:{azure}",
           ca_file: {ca}, writes_per_second: 1e6}}
  gcp: {{kind: gcp-secret-manager, project: {project}, endpoint: "127.0.0.1:{gcp}", writes_per_second: 1e6}}
"""
SECRET: Final = """
  {folder}/{name}:
    owner: team-{team:03}@example.com
    classification: internal
    rotation: {{strategy: generated, field: password, interval: 30d, grace: 1h}}
    destinations:
      - {{store: aws, name: {name}}}
      - {{store: azure, name: {name}}}
      - {{store: gcp, name: {name}}}
"""
PARAMETER: Final = "      - {{store: ssm, name: {name}}}\n"


class Site(Clouds):
    """The servers with that many secrets in them, and the catalogue that declares each of them."""

    def __init__(self, directory: Path, stack: ExitStack, secrets: int) -> None:
        names = [f"s{number:05}" for number in range(secrets)]
        os.environ.update(XDG_STATE_HOME=str(directory / "state"), XDG_CACHE_HOME=str(directory / "cache"))
        super().__init__(directory, stack, names, 0, durable=True)
        os.environ.update(VAULT_ADDR=self.hub.address, KEYTURN_HUB_TOKEN_FILE=str(directory / "token"))
        os.environ["KEYTURN_CATALOGUE"] = str(directory / "catalogue")
        self._lay()
        self.start()

    @property
    def in_parameters(self) -> list[str]:
        """The secrets that have a copy in Parameter Store."""
        return list(self.names[::IN_PARAMETERS])

    def _lay(self) -> None:
        """Put the copies into the clouds, which are stopped."""
        in_step.lay(self)
        copies = [copy for copy in in_step.copies_of(self) if copy[0] in set(self.in_parameters)]
        lay_parameters(self.directory / "aws", copies)

    def _fill_hub(self) -> None:
        Hub(self.hub.address, self.hub.root_token).set_up()
        hub = VaultHub(HubSettings(self.hub.address, login=TokenLogin(file=str(self._token()))))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda name: rotated_once(hub, name), self.names))
        hub.close()

    def _catalogue(self) -> Catalogue:
        directory = self.directory / "catalogue"
        directory.mkdir()
        stores = STORES.format(region=REGION, project=PROJECT, ca=self.tls.authority, **self.ports)
        (directory / "stores.yaml").write_text(stores)
        for begun in range(0, len(self.names), FILE):
            entries = [declared(number) for number in range(begun, min(begun + FILE, len(self.names)))]
            (directory / f"secrets-{begun // FILE:03}.yaml").write_text("secrets:" + "".join(entries))
        return load_catalogue(directory, os.environ)


def declared(number: int) -> str:
    """The catalogue's entry of a secret."""
    name = f"s{number:05}"
    entry = SECRET.format(folder=FOLDER, name=name, team=number // 100)
    return entry if number % IN_PARAMETERS else entry + PARAMETER.format(name=name)


def rotated_once(hub: VaultHub, name: str) -> None:
    """A secret with a past rotation, whose old credential has ended."""
    path, now, token = f"{FOLDER}/{name}", datetime.now(UTC), f"token-{name}"
    hub.write(path, SecretFields(fields_of(name)), cas=0)
    hub.patch_metadata(path, {ROTATED_AT: now.isoformat(), TOKEN: token})
    past = Rotation(
        token, 1, Stage.RETIRED, "generated", "", "host/1/1", now, 0, version=1, promoted_at=now,
        closed_at=now + timedelta(hours=1),
    )  # fmt: skip
    hub.write_state(f"rotations/{path}", Record(history=(past,)).to_data(), cas=0)


def lay_parameters(directory: Path, copies: Copies) -> None:
    """Put copies into Parameter Store's part of the emulator's file."""
    backend = ssm_backends[DEFAULT_ACCOUNT_ID][REGION]
    tags = [{"Key": key, "Value": value} for key, value in OURS.items()]
    for name, text, marks in copies:
        backend.put_parameter(
            name,
            parameter_description(marks, 1),
            text,
            "SecureString",
            "",
            "alias/aws/ssm",
            False,
            tags,
            "text",
            "Standard",
            "",
        )
    aws_state.save(directory / "secrets.json")


def stored(directory: Path) -> dict[str, int]:
    """Bytes on the disk: the hub's storage, its audit log, and the ledger."""
    hub = sum(file.stat().st_size for file in (directory / "openbao").rglob("*.db"))
    audit = sum(file.stat().st_size for file in (directory / "openbao").glob("audit.log"))
    ledger = sum(file.stat().st_size for file in (directory / "ledger").glob("ledger.db*"))
    return {"hub": hub, "audit": audit, "ledger": ledger}


def places(site: Site) -> str:
    """The input of a measured process, as JSON."""
    return json.dumps({**site.ports, "directory": str(site.directory), "secrets": len(site.names)})
