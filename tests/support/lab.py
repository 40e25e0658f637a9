"""New secrets in the real hub, with their own accounts in the real database."""

import dataclasses
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg2
from psycopg2.extensions import connection as Connection

from keyturn.catalogue import Catalogue
from keyturn.catalogue.operator.hourly_limits import LimitSettings
from keyturn.core.ports.stores import Store
from keyturn.core.rotation_record import Record
from keyturn.core.sensitive import SecretFields
from keyturn.providers.postgresql.target import PostgreSQL
from keyturn.rotation.state.context import Sender, Workspace
from keyturn.rotation.state.record_store import load_record
from keyturn.wiring.registry import open_workspace
from local.prepare import ADMIN, DATABASE, database
from tests.support.clock import Clock
from tests.support.loose import LOOSE_LIMITS
from tests.support.memory_store import MemoryStore
from tests.support.sender import RecordingSender
from tests.support.world import REGION, World

INTERVAL = timedelta(days=30)
LOOSE = LimitSettings(**LOOSE_LIMITS)
DROP = 'DROP ROLE IF EXISTS "{{name}}"'
TIMING = ("interval", "grace", "max_grace", "jitter", "maximum_age", "window", "password", "users", "fields")


@dataclass(frozen=True)
class Declared:
    """One fresh secret. ``data`` is its entry in the catalogue, ``first`` the version that was there at the start.

    ``targets`` are those that it needs besides the database.
    """

    path: str
    data: dict[str, Any]
    first: dict[str, Any]
    users: tuple[str, str] = ("", "")
    owner: str = ""
    role: str = ""
    targets: dict[str, Any] = field(default_factory=dict)

    def having(self, **changes: Any) -> "Declared":
        """The same secret, declared otherwise; what belongs to its rotation goes there."""
        timing = {name: value for name, value in changes.items() if name in TIMING}
        others = {name: value for name, value in changes.items() if name not in TIMING}
        rotation = {**self.data["rotation"], **timing}
        return dataclasses.replace(self, data={**self.data, **others, "rotation": rotation})


@dataclass
class Opened:
    """A Keyturn for one test, and the stand-ins in it."""

    workspace: Workspace
    clock: Clock
    sender: RecordingSender
    store: MemoryStore


