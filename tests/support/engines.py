"""The databases whose accounts the hub's engine makes, in one shape, and the worker that asks it."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pymysql
from pymysql.constants import ER

from keyturn.core.ports.strategies import AccountTarget
from keyturn.core.sensitive import SecretFields
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import AppRoleLogin
from local.mariadb import MariaDB
from local.prepare import LEASE, OWNER, WORKER, Hub
from tests.support.lab import Lab, fresh
from tests.support.mariadb_lab import answers

CONNECTION = "maria"
APPLICATION = "app"
ENGINE_ADMIN = "hub_engine"
TARGET_ADMIN = "keyturn_admin"


class Engine(Protocol):
    """One database with an engine of the hub in front of it, at the mount ``database``."""

    def dynamic(self, default: str = "24h", longest: str = "24h") -> str:
        """A fresh role, whose accounts may read the application's data."""

    def static(self, period: str = "17520h") -> tuple[str, str]:
        """A fresh static role, and the account that it keeps."""

    def target(self) -> AccountTarget:
        """The database, as Keyturn's target."""

    def logs_in(self, fields: SecretFields) -> bool:
        """Whether an application with this username and password gets in."""

    def session(self, fields: SecretFields) -> AbstractContextManager[object]:
        """An application's session."""

    def opened(self, fields: SecretFields) -> AbstractContextManager[Callable[[], bool]]:
        """The same, with what tells whether it still works."""

    def set_password(self, username: str, password: str) -> None:
        """Behind the engine's back."""

    def accounts(self, role: str) -> int:
        """How many accounts of this role are in the database."""


class OverPostgreSQL:
    """The lab's own database."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def dynamic(self, default: str = "24h", longest: str = "24h") -> str:
        """Members of the owner role."""
        role = fresh()
        self.lab.engine_role(role, OWNER, longest, default)
        return role

    def static(self, period: str = "17520h") -> tuple[str, str]:
        """A login role that Keyturn's admin, which is the engine's too, may alter."""
        role = fresh()
        self.lab.user(f"{role}_user", OWNER)
        made = {"db_name": "ml", "username": f"{role}_user", "rotation_period": period}
        self.lab.root.write_data(f"database/static-roles/{role}", data=made)
        return role, f"{role}_user"

    def target(self) -> AccountTarget:
        """With Keyturn's admin."""
        return self.lab.target()

    def logs_in(self, fields: SecretFields) -> bool:
        """One login."""
        return self.lab.logs_in(fields)

    def session(self, fields: SecretFields) -> AbstractContextManager[object]:
        """One that stays."""
        return closing(self.lab.connect(fields.reveal()))

    def opened(self, fields: SecretFields) -> AbstractContextManager[Callable[[], bool]]:
        """The same."""
        return self.lab.opened(fields)

    def set_password(self, username: str, password: str) -> None:
        """As a superuser."""
        self.lab.sql(f"ALTER ROLE {username} PASSWORD '{password}'")

    def accounts(self, role: str) -> int:
        """Told by their names, which hold the role's."""
        return len(self.lab.sql("SELECT 1 FROM pg_roles WHERE rolname LIKE %s", f"%{role[:8]}%-%"))


