"""GitHub Actions as a store: the contract against the local GitHub, and what only GitHub has.

``KEYTURN_TEST_GITHUB_REPOSITORY`` names a repository, and ``KEYTURN_TEST_GITHUB_TOKEN_FILE`` a file with a token, to
run the contract against the real one as well.
"""

import base64
import json
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
import requests
from nacl.public import PublicKey, SealedBox
from pytest_httpserver import HTTPServer

from keyturn.core.errors import (
    RETRY_AFTER_LIMIT,
    Conflict,
    Denied,
    Invalid,
    KeyturnError,
    NotFound,
    Throttled,
    Unavailable,
)
from keyturn.core.ports.stores import OwnershipTags, RemoteSecret, Store
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import GITHUB_ACTIONS
from keyturn.providers.github.store import GitHubActions
from local.emulators.github import LocalGitHub
from local.support.ports import free_port
from tests.contracts.store import Raw, StoreContract, assert_silent, eventually, fresh_value, marks_for, put

pytestmark = pytest.mark.sampled(9, of="file")

CLOUD_REPOSITORY = os.environ.get("KEYTURN_TEST_GITHUB_REPOSITORY", "")
CLOUD_TOKEN_FILE = os.environ.get("KEYTURN_TEST_GITHUB_TOKEN_FILE", "")


class Raws:
    """A client that knows nothing of Keyturn, at one repository or environment."""

    def __init__(self, api_url: str, token_file: Path, place: str) -> None:
        self.api_url, self.place = api_url, place
        self.headers = {"Authorization": f"Bearer {token_file.read_text().strip()}"}

    def ask(self, method: str, path: str, **body: str) -> Any:
        """One call; its document."""
        url = f"{self.api_url}/{self.place}/{path}"
        answer = requests.request(method, url, headers=self.headers, json=body or None, timeout=10)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def put_later(self, name: str, value: str) -> None:
        """Seal and put in a later second, as somebody does who is not at it at the very same time."""
        time.sleep(1.1)
        self.put(name, value)

    def put(self, name: str, value: str) -> None:
        """Seal and put."""
        key = self.ask("GET", "secrets/public-key")
        box = SealedBox(PublicKey(base64.b64decode(key["key"])))
        sealed = base64.b64encode(box.encrypt(value.encode())).decode()
        self.ask("PUT", f"secrets/{name}", encrypted_value=sealed, key_id=key["key_id"])


class GitHubContract(StoreContract):
    """What is the same at every repository and environment."""

    kind = GITHUB_ACTIONS
    past_versions = 0
    page_size = 30
    joint = "_"

    @pytest.fixture
    def remote(self) -> str:
        return f"KEYTURN_TEST_{secrets.token_hex(6).upper()}"

    @pytest.fixture
    def foreign(self, raw: Raws) -> Raw:
        return raw.put

    @pytest.fixture
    def tampered(self, raw: Raws) -> Raw:
        return raw.put_later

    def test_everything_lists_what_is_ours_and_what_is_not(self, store: Store, remote: str, foreign: Raw) -> None:
        """The contract's case, with the names as GitHub keeps them: in capitals."""
        written = put(store, f"{remote}_OURS", fresh_value())
        foreign(f"{remote}_theirs", fresh_value().reveal())

        def listed() -> dict[str, OwnershipTags | None]:
            return {copy.name: copy.marks for copy in store.list_all() if copy.name.startswith(remote)}

        expected = {f"{remote}_OURS": written.marks, f"{remote}_THEIRS": None}
        assert eventually(lambda: listed() == expected, self.listing_lag), listed()


@pytest.mark.skipif(not CLOUD_REPOSITORY, reason="KEYTURN_TEST_GITHUB_REPOSITORY is not set")
class TestGitHubActionsInTheCloud(GitHubContract):
    listing_lag: ClassVar[float] = 30

    @pytest.fixture
    def raw(self) -> Raws:
        return Raws("https://api.github.com", Path(CLOUD_TOKEN_FILE), f"repos/{CLOUD_REPOSITORY}/actions")

    @pytest.fixture
    def store(self, remote: str) -> Iterator[GitHubActions]:
        with closing(GitHubActions("github", repository=CLOUD_REPOSITORY, token_file=CLOUD_TOKEN_FILE)) as store:
            yield store
            for copy in list(store.list_all()):
                if copy.name.startswith(remote):
                    store.delete(copy.name)


