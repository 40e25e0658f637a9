"""The crash matrix: a run killed between any two external calls is finished by the next one, and nobody notices."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any

import boto3
import pytest

from deployments.local.aws import LocalAws
from keyturn.core.errors import CandidateRejected
from keyturn.core.record import Record, Stage
from keyturn.core.sensitive import SecretFields
from keyturn.providers.registry import CatalogueSender
from keyturn.rotation.context import Keyturn
from keyturn.rotation.records import load
from keyturn.rotation.run import State, rotate, unsettled
from keyturn.rotation.settle import retire
from keyturn.rotation.sync import sync
from tests.support.application import Application
from tests.support.consumer import Consumer
from tests.support.crash_child import Ended, Job, Zygote
from tests.support.lab import Declared, Lab, catalogue_data
from tests.support.world import REGION

AT_ONCE = 2
"""Cases that run side by side, each with a zygote of its own."""


@dataclass
class Matrix:
    """Runs one secret's rotation once for each boundary, and kills it there."""

    lab: Lab
    consumer: Consumer
    store: dict[str, Any]
    zygotes: list[Zygote]
    now: datetime

    def keyturn(self, secret: Declared) -> Keyturn:
        """What finishes the rotation, in this process, by the same clock as the killed one's."""
        opened = self.lab.open(
            secret, store_settings=self.store, consumers=self.consumers(), stores=self._store, clock=lambda: self.now
        )
        sender = CatalogueSender(opened.keyturn.catalogue, opened.keyturn.hub)
        return replace(opened.keyturn, sender=sender)

    def __post_init__(self) -> None:
        from keyturn.providers.aws_secrets_manager import AwsSecretsManager

        store = AwsSecretsManager("memory", region=REGION, endpoint_url=self.store["endpoint_url"])
        self._store = lambda name: store
        self.cloud = boto3.Session().client(
            "secretsmanager", region_name=REGION, endpoint_url=self.store["endpoint_url"]
        )

    def consumers(self) -> dict[str, Any]:
        """The catalogue's entry."""
        return {"app": {"url": self.consumer.url, "signing_key": "webhooks/app"}}

    def job(self, secret: Declared, kill_at: int | None = None) -> Job:
        """The same rotation in a child."""
        data = catalogue_data(self.lab.world, (secret,), self.store, self.consumers())
        return Job(secret.path, data, self.now.isoformat(), kill_at)


@pytest.fixture(scope="module")
def matrix(lab: Lab, aws: LocalAws, consumer: Consumer) -> Iterator[Matrix]:
    store = {"kind": "aws-secrets-manager", "region": REGION, "endpoint_url": aws.endpoint_url}
    lab.hub.fingerprint_key()
    with Zygote(lab.world, store) as first, Zygote(lab.world, store) as second:
        made = Matrix(lab, consumer, store, [first, second], datetime.now(UTC) + timedelta(days=31))
        yield made
        made.cloud.close()


class Kind:
    """One kind of secret in the matrix: how it is made, what an application does with it, and what must be left."""

    logs_in = True
    versions = 1

    def make(self, lab: Lab) -> Declared:
        """A fresh secret, in force."""
        raise NotImplementedError

    def works(self, lab: Lab, fields: SecretFields) -> bool:
        """What an application tries."""
        return lab.logs_in(fields)

    def left(self, lab: Lab, secret: Declared) -> Iterator[str]:
        """What is at the target that should not be, or lacks."""
        if lab.logs_in(secret.first):
            yield "the old credential still logs in"
        if not lab.logs_in(lab.current(secret)):
            yield "CURRENT does not log in"


class Alternating(Kind):
    """Two users, with a copy in a cloud and a consumer to tell."""

    def make(self, lab: Lab) -> Declared:
        secret = lab.alternating(consumers=("app",))
        return secret.having(destinations=({"store": "memory", "name": secret.path.replace("/", "-")},))

    def left(self, lab: Lab, secret: Declared) -> Iterator[str]:
        yield from super().left(lab, secret)
        roles = lab.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE %s ORDER BY 1", f"{secret.users[0][:-2]}%")
        if [name for (name,) in roles] != sorted([*secret.users, secret.owner]):
            yield f"roles {roles}"


