"""What the example needs in a new hub and a new database: mounts, policies, roles and first versions.

Everything here may run again: what is there stays as it is.
"""

import base64
import hashlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit

import hvac
import psycopg2
from hvac.exceptions import InvalidPath
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from keyturn.catalogue.hub_entries import AppRoleEntry, DatabaseEntry, DatabaseRoleEntry
from keyturn.catalogue.targets import PostgresqlSettings
from keyturn.cli.failures import BEHIND
from keyturn.core.clear_text import is_loopback
from keyturn.core.errors import Unavailable
from keyturn.core.rights.hub_setup import HubResource, Kind
from keyturn.core.webhook_keys import WebhookKeys
from keyturn.ledger.naming import SIGNING_KEY
from keyturn.ledger.signed_notes import PublicKey
from keyturn.providers.vault.hub import VaultHub
from keyturn.providers.vault.own_login import PLACE
from keyturn.providers.vault.setup import VaultSetup
from keyturn.rights.hub_apply import apply_setup
from keyturn.rights.hub_plan import plan_setup
from keyturn.rights.hub_record import read_record
from keyturn.rights.hub_wanted import HubDeclaration, resources
from keyturn.rights.policy_documents import Origin
from keyturn.rights.scope import EVERYTHING
from keyturn.settings.durations import parse
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from local import environment
from local.home import LoginFiles, Stack
from local.services import DECOY_SECRET
from local.support.files import write_private

POLICIES: Final = environment.ROOT / "deployments" / "policies"
DATABASE: Final = "ml"
ADMIN: Final = "keyturn_admin"
OWNER: Final = "ml_trainer"
FIRST_USER: Final = "ml_trainer_a"
SECOND_USER: Final = "ml_trainer_b"
WORKER: Final = "keyturn-worker"
REVOKER: Final = environment.REVOKER_ROLE
NOTARY: Final = environment.NOTARY_ROLE
CONSUMER: Final = "consumer"
DRILL: Final = "keyturn-drill"
DRILLS: Final = "\n".join(
    f'path "keyturn/{kind}/drills/*" {{ capabilities = ["create", "read", "update", "delete", "list"] }}'
    for kind in ("data", "metadata")
)
"""The rights to a drill's own folder, in a local stack only."""