class OverMariaDB:
    """A MariaDB whose engine's admin has a password that nobody but the engine knows."""

    def __init__(self, lab: Lab, server: MariaDB, connection: str = CONNECTION) -> None:
        self.lab = lab
        self.server = server
        self.connection = connection
        self._admin = SecretFields({"username": TARGET_ADMIN, "password": secrets.token_urlsafe(24)})
        self._prepare()

    def dynamic(self, default: str = "24h", longest: str = "24h") -> str:
        """Users that read the application's database."""
        role = fresh()
        self.lab.root.secrets.database.create_role(
            name=role,
            db_name=self.connection,
            creation_statements=[
                "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'",
                f"GRANT SELECT ON {APPLICATION}.* TO '{{{{name}}}}'@'%'",
            ],
            # The engine's own way out reads mysql.user, which its admin has no right to here.
            revocation_statements=["DROP USER IF EXISTS '{{name}}'@'%'"],
            default_ttl=default,
            max_ttl=longest,
        )
        return role

    def static(self, period: str = "17520h") -> tuple[str, str]:
        """A user of the application."""
        role = fresh()
        self.sql(f"CREATE USER '{role}'@'%' IDENTIFIED BY '{secrets.token_urlsafe(24)}'")
        self.sql(f"GRANT SELECT ON {APPLICATION}.* TO '{role}'@'%'")
        made = {"db_name": self.connection, "username": role, "rotation_period": period}
        self.lab.root.write_data(f"database/static-roles/{role}", data=made)
        return role, role

    def target(self) -> AccountTarget:
        """With an admin of Keyturn's own."""
        from keyturn.providers.mysql.target import MySQL

        return MySQL(
            "maria",
            host=self.server.host,
            port=self.server.port,
            database=APPLICATION,
            admin=lambda: self._admin,
            tls="verify",
            ca_file=str(self.server.authority),
        )

    def logs_in(self, fields: SecretFields) -> bool:
        """One login."""
        try:
            with self.session(fields):
                return True
        except pymysql.OperationalError as error:
            if error.args[0] == ER.ACCESS_DENIED_ERROR:
                return False
            raise

    @contextmanager
    def session(self, fields: SecretFields) -> "Iterator[pymysql.Connection[Any]]":
        """One that stays."""
        with closing(self._connect(fields["username"].reveal(), fields["password"].reveal(), APPLICATION)) as opened:
            yield opened

    @contextmanager
    def opened(self, fields: SecretFields) -> Iterator[Callable[[], bool]]:
        """The same."""
        with self.session(fields) as connection:
            yield lambda: answers(connection)

    def set_password(self, username: str, password: str) -> None:
        """As a superuser."""
        self.sql(f"ALTER USER '{username}'@'%' IDENTIFIED BY '{password}'")

    def accounts(self, role: str) -> int:
        """Told by their names, which hold the role's."""
        return len(self.sql("SELECT 1 FROM mysql.user WHERE user LIKE %s", f"v-%-{role[:8]}%"))

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Run one statement as the superuser."""
        server = self.server
        with closing(self._connect(server.superuser, server.superuser_password)) as opened, opened.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

    def _connect(self, user: str, password: str, database: str | None = None) -> "pymysql.Connection[Any]":
        where: dict[str, Any] = {"host": self.server.host, "port": self.server.port, "database": database}
        given = {**where, "user": user, "password": password, "autocommit": True, "ssl_disabled": True}
        opened: pymysql.Connection[Any] = pymysql.connect(**given)
        return opened

    def _prepare(self) -> None:
        first = secrets.token_urlsafe(24)
        self.sql(f"CREATE DATABASE IF NOT EXISTS {APPLICATION}")
        # The engine looks for its admin under any host when it changes that one's password.
        self.sql(f"CREATE OR REPLACE USER {ENGINE_ADMIN}@'%' IDENTIFIED BY '{first}'")
        self.sql(f"GRANT CREATE USER ON *.* TO {ENGINE_ADMIN}@'%'")
        self.sql(f"GRANT SELECT ON {APPLICATION}.* TO {ENGINE_ADMIN}@'%' WITH GRANT OPTION")
        self.sql(f"CREATE OR REPLACE USER {TARGET_ADMIN}@'%' IDENTIFIED BY '{self._admin['password'].reveal()}'")
        self.sql(f"GRANT CREATE USER, PROCESS, CONNECTION ADMIN ON *.* TO {TARGET_ADMIN}@'%'")
        self.sql(f"GRANT SELECT ON mysql.* TO {TARGET_ADMIN}@'%'")
        self.lab.root.secrets.database.configure(
            name=self.connection,
            plugin_name="mysql-database-plugin",
            allowed_roles=["*"],
            connection_url=f"{{{{username}}}}:{{{{password}}}}@tcp({self.server.host}:{self.server.port})/",
            username=ENGINE_ADMIN,
            password=first,
        )
        self.lab.root.secrets.database.rotate_root_credentials(self.connection)


@contextmanager
def worker_hub(lab: Lab, directory: Path, token_role: str | None = LEASE, role: str = WORKER) -> Iterator[VaultHub]:
    """The hub as a worker sees it: logged in through its AppRole, with the policies that the repository gives it."""
    role_id, secret_id = Hub(lab.world.hub_address, lab.world.hub_token).login_of(role)
    (directory / "role-id").write_text(role_id)
    (directory / "secret-id").write_text(secret_id)
    login = AppRoleLogin(str(directory / "role-id"), str(directory / "secret-id"))
    with closing(VaultHub(HubSettings(lab.world.hub_address, login=login, lease_token_role=token_role))) as hub:
        yield hub