@dataclass
class Lab:
    """Makes secrets, accounts and engine roles, and opens a Keyturn over them."""

    world: World

    def __post_init__(self) -> None:
        self.hub = self.world.hub()
        self.root = self.world.root()
        self.database = self.hub.database("database")

    def __enter__(self) -> "Lab":
        self._context = database(self.world.host, self.world.port, self.world.superuser_password, DATABASE)
        self._connection = self._context.__enter__().connection
        return self

    def __exit__(self, *_: object) -> None:
        self._context.__exit__(None, None, None)
        self.hub.close()

    def keep(self, path: str, data: dict[str, Any]) -> None:
        """Give an entry of Keyturn's own state this content, whatever was there."""
        state = self.hub.read_state(path)
        self.hub.write_state(path, data, cas=state.version if state else 0)

    def reconnect(self) -> None:
        """A new session of the superuser, after the database has cut the old one."""
        self._context.__exit__(None, None, None)
        self._context = database(self.world.host, self.world.port, self.world.superuser_password, DATABASE)
        self._connection = self._context.__enter__().connection

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser; one that fails leaves no open transaction."""
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(statement, values or None)
            except psycopg2.Error:
                if not self._connection.closed:
                    self._connection.rollback()
                raise
            return list(cursor.fetchall()) if cursor.description else []

    # secrets

    def alternating(self, **changes: Any) -> Declared:
        """Two users that take turns, the first of which serves."""
        name, (owner, first, second) = self._accounts()
        password = self.user(first, owner)
        fields = self._served(first, password)
        rotation = {"strategy": "alternating-users", "users": (first, second), "owner_role": owner}
        return self._declare(name, fields, rotation, users=(first, second), owner=owner, **changes)

    def single(self, **changes: Any) -> Declared:
        """One user whose password changes in place."""
        name, (owner, first, _) = self._accounts()
        fields = self._served(first, self.user(first, owner))
        rotation = {"strategy": "single-user", "user": first, "accepts_gap": True}
        return self._declare(name, fields, rotation, users=(first, ""), owner=owner, **changes)

    def dynamic(self, ttl: str = "768h", **changes: Any) -> Declared:
        """A role of the hub's database engine, whose first lease serves."""
        name, (owner, _, _) = self._accounts()
        role = f"reader-{name}"
        self.engine_role(role, owner, ttl)
        lease = self.database.issue(role)
        fields = {**lease.fields.reveal(), "lease_id": lease.lease_id, "port": self.world.port}
        return self._declare(
            name, fields, {"strategy": "vault-dynamic", "role": role}, owner=owner, role=role, **changes
        )

    def generated(self, **changes: Any) -> Declared:
        """A random value beside one that does not change."""
        fields = {"value": secrets.token_urlsafe(32), "endpoint": "https://api.example.com", "retries": 3}
        return self._declare(fresh(), fields, {"strategy": "generated"}, **changes)

    def open(
        self,
        *declared: Declared,
        holder: str | None = None,
        stores: Callable[[str], Store] | None = None,
        sender: Sender | None = None,
        clock: Callable[[], datetime] | None = None,
        consumers: dict[str, Any] | None = None,
        store_settings: dict[str, Any] | None = None,
    ) -> Opened:
        """A Keyturn over these secrets. Its store ``memory`` and its sender are stand-ins unless others are given."""
        memory, recording, still = MemoryStore("memory"), RecordingSender(), Clock()
        settings = store_settings or {"kind": "aws-secrets-manager", "region": REGION}
        catalogue = Catalogue.model_validate(catalogue_data(self.world, declared, settings, consumers or {}))
        workspace = dataclasses.replace(
            open_workspace(catalogue, self.hub),
            open_store=stores or (lambda name: memory),
            sender=sender or recording,
            clock=clock or still,
            hub_clock=clock or still,
            limits=LOOSE,
        )
        if holder:
            workspace = dataclasses.replace(workspace, holder=holder)
        return Opened(workspace, still, recording, memory)

    # what is there

    def current(self, declared: Declared) -> dict[str, Any]:
        """What consumers read."""
        found = self.hub.read(declared.path)
        assert found is not None
        return found.fields.reveal()

    def logs_in(self, fields: SecretFields | dict[str, Any]) -> bool:
        """Whether the database takes this username and password."""
        plain = fields.reveal() if isinstance(fields, SecretFields) else fields
        return logs_in(self.world, plain["username"], plain["password"])

    def connect(self, fields: dict[str, Any]) -> Connection:
        """A session of this account that stays."""
        return psycopg2.connect(
            host=self.world.host,
            port=self.world.port,
            dbname=DATABASE,
            user=fields["username"],
            password=fields["password"],
            sslmode="disable",
        )

    @contextmanager
    def opened(self, fields: SecretFields) -> Iterator[Callable[[], bool]]:
        """A session of this version's account that stays, and what tells whether it still works."""
        connection = self.connect(fields.reveal())
        with closing(connection):
            yield lambda: answers(connection)

    def target(self, name: str = "pg") -> PostgreSQL:
        """The adapter, with Keyturn's own admin account."""
        return PostgreSQL(
            name, host=self.world.host, port=self.world.port, database=DATABASE, admin=self.admin, sslmode="disable"
        )

    def admin(self) -> SecretFields:
        """Keyturn's own account in the database."""
        state = self.hub.read_state("targets/ml-postgres")
        assert state is not None
        return SecretFields(state.data)

    # making

    def user(self, account: str, owner: str) -> str:
        """A login role that acts as ``owner`` and that Keyturn may alter; its password."""
        password = secrets.token_urlsafe(24)
        self.sql(f"CREATE ROLE {account} LOGIN PASSWORD '{password}' IN ROLE {owner}")
        self.sql(f"ALTER ROLE {account} SET role = {owner}")
        self.sql(f"GRANT {account} TO {ADMIN} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE")
        return password

    def engine_role(
        self, role: str, owner: str, ttl: str = "768h", default: str | None = None, end: Sequence[str] = (DROP,)
    ) -> None:
        """A role of the hub's database engine, whose accounts are members of ``owner``, and ``end`` with these."""
        self.root.secrets.database.create_role(
            name=role,
            db_name="ml",
            creation_statements=[
                "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'",
                f'GRANT {owner} TO "{{{{name}}}}"',
                f'ALTER ROLE "{{{{name}}}}" SET role = {owner}',
            ],
            # The engine's own way out revokes on every table there is, and fails at the first that is somebody else's.
            revocation_statements=list(end),
            default_ttl=default or ttl,
            max_ttl=ttl,
        )

    def _accounts(self) -> tuple[str, tuple[str, str, str]]:
        name = fresh()
        owner = f"{name}_owner"
        self.sql(f"CREATE ROLE {owner} NOLOGIN")
        self.sql(f"GRANT {owner} TO {ADMIN} WITH ADMIN OPTION")
        self.sql(f"GRANT CREATE ON SCHEMA public TO {owner}")
        return name, (owner, f"{name}_a", f"{name}_b")

    def _served(self, user: str, password: str) -> dict[str, Any]:
        return {"username": user, "password": password, "host": self.world.host, "port": self.world.port}

    def _declare(
        self,
        name: str,
        first: dict[str, Any],
        rotation: dict[str, Any],
        users: tuple[str, str] = ("", ""),
        owner: str = "",
        role: str = "",
        folder: str = "tests",
        **changes: Any,
    ) -> Declared:
        path = f"{folder}/{name}"
        self.hub.write(path, SecretFields(first), cas=0)
        if rotation["strategy"] != "generated":
            rotation["target"] = "pg"
        timing = {"interval": "30d", "grace": "0s"}
        data = {"owner": "tests@example.com", "classification": "internal", "rotation": {**timing, **rotation}}
        declared = Declared(path, data, first, users, owner, role)
        return declared.having(**changes)


