"""A service that answers wrongly, runs out of quota or refuses: each is named, nothing of others is overwritten, and
the next run continues."""

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from keyturn.core.errors import (
    Conflict,
    Denied,
    Invalid,
    KeyturnError,
    NotFound,
    Throttled,
    Unavailable,
    UnsupportedOperation,
)
from keyturn.core.ports.conductor import outcome_of
from keyturn.core.ports.stores import Store
from keyturn.core.sensitive import Sensitive
from local.emulators.recipes.matching import Received
from local.emulators.recipes.server import Answer, Service
from tests.contracts.store import assert_serves, assert_silent, fresh_value, marks_for, put
from tests.support.recipe_stores import Emulated, emulated

WRITES = ("POST", "PUT", "PATCH")


@dataclass
class Front(Service):
    """What stands between Keyturn and the service: ``change`` may replace an answer, given the request before it."""

    service: Service
    change: Callable[[Received, Callable[[], Answer]], Answer] = lambda _, answer: answer()
    received: list[Received] = field(default_factory=list)

    def answer(self, received: Received) -> Answer:
        self.received.append(received)
        return self.change(received, lambda: self.service.answer(received))

    def close(self) -> None:
        self.service.close()


@dataclass
class Hostile:
    emulated: Emulated
    front: Front
    store: Store

    def fresh(self) -> str:
        return self.emulated.fresh_name()


@pytest.fixture
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hostile]:
    """The store of the recipe that the test names, at a service with a front."""
    fronts: list[Front] = []

    def put_in_front(service: Service) -> Front:
        fronts.append(Front(service))
        return fronts[0]

    with emulated(request.param, tmp_path, put_in_front) as made, closing(made.open()) as store:
        yield Hostile(made, fronts[0], store)


