"""Drills, as far as no server is needed: their names, their catalogue, the intruder, and what a killed one leaves."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.errors import Invalid
from keyturn.core.sensitive import SecretFields
from keyturn.core.store_limits import LIMITS as STORE_LIMITS
from keyturn.strategies.registry import STRATEGIES
from local.drill import run
from local.drill.declared import AT_THE_STACK, at_the_stack, fitting, places
from local.drill.intruder import Intruder
from local.drill.kept import files_of, keep, killed
from local.drill.limits import LIMITS
from local.drill.names import Names
from local.home import Stack
from local.services import SERVICES
from tests.support.hooks import eventually
from tests.support.lab import ANY_UNDECLARED

REAL: dict[str, dict[str, Any]] = {
    "aws-secrets-manager": {
        "region": "eu-west-3",
        "endpoint_url": "https://real.example.com",
        "role_arn": "arn:aws:iam::123456789012:role/real",
        "kms_key_id": "real",
        "replicas": ["eu-west-1"],
        "recovery_window": "8d",
    },
    "aws-parameter-store": {"region": "eu-west-3", "profile": "real", "tier": "Advanced"},
    "azure-key-vault": {"vault_url": "https://real.example.com", "authority": "https://real.example.com"},
    "gcp-secret-manager": {"project": "real-project", "ttl": "90d"},
    "kubernetes": {"namespace": "real", "kubeconfig": "/real", "context": "real", "restart": True},
    "file": {"directory": "/real", "format": "dotenv"},
    "vault": {"address": "https://real.example.com", "token_file": "/real"},
}
ROTATION = {"strategy": "generated", "interval": "30d", "grace": "1h"}


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """A stack that does not run."""
    ports = {service.name: 20_000 + at for at, service in enumerate(SERVICES) if service.listens}
    return Stack(tmp_path / "home", ports, "tenant", "client")


def catalogue(**more: Any) -> Catalogue:
    """One secret with a copy in a store of every kind."""
    stores = {kind.split("-")[0] + str(at): {"kind": kind, **given} for at, (kind, given) in enumerate(REAL.items())}
    secret = {"path": "a/b", "owner": "a@example.com", "classification": "internal", "rotation": ROTATION}
    places = [{"store": store, "name": "real-name"} for store in stores]
    data = {"stores": stores, "secrets": {"a/b": {**secret, "destinations": places}}, **more}
    return Catalogue.model_validate(data)


# --- names and places


def test_the_limits_of_every_strategy_are_told() -> None:
    strategies = set(STRATEGIES)
    assert set(LIMITS) == strategies
    assert all(LIMITS.values())


def test_every_store_takes_the_names_of_copies_and_no_two_are_the_same() -> None:
    names, others = Names.new(datetime.now(UTC)), Names.new(datetime.now(UTC))
    for kind in AT_THE_STACK:
        assert STORE_LIMITS[kind].refuses_name(names.copy(kind, 12)) is None
        assert len({one.copy(kind, at) for one in (names, others) for at in (1, 2)}) == 4
    assert names.secret.startswith("drills/")
    assert names.copy("file", 1).startswith("keyturn-drill-")
    assert len(f"{names.accounts}owner") <= 63


def test_no_copy_leads_to_where_the_real_one_is(stack: Stack) -> None:
    real = catalogue()
    found = places(real, real.secret("a/b"), stack, Names("id"), str(files_of(stack, Names("id"))))
    assert "real" not in str(found.stores) + str(found.copies)
    assert len(found.copies) == len(found.stores) == len(AT_THE_STACK)
    assert found.differs == ("its copy vault6:real-name has no equivalent: the local stack has no vault",)
    # What says how a copy is kept is the real store's, and the whole is a catalogue again.
    assert found.stores["aws0"]["replicas"] == [{"region": "eu-west-1"}]
    again = Catalogue.model_validate({"stores": found.stores})
    assert all(again.store(name).system != real.store(name).system for name in found.stores)


def test_a_store_of_the_stack_itself_is_used_as_it_is(stack: Stack) -> None:
    moved = at_the_stack(catalogue().store("kubernetes4"), stack, "")
    assert moved["restart"] is True
    assert moved["namespace"] == "ml"
    assert "127.0.0.1" in moved["server"] or "localhost" in moved["server"]


def test_a_copy_that_can_not_be_made_of_the_drills_fields_is_the_whole_secret() -> None:
    fields = SecretFields({"username": "a", "password": "b"})
    shaped = (
        {"store": "s", "name": "n", "template": "{username}", "escape": "url"},
        {"store": "t", "name": "n", "field": "key"},
    )
    made, differs = fitting(shaped, fields)
    assert made == [shaped[0], {"store": "t", "name": "n"}]
    assert differs == ["the copy in t is the whole secret: the secret has no field key"]


def test_a_pattern_that_would_push_the_drills_secret_is_refused_first() -> None:
    sync = {"paths": ["**"], "stores": ["file5"]}
    with pytest.raises(Invalid, match=r"drills/\*\*"):
        run.insist_on_place_apart(catalogue(syncs={"all": sync}, policy=ANY_UNDECLARED), Names("id"))
    other = {**sync, "without": ["drills/**"]}
    run.insist_on_place_apart(catalogue(syncs={"all": other}, policy=ANY_UNDECLARED), Names("id"))


# --- the intruder


def answering(*answers: bool | None) -> Iterator[bool | None]:
    """These, and the last of them for ever."""
    yield from answers
    while True:
        yield answers[-1]


def after(intruder: Intruder, tries: int) -> None:
    """Wait until it has tried so often."""
    while intruder.tried < tries:
        threading.Event().wait(0.01)


def test_an_intruder_sees_when_the_credential_was_refused_and_the_session_ended() -> None:
    tries, session = answering(True, True, None, False), answering(True, False)
    with Intruder(lambda: next(tries), lambda: bool(next(session))) as intruder:
        assert eventually(lambda: intruder.refused_at and intruder.ended_at)


def test_a_credential_that_is_accepted_again_was_not_ended() -> None:
    tries = answering(True, False, False, True)
    with Intruder(lambda: next(tries), None) as intruder:
        after(intruder, 4)
    assert intruder.refused_at is None


def test_what_nobody_can_tell_is_no_refusal() -> None:
    tries = answering(True, None)
    with Intruder(lambda: next(tries), None) as intruder:
        after(intruder, 4)
    assert intruder.refused_at is None


def test_an_intruder_who_was_never_in_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.drill.intruder.PATIENCE", 0.05)
    with pytest.raises(Invalid, match="not accepted before"), Intruder(lambda: False, None):
        raise AssertionError


# --- what is written down before anything is made

MAKING = """
import sys, time
from pathlib import Path
from local.drill.kept import keep
from local.drill.names import Names
from local.home import Stack
keep(Stack(Path(sys.argv[1]), {}, "", ""), Names("killed"), {"s": {"kind": "file"}}, [("s", "n")])
print("ready", flush=True)
time.sleep(60)
"""


def test_what_a_killed_drill_has_made_is_known_and_what_others_are_making_is_left_alone(stack: Stack) -> None:
    at_work = keep(stack, Names("at-work"), {}, [])
    command = [sys.executable, "-c", MAKING, str(stack.home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert list(killed(stack)) == []
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    (found,) = killed(stack)
    assert (found.names, found.stores, found.copies) == (Names("killed"), {"s": {"kind": "file"}}, (("s", "n"),))
    assert list(killed(stack)) == []  # it is in hand
    found.let_go()
    (again,) = killed(stack)
    again.forget()
    again.let_go()
    assert list(killed(stack)) == []
    at_work.let_go()
    (left,) = killed(stack)
    assert left.names == Names("at-work")
    left.let_go()