class Local(GitHubContract):
    """A repository of the test's own: GitHub allows a hundred secrets in one."""

    environment: ClassVar[str | None] = None

    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[LocalGitHub]:
        place = "--repository=octo/app" if self.environment is None else f"--environment=octo/app:{self.environment}"
        with LocalGitHub(tmp_path / "github", free_port(), place) as server:
            yield server

    @pytest.fixture
    def raw(self, server: LocalGitHub) -> Raws:
        inside = "actions" if self.environment is None else f"environments/{quote(self.environment, '')}"
        return Raws(server.api_url, server.token_file, f"repos/octo/app/{inside}")

    @pytest.fixture
    def store(self, server: LocalGitHub) -> Iterator[GitHubActions]:
        given = {"api_url": server.api_url, "token_file": str(server.token_file), "repository": "octo/app"}
        with closing(GitHubActions("github", environment=self.environment, **given)) as store:
            yield store

    def served(self, server: LocalGitHub, name: str) -> str | None:
        """What a workflow sees."""
        return server.workflow_sees("octo/app", name, self.environment)


class TestGitHubActionsOfAnEnvironment(Local):
    environment = "prod/eu"

    def test_the_environment_holds_the_secret_and_the_repository_does_not(
        self, store: GitHubActions, server: LocalGitHub, remote: str
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        assert self.served(server, remote) == value.reveal()
        assert server.workflow_sees("octo/app", remote) is None


class TestGitHubActions(Local):
    """The contract, and what only GitHub has."""

    def marks(self, raw: Raws, remote: str) -> Any:
        return json.loads(raw.ask("GET", f"variables/KEYTURN_MARKS_{remote}")["value"])

    @pytest.mark.parametrize("text", ["pässwörd ☃ \u0000\u2028", " \r\n\n", "x" * 48_000])
    def test_a_workflow_sees_the_value_to_the_byte(
        self, store: GitHubActions, server: LocalGitHub, remote: str, text: str
    ) -> None:
        put(store, remote, Sensitive(text))
        assert self.served(server, remote) == text

    def test_names_fold_case(self, store: GitHubActions, remote: str) -> None:
        value = fresh_value()
        put(store, remote.lower(), value)
        found = store.describe(remote)
        assert found is not None
        assert found.marks == marks_for(value)
        assert [copy.name for copy in store.list_managed()] == [remote]
        store.delete(remote.lower())
        assert store.describe(remote) is None

    def test_the_marks_stand_beside_the_secret_and_hold_no_value(
        self, store: GitHubActions, raw: Raws, remote: str
    ) -> None:
        value = fresh_value()
        written = put(store, remote, value)
        assert self.marks(raw, remote) == {**marks_for(value).to_tags(), "updated_at": written.version_id}

    def test_a_first_write_cut_short_is_known_as_ours_and_finished(
        self, store: GitHubActions, raw: Raws, server: LocalGitHub, remote: str
    ) -> None:
        value = fresh_value()
        note = json.dumps({**marks_for(value).to_tags(), "updated_at": None})
        raw.ask("POST", "variables", name=f"KEYTURN_MARKS_{remote}", value=note)
        assert store.describe(remote) is None
        raw.put(remote, value.reveal())
        found = store.describe(remote)
        assert found is not None
        assert (found.marks, found.intact) == (marks_for(value), False)
        assert put(store, remote, value) == store.describe(remote)
        assert self.served(server, remote) == value.reveal()

    def test_marks_that_a_cut_short_deletion_left_are_written_over(
        self, store: GitHubActions, raw: Raws, remote: str
    ) -> None:
        put(store, remote, fresh_value())
        raw.ask("DELETE", f"secrets/{remote}")
        assert store.describe(remote) is None
        assert list(store.list_managed()) == []
        value = fresh_value()
        assert put(store, remote, value, version=2) == store.describe(remote)

    def test_marks_that_somebody_deleted_are_written_again(self, store: GitHubActions, raw: Raws, remote: str) -> None:
        value = fresh_value()
        found = put(store, remote, value)
        raw.ask("DELETE", f"variables/KEYTURN_MARKS_{remote}")
        assert store.describe(remote) == RemoteSecret(remote, found.version_id, None)
        assert store.write(remote, value, marks_for(value, 2), found) == store.describe(remote)

    @pytest.mark.parametrize("text", ["", "no json", "[]", '{"keyturn-source": 7}', "[" * 5000])
    def test_a_variable_that_is_not_keyturns_is_nobodys(
        self, store: GitHubActions, raw: Raws, remote: str, text: str
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        raw.ask("PATCH", f"variables/KEYTURN_MARKS_{remote}", value=text)
        found = store.describe(remote)
        assert found is not None
        assert found.marks is None

    def test_the_same_value_under_newer_marks_is_not_sent_again(self, store: GitHubActions, remote: str) -> None:
        value = fresh_value()
        first = put(store, remote, value)
        assert put(store, remote, value, version=2) == RemoteSecret(remote, first.version_id, marks_for(value, 2))

    def test_updates_in_quick_succession_never_share_a_second(self, store: GitHubActions, remote: str) -> None:
        versions = [put(store, remote, fresh_value(), version).version_id for version in (1, 2, 3)]
        assert len(set(versions)) == 3

    def test_another_public_key_is_fetched_when_the_old_one_is_refused(
        self, store: GitHubActions, server: LocalGitHub, remote: str
    ) -> None:
        put(store, remote, fresh_value())
        server.rotate_keys()
        value = fresh_value()
        put(store, remote, value, version=2)
        assert self.served(server, remote) == value.reveal()

    def test_a_hundred_secrets_are_the_most_and_one_more_is_told(self, store: GitHubActions, remote: str) -> None:
        for number in range(100):
            put(store, f"{remote}_{number}", fresh_value())
        value = fresh_value()
        with pytest.raises(Invalid, match="how many") as caught:
            put(store, remote, value)
        assert_silent(caught.value, value, store, remote)
        assert len(list(store.list_managed())) == 100

    @pytest.mark.parametrize("place", [{"repository": "octo/other"}, {"environment": "absent"}])
    def test_a_place_that_is_not_there_is_not_a_secret_that_is_not_there(
        self, server: LocalGitHub, remote: str, place: dict[str, str]
    ) -> None:
        given = {"repository": "octo/app", "api_url": server.api_url, "token_file": str(server.token_file), **place}
        with closing(GitHubActions("github", **given)) as store:  # type: ignore[arg-type]
            for act in (store.describe, store.delete, lambda name: put(store, name, fresh_value())):
                with pytest.raises(NotFound, match="Check repository and environment"):
                    act(remote)
            with pytest.raises(NotFound):
                list(store.list_managed())

    def test_a_token_is_read_again_each_time(self, server: LocalGitHub, remote: str, tmp_path: Path) -> None:
        file = tmp_path / "token"
        given = {"repository": "octo/app", "api_url": server.api_url, "token_file": str(file)}
        with closing(GitHubActions("github", **given)) as store:
            with pytest.raises(NotFound, match="no file"):
                store.describe(remote)
            for text, problem in (("wrong", "refused"), ("", "no token"), ("a\nb", "no token")):
                file.write_text(text)
                with pytest.raises(Denied, match=problem):
                    store.describe(remote)
            file.write_text(server.token_file.read_text() + "\n")
            assert store.describe(remote) is None

    def test_what_is_no_character_is_invalid(self, store: GitHubActions, remote: str) -> None:
        value = fresh_value()
        with pytest.raises(Invalid, match="no character") as caught:
            store.write(remote, Sensitive(value.reveal() + "\ud800"), marks_for(value), None)
        assert_silent(caught.value, value, store, remote)

    def test_debug_logs_hold_neither_value_nor_token(
        self, store: GitHubActions, server: LocalGitHub, remote: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        value = fresh_value()
        put(store, remote, value)
        assert f"/secrets/{remote}" in caplog.text
        assert value.reveal() not in caplog.text
        assert server.token_file.read_text() not in caplog.text


def opened(server: LocalGitHub) -> GitHubActions:
    given = {"api_url": server.api_url, "token_file": str(server.token_file)}
    return GitHubActions("github", repository="octo/app", **given)


def push_and_list(store: GitHubActions, value: Sensitive) -> None:
    """Every kind of call but deleting."""
    put(store, "A", value)
    list(store.list_managed())


def test_both_rate_limits_say_how_long_to_wait(tmp_path: Path) -> None:
    for number, limit in enumerate(("--hourly-requests=2", "--writes-per-minute=2")):
        with (
            LocalGitHub(tmp_path / str(number), free_port(), "--repository=octo/app", limit) as server,
            closing(opened(server)) as store,
        ):
            value = fresh_value()
            with pytest.raises(Throttled) as caught:
                push_and_list(store, value)
            assert caught.value.retry_after is not None
            assert 0 < caught.value.retry_after <= RETRY_AFTER_LIMIT
            assert_silent(caught.value, value, store, caught.value.name.partition(":")[2])


@pytest.mark.parametrize("denied", ["secrets:write", "variables:write", "variables:read", "secrets:read"])
def test_a_token_without_a_permission_is_denied_with_those_it_needs(tmp_path: Path, denied: str) -> None:
    arguments = ("--repository=octo/app", f"--deny={denied}")
    with LocalGitHub(tmp_path, free_port(), *arguments) as server, closing(opened(server)) as store:
        value = fresh_value()
        with pytest.raises(Denied, match="write access to Secrets, Variables") as caught:
            push_and_list(store, value)
        assert value.reveal() not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "wait"),
    [
        (500, {}, "", Unavailable, None),
        (502, {}, "<html>", Unavailable, None),
        (429, {"retry-after": "7"}, "", Throttled, 7.0),
        (429, {"retry-after": "86400"}, "", Throttled, 60.0),
        (429, {}, "", Throttled, 60.0),
        (403, {"retry-after": "9"}, "", Throttled, 9.0),
        (403, {}, "You have exceeded a secondary rate limit", Throttled, 60.0),
        (403, {}, "", Denied, None),
        (301, {"location": "https://elsewhere.example.com"}, "", Invalid, None),
        (409, {}, "", Conflict, None),
        (418, {}, "", Invalid, None),
        (200, {}, "<html>welcome", Unavailable, None),
    ],
)
def test_each_answer_has_its_error(
    httpserver: HTTPServer,
    tmp_path: Path,
    status: int,
    headers: dict[str, str],
    body: str,
    kind: type[KeyturnError],
    wait: float | None,
) -> None:
    (tmp_path / "token").write_text("token")
    httpserver.expect_request("/repos/octo/app/actions/secrets/A").respond_with_data(body, status, headers)
    given = {"token_file": str(tmp_path / "token"), "api_url": httpserver.url_for("")}
    with closing(GitHubActions("github", repository="octo/app", **given)) as store:
        with pytest.raises(kind) as caught:
            store.describe("A")
        assert caught.value.name == "github:A"
        assert caught.value.hint
        assert getattr(caught.value, "retry_after", None) == wait


def test_nobody_there_and_plain_http_to_another_machine(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("token")
    given = {"repository": "octo/app", "token_file": str(tmp_path / "token")}
    store = GitHubActions("github", api_url=f"http://127.0.0.1:{free_port()}", **given)
    with closing(store), pytest.raises(Unavailable, match="does not answer"):
        store.describe("A")
    with pytest.raises(Invalid, match="plain http"):
        GitHubActions("github", api_url="http://github.example.com", **given)