LEASE: Final = environment.LEASE_TOKEN_ROLE
LEDGER_KEY: Final = SIGNING_KEY
STATE: Final = "keyturn"
YEAR: Final = 365 * 24 * 3600
"""In seconds."""
READER: Final = "ml-reader"
CONNECTION: Final = "ml"
"""The connection of the hub's engine to the database."""
END_ACCOUNT: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}'",
    'DROP ROLE IF EXISTS "{{name}}"',
)
"""An account of the engine ends with its sessions: without the first, those would live on."""
ROOT_CA: Final = "pki-root"
CA: Final = "pki"
SERVICES: Final = "services"
CONSUMERS: Final = ("trainer", "inference")
LOOPBACK_NETWORKS: Final = ["127.0.0.0/8", "::1/128"]
PRIVATE_NETWORKS: Final = [*LOOPBACK_NETWORKS, "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
LOGIN_MODE: Final = 0o400
"""Of the files that hold a login to the hub: nobody writes them, and their owner alone reads them."""
PASSED_ON: Final = ("KEYTURN_FAILURE_URL", "KEYTURN_PREFECT_ENCRYPTED")


class Hub:
    """A hub being prepared, with a token that may do everything."""

    def __init__(self, address: str, token: str, ca_file: str | None = None) -> None:
        self.client = hvac.Client(url=address, token=token, verify=ca_file or True)
        self.ca_file = ca_file

    def mounts(self) -> None:
        """The mounts of secrets, of Keyturn's own state and of the engines, and AppRole."""
        self._apply([made for made in self._wanted() if made.kind in (Kind.MOUNT, Kind.AUTH_METHOD)])

    def set_up(self) -> None:
        """Everything that Keyturn's own processes and the applications need, as `keyturn setup hub --apply` makes it.

        The worker, emergencies, the notary and applications each have an AppRole with its policies; the one for
        emergencies has the worker's as well.
        """
        self._apply(self._wanted())

    def _wanted(self) -> tuple[HubResource, ...]:
        return wanted_resources(tuple(self.neighbours))

    def _apply(self, wanted: Sequence[HubResource]) -> None:
        """Make what is lacking or otherwise. All of the local stack's hub is Keyturn's own."""
        with self._administered() as port:
            record = read_record(port)
            apply_setup(port, STATE, plan_setup(port, wanted, record, ("*",), whole=False), record)

    @contextmanager
    def _administered(self) -> Iterator[VaultSetup]:
        with TemporaryDirectory() as directory:
            file = Path(directory) / "token"
            write_private(file, self.client.token)
            login = TokenLogin(file=str(file))
            settings = HubSettings(self.client.url, ca_file=self.ca_file, login=login)
            with closing(VaultHub(settings)) as hub:
                yield hub.setup()

    def public_ledger_key(self) -> bytes:
        """The public half of the newest version of that key, 32 bytes."""
        key = self.client.secrets.transit.read_key(LEDGER_KEY)["data"]
        return base64.b64decode(key["keys"][str(key["latest_version"])]["public_key"])

    @property
    def neighbours(self) -> list[str]:
        """The addresses that Keyturn's own logins come from: this machine's, or its containers'."""
        return LOOPBACK_NETWORKS if is_loopback(urlsplit(self.client.url).hostname or "") else PRIVATE_NETWORKS

    def login_of(self, role: str) -> tuple[str, str]:
        """The role's id and a new secret id, which is for one place alone."""
        role_id = self.client.auth.approle.read_role_id(role)["data"]["role_id"]
        metadata = {PLACE: f"local stack {secrets.token_hex(8)}"}
        return role_id, self.client.auth.approle.generate_secret_id(role, metadata)["data"]["secret_id"]

    def accepts(self, role: str, secret_id: str) -> bool:
        """Whether a secret id of the role works still: it ends by itself where a stack lies still for long."""
        answer = self.client.auth.approle.read_secret_id(role, secret_id)
        return isinstance(answer, dict) and bool(answer.get("data"))

    def first(self, path: str, fields: dict[str, Any], mount: str = "secret") -> dict[str, Any]:
        """Write the first version unless there is one; the fields as they are there now."""
        kv = self.client.secrets.kv.v2
        try:
            read = kv.read_secret_version(path, mount_point=mount, raise_on_deleted_version=True)
            return dict(read["data"]["data"])
        except InvalidPath:
            kv.create_or_update_secret(path, fields, cas=0, mount_point=mount)
            return fields

    def database_engine(
        self, host: str, port: int, roles: Sequence[str], ttl: str = "768h", ca_file: str | None = None
    ) -> None:
        """Let the engine make accounts for each of ``roles``, members of the owner role, in the local database."""
        target = PostgresqlSettings(
            kind="postgresql",
            host=host,
            port=port,
            database=DATABASE,
            sslmode="verify-full" if ca_file else "disable",
            ca_file=ca_file,
            admin="targets/ml-postgres",
        )
        accounts = accounts_of_role(ttl)
        entries = {CONNECTION: DatabaseEntry(kind="database", target="pg"), **dict.fromkeys(roles, accounts)}
        every = resources(HubDeclaration(EVERYTHING, Origin(), entries, {"pg": target}))
        self._apply([made for made in every if made.mount == "database"])

    def certificate_authority(self) -> None:
        """A root, and below it an authority that signs certificates for names in `internal` and `localhost`."""
        pki = self.client.secrets.pki
        kind = {"key_type": "ec", "key_bits": 256}
        if not self._has_issuer(ROOT_CA):
            pki.generate_root("internal", "Keyturn local root", {**kind, "ttl": "175000h"}, mount_point=ROOT_CA)
        if not self._has_issuer(CA):
            made = pki.generate_intermediate("internal", "Keyturn local authority", kind, mount_point=CA)["data"]
            signed = pki.sign_intermediate(
                made["csr"], "Keyturn local authority", {"ttl": "87600h", "format": "pem_bundle"}, mount_point=ROOT_CA
            )
            pki.set_signed_intermediate(signed["data"]["certificate"], mount_point=CA)
        allowed = {"allowed_domains": ["internal"], "allow_subdomains": True, "max_ttl": "2160h", "key_type": "any"}
        pki.create_or_update_role(SERVICES, {**allowed, "key_bits": 0}, mount_point=CA)

    def _has_issuer(self, mount: str) -> bool:
        try:
            return bool(self.client.list(f"{mount}/issuers"))
        except InvalidPath:
            return False


@cache
def wanted_resources(addresses: tuple[str, ...]) -> tuple[HubResource, ...]:
    """What a local hub needs for logins from these addresses, in the order in which it can be made."""
    logins = {WORKER: "worker", REVOKER: "revoker", NOTARY: "notary"}
    entries = {role: AppRoleEntry(kind="approle", login=login, addresses=addresses) for role, login in logins.items()}
    every = {made.key: made for made in resources(HubDeclaration(EVERYTHING, Origin(), entries, {}))}
    revoker = every[f"{Kind.APPROLE}:approle/{REVOKER}"]
    policies = [*revoker.fields["token_policies"], DRILL]
    more = (
        HubResource(Kind.MOUNT, ROOT_CA, {"type": "pki", "max_lease_ttl": 20 * YEAR}),
        HubResource(Kind.MOUNT, CA, {"type": "pki", "max_lease_ttl": 10 * YEAR}),
        HubResource(Kind.POLICY, DRILL, {"policy": DRILLS}),
        replace(revoker, fields={**revoker.fields, "token_policies": policies}),
        HubResource(Kind.APPROLE, CONSUMER, {"token_policies": [CONSUMER], "token_ttl": 3600}, "approle"),
    )
    order = list(Kind)
    return tuple(sorted((every | {made.key: made for made in more}).values(), key=lambda made: order.index(made.kind)))


@contextmanager
def database(
    host: str, port: int, password: str, name: str = "postgres", ca_file: str | None = None
) -> Iterator[Cursor]:
    """A superuser's cursor, each statement in a transaction of its own; over TLS where an authority is given."""
    tls: dict[str, Any] = {"sslmode": "verify-full", "sslrootcert": ca_file} if ca_file else {}
    connection = psycopg2.connect(host=host, port=port, user="postgres", password=password, dbname=name, **tls)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def prepare_database(
    host: str, port: int, superuser_password: str, admin_password: str, first_password: str, ca_file: str | None = None
) -> None:
    """The database ``ml``, the admin role that Keyturn uses, the owner role, and the first of its two users."""
    with database(host, port, superuser_password, ca_file=ca_file) as cursor:
        make_role(cursor, ADMIN, f"LOGIN CREATEROLE PASSWORD {literal(cursor, admin_password)}")
        cursor.execute(f"GRANT pg_signal_backend TO {ADMIN}")
        make_role(cursor, OWNER, "NOLOGIN")
        cursor.execute(f"GRANT {OWNER} TO {ADMIN} WITH ADMIN OPTION")
        make_role(cursor, FIRST_USER, f"LOGIN PASSWORD {literal(cursor, first_password)} IN ROLE {OWNER}")
        cursor.execute(f"ALTER ROLE {FIRST_USER} SET role = {OWNER}")
        cursor.execute(f"GRANT {FIRST_USER} TO {ADMIN} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE")
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
        if not cursor.fetchone():
            cursor.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")


def literal(cursor: Cursor, text: str) -> str:
    """The text as an SQL literal."""
    return sql.Literal(text).as_string(cursor)


def make_role(cursor: Cursor, role: str, attributes: str) -> None:
    """Create the role, or give an existing one these attributes where they are not about membership."""
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
    if not cursor.fetchone():
        cursor.execute(f"CREATE ROLE {role} {attributes}")


def accounts_of_role(ttl: str = "768h") -> DatabaseRoleEntry:
    """A role of the hub's engine whose accounts are members of the owner role."""
    creation = (
        "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'",
        f'GRANT {OWNER} TO "{{{{name}}}}"',
        f'ALTER ROLE "{{{{name}}}}" SET role = {OWNER}',
    )
    life = parse(ttl)
    return DatabaseRoleEntry(
        kind="database-role", connection=CONNECTION, creation=creation, revocation=END_ACCOUNT, ttl=life, max_ttl=life
    )


def prepare(
    hub: Hub,
    host: str,
    port: int,
    superuser_password: str,
    consumers: tuple[str, ...],
    ca_file: str | None = None,
    roles: Sequence[str] = (READER,),
) -> None:
    """Bring a new hub and a new database to where the example's catalogue can be rotated.

    The database is spoken to over TLS where its authority is given. ``roles`` are of the hub's database engine.
    """
    hub.set_up()
    admin = hub.first("targets/ml-postgres", {"username": ADMIN, "password": secrets.token_urlsafe(24)}, "keyturn")
    first = {"username": FIRST_USER, "password": secrets.token_urlsafe(24), "host": host, "port": port}
    secret = hub.first("ml-training/database", {**first, "database": DATABASE})
    hub.first(
        "ml-training/api-keys",
        {"inference_key": secrets.token_urlsafe(32), "webhook_signing_key": secrets.token_hex(32)},
    )
    decoy = {"username": "warehouse_admin", "host": "warehouse.internal", "password": secrets.token_urlsafe(21)}
    hub.first(DECOY_SECRET, decoy)
    for consumer in consumers:
        hub.first(f"webhooks/{consumer}", {"key": f"whsec_{secrets.token_hex(24)}"}, "keyturn")
    prepare_database(host, port, superuser_password, admin["password"], secret["password"], ca_file)
    hub.database_engine(host, port, roles, ca_file=ca_file)
    hub.certificate_authority()


def write_login(files: LoginFiles, role_id: str, secret_id: str) -> None:
    """A login to the hub, in files that their owner alone reads and nobody writes."""
    write_private(files.role_id, role_id, LOGIN_MODE)
    write_private(files.secret_id, secret_id, LOGIN_MODE)


def hub_of(stack: Stack) -> Hub:
    """The stack's hub, with the token that may do everything."""
    return Hub(stack.hub.address, stack.hub.root_token, stack.hub.ca_file)


def prepare_stack(stack: Stack) -> None:
    """All of it for the local stack; then Prefect is told of Keyturn, and the clouds get their first copies.

    Raises Unavailable with the last words of a command that failed.
    """
    hub, pg = hub_of(stack), stack.database
    prepare(hub, pg.host, pg.port, pg.superuser_password, CONSUMERS, environment.ca_file(stack))
    for role in (WORKER, REVOKER, NOTARY, CONSUMER):
        login = stack.login_files(role)
        if not login.secret_id.exists() or not hub.accepts(role, login.secret_id.read_text()):
            write_login(login, *hub.login_of(role))
    tell_witnesses(stack)
    for consumer in CONSUMERS:
        keys = WebhookKeys.from_data(consumer, hub.first(f"webhooks/{consumer}", {}, "keyturn")).all
        write_private(stack.webhook_key_file(consumer), "".join(f"{key.reveal()}\n" for key in keys))
    if url := os.environ.get("KEYTURN_FAILURE_URL"):
        write_private(stack.home / "failure-url", url)
    stamp = stack.home / "registered"
    if stamp.exists() and stamp.read_text() == fingerprint_of_registration():
        return
    with ThreadPoolExecutor() as pool:
        registering = pool.submit(run_cli, stack, ("setup", "prefect", "--apply", "--workspace=default"))
        # A secret without a version keeps nobody from making one: what follows the hub carries it on then.
        pool.submit(run_cli, stack, ("sync", "--local"), bearable=(BEHIND,)).result()
        registering.result()
    # So that a new stack's ledger is vouched for at once; the schedule does it from then on.
    run_cli(stack, ("ledger", "checkpoint"), environment.notary(stack))
    write_private(stamp, fingerprint_of_registration())


def fingerprint_of_registration() -> str:
    """Changes when what is registered with Prefect does; registering takes longer than all the rest."""
    digest = hashlib.sha256(os.environ.get("KEYTURN_FAILURE_URL", "").encode())
    catalogue = Path(environment.catalogue_directory())
    for file in (
        environment.ROOT / "prefect.yaml",
        *sorted(environment.ROOT.glob("[bdf]*/*.py")),
        *sorted(catalogue.glob("*.yaml")),
    ):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def tell_witnesses(stack: Stack) -> None:
    """Give each witness the key of the stack's ledger, which it reads anew for each request."""
    key = str(PublicKey("keyturn/local", hub_of(stack).public_ledger_key()))
    for name in environment.WITNESSES:
        if stack.directory(name).is_dir():
            write_private(stack.directory(name) / "ledgers", f"{key}\n")


def run_cli(
    stack: Stack, command: Sequence[str], variables: Mapping[str, str] | None = None, bearable: Sequence[int] = ()
) -> None:
    """Run one of Keyturn's own commands as the stack's worker would, or with another login.

    What it says where it ends with a ``bearable`` code is said here. Raises Unavailable for any other but 0.
    """
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "keyturn.cli", *command],
        env=environment.inherited() | dict(variables or environment.worker(stack)) | passed_on,
        cwd=environment.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode in bearable:
        sys.stderr.write(done.stderr)
    elif done.returncode:
        words = " ".join(done.stderr.split()[-60:])
        raise Unavailable("prepare", f"keyturn {' '.join(command)}", words, f"See the logs under {stack.home}")