def answers(connection: Connection) -> bool:
    """Whether the server still answers in this session."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (psycopg2.OperationalError, psycopg2.InterfaceError):
        return False
    return True


ANY_UNDECLARED: Final = {"undeclared": ["*:**"]}
"""An operator's file that lets syncs copy every secret that their paths fit."""


def fresh() -> str:
    """A name that nobody has used."""
    return f"t{secrets.token_hex(6)}"


def catalogue_data(
    world: World, declared: tuple[Declared, ...], store: dict[str, Any], consumers: dict[str, Any]
) -> dict[str, Any]:
    """A catalogue of these secrets, with one store ``memory`` and one target ``pg``."""
    targets = {name: settings for one in declared for name, settings in one.targets.items()}
    target = {"kind": "postgresql", "host": world.host, "port": world.port, "database": DATABASE}
    return {
        "stores": {"memory": store},
        "targets": {"pg": {**target, "admin": "targets/pg", "sslmode": "disable"}, **targets},
        "consumers": consumers,
        "secrets": {one.path: {**one.data, "path": one.path} for one in declared},
    }


def logs_in(world: World, user: str, password: str) -> bool:
    """One login as an application does it."""
    try:
        psycopg2.connect(
            host=world.host, port=world.port, dbname=DATABASE, user=user, password=password, sslmode="disable"
        ).close()
    except psycopg2.OperationalError as error:
        # A role may also be dropped between the check of its password and the start of its session.
        if any(
            said in str(error)
            for said in ("authentication failed", "not permitted to log in", f'role "{user}" does not exist')
        ):
            return False
        raise
    return True


def load_whole(workspace: Workspace, path: str) -> Record:
    """A secret's record with its values, read now: the next run removes them."""
    record = load_record(workspace, path)
    return dataclasses.replace(
        record,
        candidate=record.candidate and record.candidate.merged({}),
        rest=record.rest and record.rest.merged({}),
    )
