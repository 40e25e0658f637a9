"""Three clouds and a hub on loopback, for the benchmark of syncs: started empty, or filled with copies in sync."""

import json
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import requests

from benchmarks.bare import FOLDER, PROJECT, REGION
from benchmarks.latency import FarAway
from benchmarks.limits import loosen
from keyturn.catalogue import Catalogue, load_catalogue
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from local.emulators.aws import LocalAws
from local.environment import ROOT
from local.openbao import OpenBao
from local.prepare import Hub
from local.support.ports import LOOPBACK, free_ports
from local.support.process import Process
from local.support.tls import certificate_in

ENVIRONMENT: Final = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AZURE_TENANT_ID": "7a4f0f3e-5a0f-4e58-8b0c-1f0f4a4be001",
    "AZURE_CLIENT_ID": "7a4f0f3e-5a0f-4e58-8b0c-1f0f4a4be002",
    "AZURE_CLIENT_SECRET": "local",
    "GRPC_VERBOSITY": "NONE",
}
CLOUDS: Final = ("aws", "azure", "gcp")
CATALOGUE: Final = """
stores:
  aws: {{kind: aws-secrets-manager, region: {region}, endpoint_url: "http://127.0.0.1:{aws}", writes_per_second: 1e6}}
  azure: {{kind: azure-key-vault, vault_url: "https://localhost:{azure}", authority: "https://localhost:{azure}",
           ca_file: {ca}, writes_per_second: 1e6}}
  gcp: {{kind: gcp-secret-manager, project: {project}, endpoint: "127.0.0.1:{gcp}", writes_per_second: 1e6}}
syncs:
  everything:
    paths: [{folder}/*]
    stores: [aws, azure, gcp]
    name: "{{name}}"
"""


class Clouds:
    """The servers in one directory. With a delay, clients reach them through a slow proxy.

    A ``durable`` hub stores its data on disk, as a real one does.
    """

    def __init__(
        self, directory: Path, stack: ExitStack, names: Sequence[str], delay_ms: float, *, durable: bool = False
    ) -> None:
        self.directory = directory
        self.names = names
        ports = free_ports(8)
        inner = dict(zip(("hub", "aws", "azure", "gcp"), ports, strict=False))
        outer = dict(zip(inner, ports[4:], strict=True)) if delay_ms else inner
        self.ports, self._inner = outer, inner
        self.tls = certificate_in(directory / "tls")
        self.hub = stack.enter_context(OpenBao(directory / "openbao", inner["hub"], dev=not durable))
        self._aws = LocalAws(directory / "aws", inner["aws"])
        self._others = {name: Process(name, directory / name) for name in ("azure", "gcp")}
        stack.callback(self.stop)
        if delay_ms:
            between = {outer[name]: inner[name] for name in inner}
            self._far_away = stack.enter_context(FarAway(directory / "latency", between, delay_ms))
        os.environ.update(ENVIRONMENT, AWS_SHARED_CREDENTIALS_FILE=str(self._aws.credentials))
        os.environ["KEYTURN_LEDGER"] = str(directory / "ledger" / "ledger.db")
        loosen(directory)
        self._fill_hub()
        self.settings = HubSettings(f"http://{LOOPBACK}:{outer['hub']}", login=TokenLogin(file=str(self._token())))
        self.catalogue = self._catalogue()

    @property
    def said(self) -> str:
        """The input of a process of the bare side, as JSON."""
        token = str(self.directory / "token")
        return json.dumps({**self.ports, "ca": str(self.tls.authority), "token": token})

    @property
    def processes(self) -> list[Process]:
        """All of the servers."""
        return [self.hub.process, self._aws.process, *self._others.values()]

    def start(self) -> None:
        """Start the clouds with the data in their directories."""
        starts = (self._aws.start, self._start_azure, self._start_gcp)
        with ThreadPoolExecutor(len(starts)) as pool:
            list(pool.map(lambda start: start(), starts))

    def stop(self) -> None:
        """Stop the clouds; the hub continues."""
        stops = (self._aws.stop, *(other.stop for other in self._others.values()))
        with ThreadPoolExecutor(len(stops)) as pool:
            list(pool.map(lambda stop: stop(), stops))

    def empty(self) -> None:
        """Start the clouds again, without secrets."""
        self.stop()
        for name in CLOUDS:
            shutil.rmtree(self.directory / name, ignore_errors=True)
        self.start()

    def _start_azure(self) -> None:
        command = [
            f"--port={self._inner['azure']}",
            f"--cert={self.tls.certificate}",
            f"--key={self.tls.key}",
            f"--data={self.directory / 'azure'}",
        ]
        self._start("azure", ["local.emulators.azure_key_vault", *command])

    def _start_gcp(self) -> None:
        command = [f"--port={self._inner['gcp']}", f"--data={self.directory / 'gcp'}"]
        self._start("gcp", ["local.emulators.gcp_secret_manager", *command])

    def _start(self, name: str, module: list[str]) -> None:
        process = self._others[name]
        process.start([sys.executable, "-m", *module], ready=lambda: process.says("^ready"), cwd=ROOT, timeout=60)

    def _fill_hub(self) -> None:
        """One version of each secret, with four fields."""
        Hub(self.hub.address, self.hub.root_token).mounts()
        local = threading.local()

        def write(name: str) -> None:
            if not hasattr(local, "session"):
                local.session = requests.Session()
                local.session.headers["X-Vault-Token"] = self.hub.root_token
            url = f"{self.hub.address}/v1/secret/data/{FOLDER}/{name}"
            local.session.post(url, json={"data": fields_of(name)}, timeout=10).raise_for_status()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, self.names))

    def _token(self) -> Path:
        token = self.directory / "token"
        token.write_text(self.hub.root_token)
        return token

    def _catalogue(self) -> Catalogue:
        directory = self.directory / "catalogue"
        directory.mkdir()
        text = CATALOGUE.format(region=REGION, folder=FOLDER, project=PROJECT, ca=self.tls.authority, **self.ports)
        (directory / "benchmark.yaml").write_text(text)
        return load_catalogue(directory, os.environ)


def fields_of(name: str) -> dict[str, str | int]:
    """The hub's data of the secret of that name."""
    return {"username": f"{name}_a", "password": f"{name:*<32}", "host": "db.example", "port": 5432}