class Dynamic(Kind):
    """The hub's own accounts: one lease, one account, and nothing forgotten."""

    def make(self, lab: Lab) -> Declared:
        return lab.dynamic()

    def left(self, lab: Lab, secret: Declared) -> Iterator[str]:
        yield from super().left(lab, secret)
        current = lab.current(secret)
        if (leases := lab.hub.leases("database", secret.role)) != [current["lease_id"]]:
            yield f"leases {leases}"
        members = lab.sql(
            "SELECT m.member::regrole::text FROM pg_auth_members m WHERE m.roleid = %s::regrole AND m.member <> "
            "'keyturn_admin'::regrole",
            secret.owner,
        )
        if [name.strip('"') for (name,) in members] != [current["username"]]:
            yield f"accounts {members}"


class Generated(Kind):
    """No target at all."""

    def make(self, lab: Lab) -> Declared:
        return lab.generated()

    def works(self, lab: Lab, fields: SecretFields) -> bool:
        return bool(fields["value"])

    def left(self, lab: Lab, secret: Declared) -> Iterator[str]:
        if lab.current(secret)["value"] == secret.first["value"]:
            yield "the value is the old one"


@pytest.mark.parametrize("kind", [Alternating(), Dynamic(), Generated()], ids=lambda kind: type(kind).__name__)
def test_a_rotation_killed_between_any_two_external_calls_is_finished_by_the_next_run(
    matrix: Matrix, kind: Kind
) -> None:
    boundaries = undisturbed(matrix, kind)
    assert len(boundaries) > 10
    zygotes = cycle(matrix.zygotes)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        cases = [(number, name, next(zygotes)) for number, name in enumerate(boundaries)]
        halves = [cases[start::AT_ONCE] for start in range(AT_ONCE)]
        found = pool.map(lambda half: [problem for case in half for problem in killed(matrix, kind, *case)], halves)
    assert [problem for half in found for problem in half] == []


def undisturbed(matrix: Matrix, kind: Kind) -> list[str]:
    """The boundaries of a rotation that nobody kills, which itself is as it should be."""
    secret = ready(matrix, kind)
    ended = matrix.zygotes[0].run(matrix.job(secret))
    assert (ended.signal, ended.state, ended.error) == (0, State.ROTATED, "")
    assert list(problems(matrix, kind, secret)) == []
    return ended.boundaries


def ready(matrix: Matrix, kind: Kind) -> Declared:
    """A fresh secret whose copies are in step."""
    secret = kind.make(matrix.lab)
    assert all(copy.in_step for copy in sync(matrix.keyturn(secret), secret.path))
    return secret


def killed(matrix: Matrix, kind: Kind, number: int, name: str, zygote: Zygote) -> list[str]:
    """What was wrong after a run died at this boundary and another one came."""
    secret = ready(matrix, kind)
    with application(matrix, kind, secret) as client:
        died = zygote.run(matrix.job(secret, number))
        between = load(matrix.keyturn(secret), secret.path)
        found = [*after_death(died), *finished(matrix, secret, between)]
    found += problems(matrix, kind, secret)
    found += [f"the application's login with version {version} was refused" for version in client.failures]
    found += ["the application never got in"] if not client.logins else []
    return [f"killed at {name}: {problem}" for problem in found]


@contextmanager
def application(matrix: Matrix, kind: Kind, secret: Declared) -> Iterator[Application]:
    with Application(matrix.lab.hub, secret.path, lambda fields: kind.works(matrix.lab, fields)) as client:
        yield client
    assert client.error is None


def after_death(died: Ended) -> Iterator[str]:
    if died.signal != signal.SIGKILL:
        yield f"it was not killed: {died}"


def finished(matrix: Matrix, secret: Declared, between: Record) -> Iterator[str]:
    """Run again, by another process on the same host, and retire."""
    keyturn = matrix.keyturn(secret)
    outcome = rotate(keyturn, secret.path)
    if outcome.state is State.HELD or unsettled(outcome):
        yield f"the next run said {outcome}"
    retire(keyturn, secret.path)
    current = keyturn.hub.read(secret.path)
    if between.candidate and not (current and current.fields.holds(between.candidate)):
        yield "the saved candidate was not used"


