"""A copy that is a connection string of the target is tried before it is promoted, and refused where it is wrong."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.errors import CandidateRejected, CertainRefusal, Invalid, Misrendered
from keyturn.core.ports.ledger import Entry, NewestVersion, Outcome
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.connections import Connection
from keyturn.rotation.outcome import RunState
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record
from keyturn.wiring.registry import open_workspace
from local.mariadb import MariaDB
from local.redis import Redis
from tests.rotation.helpers import remote, with_copy
from tests.support.acl import Acl
from tests.support.hooks import Hooked, raising
from tests.support.lab import DATABASE, INTERVAL, Declared, Lab, Opened, fresh
from tests.support.mariadb_lab import MariaDBLab
from tests.support.memory_store import MemoryStore
from tests.support.sender import RecordingSender

URL = "postgresql://{username}:{password}@{host}:{port}/" + DATABASE
LIBPQ = f"host={{host}} port={{port}} user={{username}} password={{password}} dbname={DATABASE}"
ODBC = f"Driver=psqlodbcw.so;Server={{host}};Port={{port}};Database={DATABASE};Uid={{username}};Pwd={{password}};"
ADO = f"Host={{host}};Port={{port}};Database={DATABASE};Username={{username}};Password={{password}}"
JDBC = f"jdbc:postgresql://{{host}}:{{port}}/{DATABASE}?user={{username}}&password={{password}}"

HARD = "aB1%41+;'@/}\"x:"


@pytest.fixture
def mints(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Lets the next candidates have these passwords; what is left of them."""

    def given(*texts: str) -> list[str]:
        left = list(texts)
        monkeypatch.setattr("keyturn.strategies.database_users.generate", lambda policy: Sensitive(left.pop(0)))
        return left

    return given


def unchanged(lab: Lab, secret: Declared, opened: Opened) -> None:
    """CURRENT and its copies are as they were, and work."""
    assert lab.current(secret) == secret.first
    assert lab.logs_in(secret.first)
    assert list(opened.store.list_all()) == []


@pytest.mark.parametrize(
    ("template", "escape"),
    [
        (URL, None),
        (URL.replace("sql:", "sql+psycopg2:"), "url"),
        (LIBPQ, "libpq"),
        (ODBC, "odbc"),
        (ADO, "ado"),
        (JDBC, "url"),
    ],
)
def test_a_copy_that_reads_back_is_logged_in_with_and_promoted(
    lab: Lab, mints: Callable[..., list[str]], template: str, escape: str | None
) -> None:
    secret = with_copy(lab.alternating(), template=template, **({"escape": escape} if escape else {}))
    opened, left = lab.open(secret), mints(HARD)
    logins: list[Any] = []
    reading = spied(opened, secret, logins)
    assert rotate(reading.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    assert [(login.account, login.password.reveal()) for login in logins] == [(secret.users[1], HARD)]
    assert not left
    assert lab.current(secret)["password"] == HARD


def spied(opened: Opened, secret: Declared, logins: list[Any]) -> Opened:
    """Tells which connections were logged in with."""
    hooked: Any = Hooked(opened.workspace.open_strategy(secret.path), check_connection=logins.append)
    return dataclasses.replace(
        opened, workspace=dataclasses.replace(opened.workspace, open_strategy=lambda path: hooked)
    )


@pytest.mark.parametrize(
    ("template", "bad"), [(URL, "a/b@c"), (LIBPQ, "a b'"), (ODBC, "a%41b+c"), (ADO, "a;b"), (JDBC, "a+b&c")]
)
def test_a_password_that_the_template_breaks_is_refused_before_anything_is_installed_and_another_is_made(
    lab: Lab, mints: Callable[..., list[str]], template: str, bad: str
) -> None:
    secret = with_copy(lab.alternating(), template=template, escape="none")
    opened, left = lab.open(secret), mints(bad, "Plain1")
    assert rotate(opened.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    assert not left
    assert lab.current(secret)["password"] == "Plain1"
    assert not lab.logs_in({"username": secret.users[1], "password": bad})


def test_three_passwords_that_the_template_breaks_are_enough_and_the_copy_is_named(
    lab: Lab, mints: Callable[..., list[str]]
) -> None:
    secret = with_copy(lab.single(), template=ODBC, escape="none")
    opened, _ = lab.open(secret), mints("a+b", "a+c", "a+d", "Unused")
    with pytest.raises(
        CandidateRejected, match=f"memory:{remote(secret)}: its text reads back as another login"
    ) as caught:
        rotate(opened.workspace, secret.path, Trigger.FORCE)
    assert "a+d" not in str(caught.value)
    unchanged(lab, secret, opened)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (URL.replace("{username}", "somebody"), "logs in as another user"),
        (URL + "%20", "white space next to the database's name"),
        (ODBC.replace("{username}", "{username}x"), "logs in as another user"),
    ],
)
def test_a_template_that_no_password_mends_is_named_and_current_is_untouched(
    lab: Lab, template: str, said: str
) -> None:
    secret = with_copy(lab.single(), template=template)
    opened = lab.open(secret)
    with pytest.raises(Misrendered, match=f"memory:{remote(secret)}: .*{said}"):
        rotate(opened.workspace, secret.path, Trigger.FORCE)
    unchanged(lab, secret, opened)
    opened.clock.advance(INTERVAL)
    with pytest.raises(CertainRefusal, match=f"would refuse every candidate like the last: memory:.*{said}") as again:
        rotate(opened.workspace, secret.path)
    assert f"keyturn rotate {secret.path} --now" in again.value.hint
    assert len(load_record(opened.workspace, secret.path).history) == 1


