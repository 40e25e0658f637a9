"""Keyturn installed as docs/operations.md describes, with a hub, a database and Prefect."""

import json
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from keyturn.core.ports.hub import ROTATED_AT
from local.openbao import binary
from tests.platform.guest import PATH, ROOT, Guest, guide
from tests.platform.kept import document
from tests.platform.servers import NAMES, PLACE

WORKERS: Final = ("keyturn-worker", "keyturn-revoker", "keyturn-notary")
SERVING: Final = ("keyturn-serve", "keyturn-follower", "keyturn-granter", "keyturn-backup")
CHECK: Final = "keyturn-check"
SERVICES: Final = (*WORKERS, *SERVING, CHECK)
SERVERS: Final = ("database", "hub", "prefect-server")
SECRET: Final = "ml-training/database"
ENVIRONMENT: Final = "/etc/keyturn/keyturn.env"
LONG_AGO: Final = "2020-01-01T00:00:00+00:00"

LOGIN: Final = """\
import json, sys, psycopg2
login = json.load(sys.stdin)["data"]["data"]
words = {key: login[key] for key in ("host", "port", "password")}
psycopg2.connect(user=login["username"], dbname="ml", sslmode="verify-full", sslrootcert="/etc/keyturn/ca.pem", **words)
"""
"""Logs in with the secret that the hub shows."""

CATALOGUE: Final = f"""\
hub:
  keyturn-worker: {{kind: approle, login: worker, addresses: [127.0.0.0/8]}}
  keyturn-revoker: {{kind: approle, login: revoker, addresses: [127.0.0.0/8]}}
  keyturn-notary: {{kind: approle, login: notary, addresses: [127.0.0.0/8]}}
  keyturn-monitor: {{kind: approle, login: monitor, addresses: [127.0.0.0/8]}}
  keyturn-granter: {{kind: approle, login: granter, addresses: [127.0.0.0/8]}}
  ml: {{kind: database, target: ml-postgres}}
  ml-reader:
    kind: database-role
    connection: ml
    creation: ["CREATE ROLE \\"{{{{name}}}}\\" LOGIN PASSWORD '{{{{password}}}}' VALID UNTIL '{{{{expiration}}}}'"]
targets:
  ml-postgres:
    {{kind: postgresql, host: db.example.com, port: 5432, database: ml, admin: targets/ml-postgres, ca_file: ca.pem}}
access_policies:
  ml-oncall:
    paths: [{SECRET}]
    subjects: {{groups: [c1f0a3b4-7d2e-4c58-9b1a-6f2d8e0a9c11]}}
    credential: database/creds/ml-reader
    maximum: 1h
    approvals: 0
    classifications: [internal]
secrets:
  {SECRET}:
    owner: ml
    classification: internal
    rotation: {{strategy: alternating-users, target: ml-postgres, users: [ml_trainer_a, ml_trainer_b],
                owner_role: ml_trainer, interval: 30d, grace: 10s}}
"""
POLICY: Final = """\
backups:
  place: {kind: directory, directory: /srv/backups}
  keys: [x25519:/etc/keyturn/recovery.pub]
  sign_with: keyturn-backup
  public_key: """
BACKUP_DROP_IN: Final = "[Service]\nReadWritePaths=/srv/backups\n"
HUB: Final[dict[str, Any]] = {
    "api_addr": "https://vault.example.com:8200",
    "listener": {
        "tcp": {
            "address": "127.0.0.1:8200",
            "tls_cert_file": str(PLACE / "server.pem"),
            "tls_key_file": str(PLACE / "server.key"),
        }
    },
    "audit": [
        {
            "type": "file",
            "path": "file",
            "options": {"file_path": "/var/log/openbao/audit.log", "mode": "0640"},
        }
    ],
}


def unit(start: str, *lines: str, kind: str = "exec", after: Sequence[str] = ()) -> str:
    """The text of a server's unit."""
    waits = [f"{word}={' '.join(f'{name}.service' for name in after)}" for word in ("Requires", "After") if after]
    return "\n".join(["[Unit]", *waits, "[Service]", f"Type={kind}", f"ExecStart={start}", *lines, ""])


