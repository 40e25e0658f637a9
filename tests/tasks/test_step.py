"""The one decorator of all tasks: what leaves a step, and what is tried again."""

import asyncio
import pickle
import traceback
from datetime import timedelta
from typing import Any

import pytest
from prefect import State
from prefect.cache_policies import NO_CACHE

from flows.support.common import flow
from keyturn.core import errors
from keyturn.core.errors import Denied, KeyturnError, Locked, TransientError, Unforeseen
from tasks import rotation, step_names
from tasks.step import guarded, task, worth_retrying
from tests.support.lab import Lab
from tests.support.prefect_server import PrefectServer, wait_for

CANARY = "CANARY-value-of-a-secret"


def raising(error: Exception) -> Any:
    """A body that raises."""

    def body(path: str) -> None:
        raise error

    return body


def raised(error: Exception, *arguments: object) -> KeyturnError:
    """What leaves the step when its body raises this."""
    with pytest.raises(KeyturnError) as told:
        guarded("install", raising(error), *arguments)
    return told.value


@pytest.mark.parametrize(
    "error",
    [KeyError(CANARY), ValueError(f"{CANARY!r} is not a valid Stage"), RuntimeError({"password": CANARY})],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_nobody_foresaw_leaves_as_its_class_and_place_alone(error: Exception) -> None:
    left = raised(error, "a/b")
    assert type(left) is Unforeseen
    assert str(left).startswith(f"a/b, install: run this step: unexpected {type(error).__name__} at line ")
    assert str(left).endswith("a later run continues from here. Please report it")
    assert CANARY not in str(left)
    assert CANARY not in "".join(traceback.format_exception(left))
    assert CANARY.encode() not in pickle.dumps(left)


def test_keyturns_own_errors_leave_with_step_and_secret_and_keep_their_class() -> None:
    left = raised(Denied("log in to", "pg", "it is refused", "Mend it"), "a/b")
    assert (type(left), str(left)) == (Denied, "a/b, install: log in to pg: it is refused. Mend it")


def test_a_step_of_several_secrets_says_so() -> None:
    assert str(raised(Denied("read", "x", "no"), ["a", "b"])) == "several secrets, install: read x: no"


ERRORS = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, KeyturnError)]


@pytest.mark.parametrize("error", ERRORS)
def test_only_what_may_pass_by_itself_is_tried_again(error: type[KeyturnError]) -> None:
    failed: State[Any] = State(type="FAILED", data=error("do", "x", "y"))
    expected = issubclass(error, TransientError) and error is not Locked
    assert worth_retrying(None, None, failed) is expected  # type: ignore[arg-type]


def test_every_step_of_a_rotation_has_its_sentence() -> None:
    assert step_names.SENTENCES.keys() == rotation.STEPS.keys() >= step_names.ON.keys()


def test_every_task_is_a_step_that_keeps_nothing() -> None:
    tasks = [t for t in (*vars(rotation).values(), *rotation.STEPS.values()) if hasattr(t, "persist_result")]
    assert len(tasks) > 20
    for one in tasks:
        assert (one.persist_result, one.cache_policy, one.log_prints) == (False, NO_CACHE, False)
        assert one.retry_condition_fn is worth_retrying


@pytest.mark.parametrize("error", [KeyError(CANARY), Locked("rotate", "a/b", "it is held")], ids=["KeyError", "Locked"])
def test_prefect_tries_it_once_and_shows_no_text_that_is_not_ours(
    prefect: PrefectServer, lab: Lab, error: Exception
) -> None:
    failing = task("install")(raising(error))

    @flow("probe", timeout=timedelta(minutes=1), opens=lambda: lab.open().workspace)
    async def probe() -> None:
        await failing("a/b")

    started: Any = probe(return_state=True)
    state: State[Any] = asyncio.run(started)
    run = {"flow_run_id": {"any_": [str(state.state_details.flow_run_id)]}}

    def ended() -> dict[str, Any] | None:
        return next(
            (t for t in prefect.all("task_runs", task_runs=run) if t["state"] and t["state_type"] == "FAILED"), None
        )

    ended_run = wait_for(ended)
    assert ended_run["run_count"] == 1
    assert "a/b, install: " in ended_run["state"]["message"]
    assert CANARY not in str(ended_run)