@pytest.mark.parametrize(
    "template",
    [
        URL.replace("{host}", "replica.example.com"),
        URL.replace("{port}", "6432"),
        URL.replace(f"/{DATABASE}", "/other"),
        LIBPQ.replace("{host}", "replica.example.com"),
        ODBC.replace("{host}", "replica.example.com"),
        "PASSWORD={password}",
        "{username}:{password}",
    ],
)
def test_what_leads_elsewhere_is_not_tried_and_not_called_tried(lab: Lab, template: str) -> None:
    secret = with_copy(lab.alternating(), template=template, escape="none")
    opened = lab.open(secret)
    logins: list[Any] = []
    assert rotate(spied(opened, secret, logins).workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    assert logins == []


def test_an_encoded_copy_is_tried_as_it_is_before_it_is_encoded(lab: Lab) -> None:
    secret = with_copy(lab.alternating(), template=URL, encoding="base64")
    opened = lab.open(secret)
    logins: list[Any] = []
    rotate(spied(opened, secret, logins).workspace, secret.path, Trigger.FORCE)
    assert len(logins) == 1


def test_in_an_emergency_a_copy_that_is_wrong_keeps_no_new_credential_back(
    lab: Lab, mints: Callable[..., list[str]]
) -> None:
    secret = with_copy(lab.alternating(), template=ODBC, escape="none")
    opened, _ = lab.open(secret), mints("a+b")
    assert rotate(opened.workspace, secret.path, Trigger.COMPROMISE).state is RunState.ROTATED
    assert lab.current(secret)["password"] == "a+b"


def test_a_value_that_a_copy_cant_hold_makes_way_for_another(lab: Lab, mints: Callable[..., list[str]]) -> None:
    secret = with_copy(lab.alternating(), template=ODBC, escape="odbc")
    opened, left = lab.open(secret), mints(" a", "Plain1")
    assert rotate(opened.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    assert not left
    assert lab.current(secret)["password"] == "Plain1"


def test_a_copy_that_no_candidate_fits_is_invalid_before_one_is_made(lab: Lab) -> None:
    secret = with_copy(lab.alternating(), template=URL + "?x={absent}")
    opened = lab.open(secret)
    with pytest.raises(Invalid, match="no field absent"):
        rotate(opened.workspace, secret.path, Trigger.FORCE)
    unchanged(lab, secret, opened)


def test_a_login_that_is_refused_names_the_copy_and_the_old_password_works_again(lab: Lab) -> None:
    secret = with_copy(lab.single(), template=URL)
    opened = lab.open(secret)
    refusing: Any = Hooked(
        opened.workspace.open_strategy(secret.path),
        check_connection=raising(CandidateRejected("log in as", "pg", "the target refuses the login")),
    )
    workspace = dataclasses.replace(opened.workspace, open_strategy=lambda path: refusing)
    with pytest.raises(Misrendered, match=f"memory:{remote(secret)}: the target refuses the login that its text is"):
        rotate(workspace, secret.path, Trigger.FORCE)
    unchanged(lab, secret, opened)


def test_the_ledger_names_the_copies_that_were_tried(lab: Lab) -> None:
    elsewhere = {"store": "memory", "name": "elsewhere", "template": URL.replace("{port}", "1")}
    secret = lab.alternating()
    secret = secret.having(destinations=({"store": "memory", "name": remote(secret), "template": URL}, elsewhere))
    opened, entries = lab.open(secret), Kept()
    rotate(dataclasses.replace(opened.workspace, ledger=entries), secret.path, Trigger.FORCE)
    notes = [entry.note for entry in entries.all if (entry.action, entry.outcome) == ("verify", Outcome.DONE)]
    assert notes == [f"logged in with the text of memory:{remote(secret)}"]


class Kept:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.all: list[Entry] = []

    def append(self, entries: Sequence[Entry]) -> None:
        """Keep them."""
        self.all += entries

    def newest_versions(self, secrets: Collection[str]) -> Mapping[str, NewestVersion]:
        """It knows of none."""
        return {}

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


@dataclasses.dataclass
class Elsewhere:
    """One secret at another kind of target, with one copy."""

    workspace: Workspace
    path: str
    logins: list[Connection]

    def rotate(self) -> SecretFields:
        """Once; CURRENT afterwards."""
        assert rotate(self.workspace, self.path, Trigger.FORCE).state is RunState.ROTATED
        found = self.workspace.hub.read(self.path)
        assert found is not None
        return found.fields


def at(
    lab: Lab, target: dict[str, Any], admin: SecretFields, first: SecretFields, rotation: dict[str, Any], template: str
) -> Elsewhere:
    path = f"tests/{fresh()}"
    lab.hub.write_state(f"targets/{path}", admin.reveal(), cas=0)
    lab.hub.write(path, first, cas=0)
    destinations = [{"store": "memory", "name": "copy", "template": template}]
    rotation = {"target": "there", "interval": "30d", "grace": "0s", **rotation}
    secret = {"path": path, "owner": "a@example.com", "classification": "internal", "rotation": rotation}
    catalogue = Catalogue.model_validate(
        {
            "stores": {"memory": {"kind": "aws-secrets-manager", "region": "eu-central-1"}},
            "targets": {"there": {**target, "admin": f"targets/{path}"}},
            "secrets": {path: {**secret, "destinations": destinations}},
        }
    )
    store, logins = MemoryStore("memory"), list[Connection]()
    workspace = open_workspace(catalogue, lab.hub)
    hooked: Any = Hooked(workspace.open_strategy(path), check_connection=logins.append)
    workspace = dataclasses.replace(
        workspace, open_store=lambda name: store, open_strategy=lambda path: hooked, sender=RecordingSender()
    )
    return Elsewhere(workspace, path, logins)


def test_a_url_of_a_mariadb_is_logged_in_with(lab: Lab, mariadb: MariaDB) -> None:
    there = MariaDBLab(mariadb)
    accounts = there.accounts()
    target = {"kind": "mysql", "host": mariadb.host, "port": mariadb.port, "database": accounts.database}
    rotation = {"strategy": "single-user", "user": accounts.first, "accepts_gap": True}
    template = f"mysql+pymysql://{{username}}:{{password}}@{mariadb.host}:{mariadb.port}/{accounts.database}"
    target |= {"ca_file": str(mariadb.authority)}
    site = at(lab, target, there.admin(), accounts.serving, rotation, template)
    password = site.rotate()["password"]
    assert [login.password for login in site.logins] == [password]


def test_a_url_of_a_redis_is_logged_in_with_and_one_of_another_protocol_is_refused(lab: Lab, redis: Redis) -> None:
    acl = Acl(redis)
    target = {"kind": "redis", "host": redis.host, "port": redis.port, "tls": False}
    for scheme in ("redis", "rediss"):
        first = acl.user()
        rotation = {"strategy": "redis-acl", "user": first["username"].reveal()}
        template = f"{scheme}://{{username}}:{{password}}@{redis.host}:{redis.port}/0"
        site = at(lab, target, acl.admin(), first, rotation, template)
        if scheme == "redis":
            password = site.rotate()["password"]
            assert [login.password for login in site.logins] == [password]
        else:
            with pytest.raises(Misrendered, match="memory:copy: it begins with rediss://"):
                rotate(site.workspace, site.path, Trigger.FORCE)
            assert acl.logs_in(first)