def problems(matrix: Matrix, kind: Kind, secret: Declared) -> Iterator[str]:
    """Everything that is not as a rotation leaves it."""
    keyturn, lab = matrix.keyturn(secret), matrix.lab
    yield from left_in_record(load(keyturn, secret.path))
    info, current = lab.hub.describe(secret.path), lab.current(secret)
    if info is None or info.version != 2:
        yield f"the hub is at {info}"
    changed = {"username", "password", "lease_id", "value", "rotated_at"}
    if {n: v for n, v in current.items() if n not in changed} != {
        n: v for n, v in secret.first.items() if n not in changed
    }:
        yield "the secret's other fields have changed"
    yield from kind.left(lab, secret)
    for destination in keyturn.secret(secret.path).destinations:
        yield from left_in_store(matrix, keyturn, secret, destination.name)
    told = matrix.consumer.versions(secret.path)
    if told != ([2] if secret.data.get("consumers") else []):
        yield f"the consumer acted on versions {told}"


def left_in_record(record: Record) -> Iterator[str]:
    if record.rotation or record.candidate:
        yield f"the record is not closed: {record.rotation}"
    if [past.stage for past in record.history] != [Stage.RETIRED]:
        yield f"the history is {record.history}"


def left_in_store(matrix: Matrix, keyturn: Keyturn, secret: Declared, name: str) -> Iterator[str]:
    copy = keyturn.open_store("memory").find(name)
    if not (copy and copy.intact and copy.marks and copy.marks.version == 2):
        yield f"the store holds {copy}"
    versions = matrix.cloud.list_secret_version_ids(SecretId=name, IncludeDeprecated=True)["Versions"]
    if len(versions) != 2:
        yield f"the store has {len(versions)} versions"


# A candidate that the target refuses: giving it up is made of external calls too.


def test_giving_up_a_refused_candidate_can_be_killed_anywhere_and_the_next_run_finishes_that(matrix: Matrix) -> None:
    secret = refused(matrix.lab)
    ended = matrix.zygotes[0].run(matrix.job(secret))
    assert ended.error.startswith(CandidateRejected.__name__)
    boundaries = list(enumerate(ended.boundaries))
    halves = [(zygote, boundaries[start::AT_ONCE]) for start, zygote in enumerate(matrix.zygotes)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(
            lambda half: [said for case in half[1] for said in killed_while_refused(matrix, half[0], *case)], halves
        )
    assert [problem for half in found for problem in half] == []


def refused(lab: Lab) -> Declared:
    """A secret whose second user lacks what the first one may do."""
    secret = lab.alternating()
    lab.sql(f"CREATE TABLE {secret.owner}_table (n int)")
    lab.sql(f"GRANT SELECT ON {secret.owner}_table TO {secret.users[0]}")
    return secret


def killed_while_refused(matrix: Matrix, zygote: Zygote, number: int, name: str) -> list[str]:
    """What was wrong after a run died here, another one refused as well, and a third one was allowed to go on."""
    secret = refused(matrix.lab)
    keyturn = matrix.keyturn(secret)
    works = matrix.lab.logs_in
    with Application(matrix.lab.hub, secret.path, works) as client:
        found = list(after_death(zygote.run(matrix.job(secret, number))))
        with pytest.raises(CandidateRejected):
            rotate(keyturn, secret.path)
        found += given_up(matrix, keyturn, secret)
        matrix.lab.sql(f"GRANT SELECT ON {secret.owner}_table TO {secret.users[1]}")
        if rotate(keyturn, secret.path).state is not State.ROTATED:
            found.append("the next run did not rotate")
        retire(keyturn, secret.path)
    found += Alternating().left(matrix.lab, secret)
    found += [f"the application's login with version {version} was refused" for version in client.failures]
    assert client.error is None
    return [f"killed at {name}: {problem}" for problem in found]


def given_up(matrix: Matrix, keyturn: Keyturn, secret: Declared) -> Iterator[str]:
    """CURRENT is as it was and works, the candidate's account is closed, and nothing is open."""
    record = load(keyturn, secret.path)
    if record.rotation or record.candidate or {past.stage for past in record.history} != {Stage.ABANDONED}:
        yield f"the record is {record}"
    if matrix.lab.current(secret) != secret.first or not matrix.lab.logs_in(secret.first):
        yield "CURRENT is not what it was"
    if matrix.lab.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", secret.users[1]) != [(False,)]:
        yield "the refused account is open"