def recipe(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("opened", names, indirect=True)


@recipe("airflow-variables")
def test_a_list_with_another_number_of_entries_than_it_says_is_not_used(opened: Hostile) -> None:
    put(opened.store, opened.fresh(), fresh_value())

    def miscounted(received: Received, answer: Callable[[], Answer]) -> Answer:
        made = answer()
        return replace(made, body={**made.body, "total_entries": 9}) if "limit=" in received.path else made

    opened.front.change = miscounted
    with pytest.raises(Unavailable, match="its list has 1 entries, and says that there are others"):
        list(opened.store.list_all())


@recipe("gitlab-project-variables")
def test_a_list_that_repeats_a_page_is_not_used(opened: Hostile) -> None:
    put(opened.store, opened.fresh(), fresh_value())
    first: list[Answer] = []

    def repeating(received: Received, answer: Callable[[], Answer]) -> Answer:
        if "per_page" not in received.path:
            return answer()
        first.append(answer())
        return first[0]

    opened.front.change = repeating
    with pytest.raises(Unavailable, match="leads back to a page that was there before"):
        list(opened.store.list_all())


@recipe("azure-app-configuration")
def test_a_page_at_another_address_is_not_asked_for(opened: Hostile) -> None:
    def elsewhere(received: Received, answer: Callable[[], Answer]) -> Answer:
        made = answer()
        return replace(made, body={**made.body, "@nextLink": "https://evil.example/kv"}) if made.body else made

    opened.front.change = elsewhere
    with pytest.raises(Invalid, match="the next page of its list is at another address"):
        list(opened.store.list_all())


@recipe("gitlab-project-variables", "hcp-terraform-variables", "consul-kv", "databricks-secret-scope")
def test_a_success_that_keeps_the_old_value_is_no_success(opened: Hostile) -> None:
    remote, old, new = opened.fresh(), fresh_value(), fresh_value()
    put(opened.store, remote, old)
    said: list[int] = []

    def forgetful(received: Received, answer: Callable[[], Answer]) -> Answer:
        if received.method not in WRITES:
            return answer()
        said.append(200)
        return Answer(200, {"data": {}})

    opened.front.change = forgetful
    written = outcome_of(lambda: put(opened.store, remote, new, 2))
    if isinstance(written, KeyturnError):
        assert "serves another one" in written.problem
        assert_silent(written, new, opened.store, remote)
    else:
        # Without a version in the answer, the push itself reads the copy back.
        assert opened.store.describe(remote) != written
    assert said
    opened.front.change = lambda _, answer: answer()
    assert opened.emulated.service.served(remote) == old.reveal()
    put(opened.store, remote, new, 2)
    assert opened.emulated.service.served(remote) == new.reveal()


@recipe("gitlab-project-variables", "hcp-terraform-variables", "circleci-context", "databricks-secret-scope")
@pytest.mark.parametrize("calls", range(1, 6))
def test_a_quota_that_runs_out_at_any_request_is_named_and_the_next_run_continues(opened: Hostile, calls: int) -> None:
    remote, old, new = opened.fresh(), fresh_value(), fresh_value()
    put(opened.store, remote, old)
    left = [calls]

    def exhausted(_: Received, answer: Callable[[], Answer]) -> Answer:
        left[0] -= 1
        return answer() if left[0] >= 0 else Answer(429, {"message": new.reveal()}, {"retry-after": "7"})

    opened.front.change = exhausted
    result = outcome_of(lambda: put(opened.store, remote, new, 2))
    if isinstance(result, KeyturnError):
        assert isinstance(result, Throttled)
        assert result.retry_after == 7
        assert result.name.startswith(f"{opened.store.name}:")
        assert new.reveal() not in "".join(traceback.format_exception(result))
    opened.front.change = lambda _, answer: answer()
    put(opened.store, remote, new, 2)
    copy = opened.store.describe(remote)
    assert copy is not None
    assert (copy.marks, copy.intact) == (marks_for(new, 2), True)
    assert opened.emulated.service.served(remote) == new.reveal()


@recipe("gitlab-project-variables", "consul-kv", "circleci-context")
def test_names_and_values_that_do_not_fit_are_refused_before_any_request(opened: Hostile) -> None:
    value = fresh_value()
    longest = Sensitive("x" * (opened.emulated.settings.max_bytes + 1))
    for name, text in (("A" * 300, value), ("пароль", value), ("a/../b", value), (opened.fresh(), longest)):
        with pytest.raises(Invalid, match=f"{opened.emulated.name} allows"):
            opened.store.write(name, text, marks_for(text), None)
    assert opened.front.received == []


@recipe("gitlab-project-variables", "circleci-context")
def test_marks_that_do_not_fit_are_refused_before_anything_is_written(opened: Hostile) -> None:
    remote, value = opened.fresh(), fresh_value()
    with pytest.raises(Invalid, match=r"its marks need .* bytes, and the service keeps .*Shorten the secret's path"):
        opened.store.write(remote, value, marks_for(value, source="a/" * 180 + "b"), None)
    assert opened.emulated.service.entries == {}


@recipe("hcp-terraform-variables")
def test_a_name_that_is_kept_for_marks_is_refused(opened: Hostile) -> None:
    value = fresh_value()
    with pytest.raises(Invalid, match="entries of such names hold the marks of others"):
        opened.store.write("KEYTURN_MARKS_X", value, marks_for(value), None)


@recipe("gitlab-project-variables", "etcd", "consul-kv", "nomad-variables", "hcp-terraform-variables")
def test_a_write_over_something_else_than_was_found_is_a_conflict(opened: Hostile) -> None:
    remote, theirs, value = opened.fresh(), fresh_value(), fresh_value()
    found = put(opened.store, remote, fresh_value())
    opened.emulated.service.put_by_hand(remote, theirs.reveal())
    with closing(opened.emulated.open()) as late, pytest.raises(Conflict, match="has changed since it was looked at"):
        late.write(remote, value, marks_for(value, 2), found)
    assert opened.emulated.service.served(remote) == theirs.reveal()


@recipe("etcd", "consul-kv", "nomad-variables", "azure-app-configuration")
def test_where_the_service_compares_an_overtaken_write_is_refused(opened: Hostile) -> None:
    remote, theirs, value = opened.fresh(), fresh_value(), fresh_value()
    found = put(opened.store, remote, fresh_value())
    assert opened.store.describe(remote) == found
    opened.emulated.service.put_by_hand(remote, theirs.reveal())
    with pytest.raises(Conflict, match="another writer came first"):
        opened.store.write(remote, value, marks_for(value, 2), found)
    assert opened.emulated.service.served(remote) == theirs.reveal()
    put(opened.store, remote, value, 2)
    assert_serves(opened.store, remote, value)


@recipe("gitlab-project-variables", "databricks-secret-scope", "heroku-config-vars")
def test_a_place_that_is_not_there_is_not_an_absent_copy(opened: Hostile) -> None:
    opened.front.change = lambda _, __: Answer(404, {"message": "404 Project Not Found"})
    for ask in (opened.store.describe, opened.store.delete):
        with pytest.raises(NotFound):
            ask(opened.fresh())


@recipe("gitlab-project-variables")
def test_an_answer_that_is_a_page_or_no_json_proves_nothing(opened: Hostile) -> None:
    class Page(Answer):
        def content(self) -> bytes:
            return b"<html>sign in</html>"

    for status in (200, 404):
        opened.front.change = lambda _, __, status=status: Page(status, "")  # type: ignore[misc]
        with pytest.raises(KeyturnError):
            opened.store.describe(opened.fresh())


@recipe("hcp-terraform-variables")
def test_two_entries_of_one_name_are_named(opened: Hostile) -> None:
    remote = opened.fresh()
    put(opened.store, remote, fresh_value())

    def twice(received: Received, answer: Callable[[], Answer]) -> Answer:
        made = answer()
        entries: list[Any] = made.body["data"]
        return replace(made, body={"data": [*entries, *({**each, "id": f"{each['id']}0"} for each in entries)]})

    opened.front.change = twice
    with pytest.raises(Invalid, match="the service has two entries of this name"):
        opened.store.describe(remote)


@recipe("gitlab-project-variables")
def test_the_login_is_read_anew_and_its_mistakes_are_named(opened: Hostile) -> None:
    file = Path(opened.emulated.data["token_file"])
    token = file.read_text()
    file.write_text("another")
    with pytest.raises(Denied, match=r"answered 401. Check the login in .*gitlab-project-variables.token"):
        opened.store.describe(opened.fresh())
    file.write_text(json.dumps({"user": "x"}))
    with pytest.raises(Denied, match="does not hold token"):
        opened.store.describe(opened.fresh())
    file.unlink()
    with pytest.raises(NotFound, match="there is no file"):
        opened.store.describe(opened.fresh())
    file.write_text(f"{token}\n")
    assert opened.store.describe(opened.fresh()) is None


STATUSES = (200, 201, 302, 307, 400, 401, 403, 404, 409, 412, 422, 429, 500, 503)


@recipe("gitlab-project-variables", "hcp-terraform-variables", "consul-kv", "doppler-secrets", "circleci-context")
@pytest.mark.parametrize("status", STATUSES)
def test_no_value_that_a_service_repeats_is_in_an_error_a_log_or_an_address(
    opened: Hostile, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    remote, old, new = opened.fresh(), fresh_value(), fresh_value()
    put(opened.store, remote, old)
    token = Path(opened.emulated.data["token_file"]).read_text()

    def repeating(received: Received, _: Callable[[], Answer]) -> Answer:
        sent = {"headers": dict(received.headers), "body": received.body.decode()}
        elsewhere = {"location": "http://127.0.0.1:9/elsewhere", "x-more": old.reveal(), "retry-after": "1"}
        return Answer(status, {"error": sent, "value": new.reveal(), "data": [old.reveal()]}, elsewhere)

    found = opened.store.describe(remote)
    opened.front.change = repeating
    said: list[str] = []
    for verb in (
        lambda: opened.store.describe(remote),
        lambda: list(opened.store.list_all()),
        lambda: opened.store.write(remote, new, marks_for(new, 2), found),
        lambda: opened.store.read(remote),
        lambda: opened.store.delete(remote),
        lambda: opened.store.purge(remote),
    ):
        try:
            said.append(str(verb()))
        except KeyturnError as error:
            said += [repr(error), str(error), "".join(traceback.format_exception(error))]
    texts = [*said, *(f"{record.getMessage()} {vars(record)}" for record in caplog.records)]
    texts += [received.path for received in opened.front.received]
    assert [text for text in texts if any(value in text for value in (old.reveal(), new.reveal(), token))] == []


@recipe("hcp-terraform-variables")
def test_what_is_written_only_says_so(opened: Hostile) -> None:
    with pytest.raises(UnsupportedOperation, match="never returns a value"):
        opened.store.read_many([opened.fresh()])