@dataclass
class Installation:
    """All of it; `install` makes it."""

    guest: Guest
    password: str = field(default_factory=lambda: secrets.token_hex(16))
    token: str = field(default_factory=lambda: secrets.token_hex(16))

    @cached_property
    def settings(self) -> dict[str, str]:
        """What an operator's commands are given: the guide's own variables, with an administrator's logins."""
        lines = self.guest.run("cat", ENVIRONMENT).splitlines()
        return {
            **dict(line.split("=", 1) for line in lines),
            "PATH": f"/opt/keyturn/bin:{PATH}",
            "VAULT_TOKEN": self.token,
            "PREFECT_API_AUTH_STRING": f"keyturn:{self.password}",
            "KEYTURN_PREFECT_ENCRYPTED": "true",
            "PGPASSFILE": "/root/pgpass",
        }

    def keyturn(self, *words: str) -> str:
        """One of Keyturn's commands, by an administrator."""
        return self.guest.run("keyturn", *words, environment=self.settings)

    def hub(self, *words: str) -> str:
        """One of the hub's commands, by an administrator."""
        return self.guest.run("vault", *words, environment=self.settings)

    def install(self) -> None:
        """The servers first, then every command of the guide but the last, which starts the units."""
        *commands, self.start_units = guide()
        self._start_servers()
        for command in commands:
            if command.startswith("cat "):
                file, _, text = command.removeprefix("cat ").partition("\n")
                self.guest.write(file, text)
                self._prepare()
            else:
                # The virtual environment has been made, see guest.py.
                steps = [step for step in command.split(" && ") if "-m venv" not in step and "-r req" not in step]
                script = " && ".join(steps).replace("PASSWORD", self.password)
                settings = self.settings if "vault " in script else {}
                self.guest.run("bash", "-euc", script, environment=settings) if steps else None

    def _start_servers(self) -> None:
        guest = self.guest
        guest.run("bash", "-c", f"echo 127.0.0.1 {' '.join(NAMES)} >> /etc/hosts; rm -f dist/keyturn-*.whl")
        logins = dict.fromkeys(("admin", "secret", "keyturn_worker", "prefect"), self.password)
        guest.write("/root/passwords.json", json.dumps(logins))
        guest.write("/etc/openbao.json", json.dumps(HUB))
        guest.run("ln", "-s", str(binary()), "/usr/local/bin/vault")
        guest.run("groupadd", "--system", "openbao-audit")
        guest.run("install", "-d", "-m", "2750", "-g", "openbao-audit", "/var/log/openbao")
        programs = sys.executable
        servers = {
            "database": unit(
                f"{programs} -m tests.platform.servers /root/passwords.json",
                f"WorkingDirectory={ROOT}",
                "Environment=HOME=/root",
                "TimeoutStartSec=300",
                kind="notify",
            ),
            "hub": unit(
                f"{binary()} server -dev -dev-no-store-token -config=/etc/openbao.json",
                f"Environment=BAO_DEV_ROOT_TOKEN_ID={self.token} BAO_DEV_LISTEN_ADDRESS=127.0.0.1:8211 HOME=/root",
                after=["database"],
            ),
            "prefect-server": unit(
                "/opt/keyturn/bin/python -m keyturn.project deployments.prefect_server --port=443"
                f" --name=prefect.example.com --cert={PLACE}/server.pem --key={PLACE}/server.key",
                f"Environment=PREFECT_SERVER_API_AUTH_STRING=keyturn:{self.password}",
                "Environment=HOME=/root PREFECT_HOME=/root/prefect",
                "Environment=PREFECT_SERVER_DATABASE_CONNECTION_URL=postgresql+asyncpg://prefect:"
                f"{self.password}@db.example.com/prefect",
                "Environment=PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT=60 PREFECT_SERVER_DATABASE_TIMEOUT=60",
                "Environment=PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1",
                after=["database"],
            ),
        }
        for name, text in servers.items():
            guest.write(f"/etc/systemd/system/{name}.service", text, 0o644)
        guest.run("systemctl", "daemon-reload")
        guest.run("systemctl", "start", "database", "hub")

    def _prepare(self) -> None:
        """What the operator makes before the units start: catalogue, policy, logins, Prefect."""
        guest = self.guest
        guest.run("install", "-m", "0644", str(PLACE / "ca.pem"), "/etc/keyturn/ca.pem")
        guest.run("install", "-D", "-m", "0644", str(PLACE / "ca.pem"), "/etc/keyturn/catalogue/ca.pem")
        guest.run("chmod", "0755", "/etc/keyturn", "/etc/keyturn/catalogue")
        guest.write("/etc/keyturn/catalogue/all.yaml", CATALOGUE, 0o644)
        guest.write("/root/pgpass", f"db.example.com:5432:keyturn_ledger:keyturn_worker:{self.password}\n")
        guest.write("/etc/keyturn/policy.yaml", "{}\n", 0o644)
        guest.run("systemctl", "start", "prefect-server")
        guest.run("timeout", "180", "bash", "-c", "until (: > /dev/tcp/127.0.0.1/443) 2>/dev/null; do sleep 1; done")
        key = "openssl genpkey -algorithm x25519 -out /root/recovery.pem && openssl pkey -in /root/recovery.pem -pubout"
        guest.run("bash", "-euc", f"{key} -out /etc/keyturn/recovery.pub; chmod 0644 /etc/keyturn/recovery.pub")
        admin = json.dumps({"username": "keyturn_admin", "password": self.password})
        self.hub("secrets", "enable", "-path=keyturn", "-version=2", "kv")
        guest.run(
            "vault", "kv", "put", "-mount=keyturn", "targets/ml-postgres", "-", text=admin, environment=self.settings
        )
        self.keyturn("setup", "hub", "--apply", "--yes")
        first = {"username": "ml_trainer_a", "password": self.password, "host": "db.example.com", "port": 5432}
        guest.run("vault", "kv", "put", "-mount=secret", SECRET, "-", text=json.dumps(first), environment=self.settings)
        self.hub("policy", "write", "keyturn-backup", str(ROOT / "deployments/policies/keyturn-backup.hcl"))
        self.hub("write", "auth/approle/role/keyturn-backup", "token_policies=keyturn-backup", "token_ttl=1h")
        self.hub("write", "transit/keys/keyturn-backup", "type=ed25519")
        signing = json.loads(self.hub("read", "-format=json", "transit/keys/keyturn-backup"))["data"]["keys"]["1"]
        guest.write("/etc/keyturn/policy.yaml", f"{POLICY}{signing['public_key']}\n", 0o644)
        guest.write("/etc/systemd/system/keyturn-backup.service.d/place.conf", BACKUP_DROP_IN, 0o644)
        self.keyturn("setup", "prefect", "--apply")

    def version(self) -> int:
        """The newest version of the secret in the hub."""
        metadata = json.loads(self.hub("kv", "metadata", "get", "-format=json", "-mount=secret", SECRET))
        return int(metadata["data"]["current_version"])

    def logs_in(self) -> bool:
        """Whether the database accepts it."""
        shown = self.hub("kv", "get", "-format=json", "-mount=secret", SECRET)
        return self.guest.command("/opt/keyturn/bin/python", "-c", LOGIN, text=shown).returncode == 0

    def settled(self) -> bool:
        """Whether no rotation is open, and no credential before it still works; one that may end is ended."""
        self.guest.command("keyturn", "retire", SECRET, "--local", environment=self.settings)
        status = self.guest.command("keyturn", "status", "--json", environment=self.settings)
        (secret,) = document(status)["secrets"]
        return secret["rotation"] is None

    def make_due(self) -> None:
        """Let the secret look as old as can be."""
        self.hub("kv", "metadata", "patch", "-mount=secret", f"-custom-metadata={ROTATED_AT}={LONG_AGO}", SECRET)
