"""SSH keys whose public half a REST API keeps, against a real server that checks signatures."""

import os
import subprocess
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import TypeAdapter

from keyturn.core.errors import CandidateRejected, Denied, Invalid, KeyturnError, NotFound, Unavailable
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.sensitive import SecretFields
from keyturn.providers.http.api_target import HttpApi
from keyturn.providers.keys.key_maker import CryptographyKeys
from keyturn.strategies.ssh_key import SshKey, SshKeySettings, fingerprint
from local.programs import find_program
from tests.contracts.strategy import Case, StrategyContract
from tests.support.rest_api import RestApi, Said

pytestmark = pytest.mark.sampled(3, of="file")

PATH = "apps/contract"

ROTATION: dict[str, Any] = {
    "strategy": "ssh-key",
    "target": "api",
    "interval": "30d",
    "grace": "1h",
    "create": {"path": "/users/deployer/ssh", "body": {"title": "keyturn {{path}}", "key": "{{public_key}}"}},
    "delete": {"path": "/users/deployer/ssh/{{id}}"},
    "list": {
        "path": "/users/deployer/ssh",
        "items": "/data",
        "id": "/id",
        "public_key": "/key",
        "last_used": "/used",
    },
}
"""A secret's rotation as the catalogue has it."""


class Tools:
    """What the strategy is opened with: the API, and what makes keys."""

    def __init__(self, api: HttpApi) -> None:
        self.api = api
        self.keys = CryptographyKeys()

    def target(self, name: str) -> HttpApi:
        assert name == "api"
        return self.api


def opened(server: RestApi, **changes: Any) -> SshKey:
    """The strategy as the catalogue opens it; a change of None leaves the key out."""
    said = {key: value for key, value in {**ROTATION, **changes}.items() if value is not None}
    settings: SshKeySettings = TypeAdapter(SshKeySettings).validate_python(said)
    headers = {"authorization": "Bearer {{admin.token}}"}
    api = HttpApi("api", url=server.url, admin=lambda: SecretFields({"token": server.admin_token}), headers=headers)
    return settings.open(PATH, Tools(api))  # type: ignore[arg-type]


BY_FINGERPRINT: dict[str, Any] = {"list": {**ROTATION["list"], "public_key": None, "fingerprint": "/fingerprint"}}
BY_PATH: dict[str, Any] = {
    "list": None,
    "delete": {"path": "/by-fingerprint/{{fingerprint}}"},
    "test": {"path": "/by-fingerprint/{{fingerprint}}"},
}


def other_pair(candidate: SecretFields) -> SecretFields:
    """The private key of somebody else behind the same public one."""
    keys = CryptographyKeys()
    return candidate.merged({"private_key": keys.openssh(keys.private_key(keys.kind(candidate["private_key"])))})


def use(server: RestApi, fields: SecretFields) -> AbstractContextManager[None]:
    shown = fingerprint(fields["public_key"].reveal())
    for key in server.ssh.values():
        if fingerprint(key["key"]) == shown:
            key["used"] = datetime.now(UTC).isoformat()
    return nullcontext()


def told(error: BaseException) -> str:
    """All that a log could show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error.args)


@pytest.fixture
def server() -> Iterator[RestApi]:
    with RestApi() as serving:
        yield serving


@pytest.fixture
def strategy(server: RestApi) -> SshKey:
    return opened(server)


def installed(strategy: SshKey, sequence: int = 1) -> SecretFields:
    """A key that the API accepts."""
    made = strategy.mint(None)
    strategy.install(Change(PATH, sequence, made, None))
    return made


class SshKeyContract(StrategyContract):
    changes = frozenset({"private_key", "public_key", "fingerprint"})
    has_place = False
    settings: dict[str, Any] = {}  # noqa: RUF012

    @pytest.fixture
    def case(self, server: RestApi) -> Case:
        host = {"host": "git.example.com"}
        strategy = opened(server, **self.settings, holds=host)
        current = SecretFields({**host, **installed(opened(server))})
        return Case(
            strategy,
            current,
            lambda fields: server.logs_in(fields["private_key"].reveal()),
            other_pair,
            lambda fields: use(server, fields),
            current.merged({"host": "another.example.com"}),
        )


class TestSshKey(SshKeyContract):
    """Listed with their public keys."""


class TestSshKeyByFingerprint(SshKeyContract):
    """Listed with their fingerprints."""

    settings = BY_FINGERPRINT


# --- the keys themselves -----------------------------------------------------------------------------------


VECTORS = {
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEnJkaaNXIpV4YZya1ZlijctV8aagfd63hCIVlHIIhxy vector": (
        "SHA256:oe8PuEGSa1LJgP9+Rh/ZYnJG7GmjuxTWv9nSYlZ0344"
    ),
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBNVkrdTeIXECVqxaIz0vlPpnhAneGZN/"
    "5zzPqh7iJ2YsKdag5lu3M3GVYKgkVMWLyGWPQjEupvpyK5GZx6b+lGY=": ("SHA256:hE2F0NWrP+9tbrEMCY6asL603YMpJs9Jn3GeiSA3I9M"),
}
"""Public keys, and what ``ssh-keygen -l`` of OpenSSH 10 shows for them."""


@pytest.mark.parametrize("public_key", VECTORS)
def test_a_fingerprint_is_the_one_that_openssh_shows(public_key: str) -> None:
    assert fingerprint(public_key) == VECTORS[public_key]
    assert fingerprint(f"  {public_key} another comment\n") == VECTORS[public_key]


@pytest.mark.parametrize("key", ["ed25519", "rsa-3072", "p-256"])
def test_openssh_reads_both_halves_and_tells_the_same_fingerprint(server: RestApi, tmp_path: Path, key: str) -> None:
    made = opened(server, key=key, comment="deploy key").mint(None)
    private, public = tmp_path / "id", tmp_path / "id.pub"
    private.write_text(made["private_key"].reveal())
    private.chmod(0o600)
    public.write_text(made["public_key"].reveal() + "\n")
    assert keygen("-y", "-f", str(private)).split()[:2] == made["public_key"].reveal().split()[:2]
    _, shown, *comment, _ = keygen("-l", "-E", "sha256", "-f", str(public)).split()
    assert (shown, " ".join(comment)) == (made["fingerprint"].reveal(), "deploy key")


def keygen(*arguments: str) -> str:
    found = find_program("ssh-keygen")
    command, environment = [str(found.path), *arguments], {**os.environ, **found.environment}
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20, env=environment).stdout


def test_the_comment_is_the_secrets_path_where_none_is_given(strategy: SshKey) -> None:
    assert strategy.mint(None)["public_key"].reveal().split()[2:] == [PATH]


@pytest.mark.parametrize(
    "text",
    ["", "ssh-ed25519", "ssh-ed25519 !!!", "ssh-ed25519 aGVsbG8=", " AAAA", "ssh-rsa AAAAC3NzaC1lZDI1NTE5", "x\ny z"],
)
def test_what_is_no_public_key_has_no_fingerprint(text: str) -> None:
    assert fingerprint(text) is None


# --- at the API --------------------------------------------------------------------------------------------


def test_only_the_public_half_leaves(server: RestApi, strategy: SshKey) -> None:
    made = installed(strategy)
    strategy.verify(Change(PATH, 1, made, None))
    sent = [part for told in server.told for part in (told.path, str(told.headers), told.body.decode())]
    assert not [part for part in sent if "PRIVATE" in part]
    (key,) = server.ssh.values()
    assert (key["title"], key["key"]) == (f"keyturn {PATH}", made["public_key"].reveal().rpartition(" ")[0])


def test_a_key_that_is_there_already_is_not_sent_again(server: RestApi, strategy: SshKey) -> None:
    change = Change(PATH, 1, installed(strategy), None)
    before = len([told for told in server.told if told.method == "POST"])
    strategy.install(change)
    assert len([told for told in server.told if told.method == "POST"]) == before == 1


def test_an_answer_that_was_lost_leaves_one_key(server: RestApi, strategy: SshKey) -> None:
    made = strategy.mint(None)
    server.after["POST"] = lambda said: Said(lost=True)
    with pytest.raises(Unavailable):
        strategy.install(Change(PATH, 1, made, None))
    server.after.clear()
    strategy.install(Change(PATH, 1, made, None))
    strategy.verify(Change(PATH, 1, made, None))
    assert len(server.ssh) == 1


def test_a_key_that_another_worker_adds_in_between_is_success(server: RestApi, strategy: SshKey) -> None:
    change = Change(PATH, 1, installed(strategy), None)
    server.instead["GET"] = [Said(200, {"data": []})]
    strategy.install(change)
    assert [told.method for told in server.told[-3:]] == ["GET", "POST", "GET"]
    assert len(server.ssh) == 1


@pytest.mark.parametrize("status", [409, 422])
def test_a_key_that_is_refused_and_not_listed_is_an_error(server: RestApi, strategy: SshKey, status: int) -> None:
    server.instead["POST"] = [Said(status, {"message": "the key is too weak"})]
    with pytest.raises(Invalid, match=f"refuses the public key with {status}") as caught:
        installed(strategy)
    assert "weak" not in told(caught.value)


def test_a_key_that_the_api_does_not_show_is_rejected(server: RestApi, strategy: SshKey) -> None:
    made = strategy.mint(None)
    with pytest.raises(CandidateRejected, match="does not list the new public key"):
        strategy.verify(Change(PATH, 1, made, None))


@pytest.mark.parametrize("field", ["private_key", "public_key", "fingerprint"])
@pytest.mark.parametrize("as_other", [True, False])
def test_halves_that_are_not_of_one_key_are_rejected(
    server: RestApi, strategy: SshKey, field: str, as_other: bool
) -> None:
    made = installed(strategy)
    spoilt = made.merged({field: strategy.mint(None)[field] if as_other else "not-a-key-at-all"})
    with pytest.raises(CandidateRejected) as caught:
        strategy.verify(Change(PATH, 1, spoilt, None))
    assert not [name for name in made if spoilt[name].reveal() in told(caught.value)]


def test_a_key_that_is_listed_twice_is_deleted_twice(server: RestApi, strategy: SshKey) -> None:
    made = installed(strategy)
    (key,) = server.ssh.values()
    server.ssh["7"] = {**key, "id": 7}
    strategy.retire(strategy.credential_id(made), 1)
    assert server.ssh == {}


def test_the_neighbours_keys_stay(server: RestApi, strategy: SshKey) -> None:
    others = [installed(strategy) for _ in range(4)]
    made = installed(strategy)
    strategy.retire(strategy.credential_id(made), 1)
    assert [server.logs_in(key["private_key"].reveal()) for key in (*others, made)] == [True] * 4 + [False]


def test_a_key_that_is_said_to_be_absent_and_listed_is_an_error(server: RestApi, strategy: SshKey) -> None:
    made = installed(strategy)
    server.instead["DELETE"] = [Said(404)]
    with pytest.raises(Invalid, match="lists it still"):
        strategy.retire(strategy.credential_id(made), 1)
    strategy.retire(strategy.credential_id(made), 1)
    assert server.ssh == {}


def test_a_candidate_that_current_has_come_to_hold_is_not_taken_back(server: RestApi, strategy: SshKey) -> None:
    made = installed(strategy)
    strategy.abandon(Change(PATH, 2, made, SecretFields({"host": "git.example.com", **made})))
    assert server.logs_in(made["private_key"].reveal())


def test_a_cut_tells_that_open_sessions_go_on(server: RestApi, strategy: SshKey) -> None:
    made, other = installed(strategy), installed(strategy)
    (said,) = strategy.revoke(made, 6).outlives
    assert "sessions" in said
    assert "api" in said
    assert strategy.revoke(made, 6).outlives == (said,)
    assert [server.logs_in(key["private_key"].reveal()) for key in (made, other)] == [False, True]
    assert (strategy.accepts(made), strategy.accepts(other)) == (False, True)


@pytest.mark.parametrize("field", ["private_key", "public_key"])
def test_either_half_is_enough_to_cut_a_key_and_to_look_for_it(server: RestApi, strategy: SshKey, field: str) -> None:
    made = installed(strategy)
    half = SecretFields({field: made[field]})
    assert strategy.accepts(half) is True
    assert strategy.revoke(half, 6).outlives
    assert strategy.accepts(half) is False
    assert server.ssh == {}


def test_a_version_whose_halves_are_of_two_keys_has_both_cut(server: RestApi, strategy: SshKey) -> None:
    one, other, neighbour = installed(strategy), installed(strategy), installed(strategy)
    mixed = one.merged({"public_key": other["public_key"]})
    strategy.revoke(mixed, 6)
    assert strategy.accepts(mixed) is False
    assert [server.logs_in(key["private_key"].reveal()) for key in (one, other, neighbour)] == [False, False, True]


def test_what_is_no_key_is_cut_quietly(server: RestApi, strategy: SshKey) -> None:
    made = installed(strategy)
    broken = SecretFields({"private_key": "-----BEGIN nothing", "public_key": "ssh-rsa !!!"})
    assert strategy.revoke(broken, 6) == RevokeResult()
    assert strategy.accepts(broken) is None
    assert server.logs_in(made["private_key"].reveal())


def test_another_accounts_key_is_told_of_and_neither_looked_for_nor_deleted(server: RestApi) -> None:
    strategy = opened(server, holds={"host": "git.example.com"})
    made = installed(strategy)
    foreign = made.merged({"host": "another.example.com"})
    server.told.clear()
    (said,) = strategy.revoke(foreign, 6).outlives
    assert "host" in said
    assert "another.example.com" not in said
    assert strategy.accepts(foreign) is None
    assert server.told == []
    assert server.logs_in(made["private_key"].reveal())


def test_an_api_without_a_list_tells_by_the_test_request_whether_a_key_is_left(server: RestApi) -> None:
    strategy = opened(server, **BY_PATH)
    made = strategy.mint(None)
    server.instead["GET"] = [Said(200), Said(404), Said(410)]
    assert [strategy.accepts(made) for _ in range(3)] == [True, False, False]
    server.instead["DELETE"] = [Said(204), Said(404)]
    assert strategy.revoke(made, 6) == strategy.revoke(made, 6)
    deleted = [told.path for told in server.told if told.method == "DELETE"]
    assert deleted == [f"/by-fingerprint/{quote(made['fingerprint'].reveal(), safe='')}"] * 2


@pytest.mark.parametrize(("status", "error"), [(401, Denied), (403, Denied), (422, Invalid), (500, Unavailable)])
def test_an_admin_who_is_refused_proves_nothing_about_the_key(
    server: RestApi, status: int, error: type[KeyturnError]
) -> None:
    for strategy in (opened(server), opened(server, **BY_PATH)):
        made = strategy.mint(None)
        server.instead["GET"] = [Said(status)]
        with pytest.raises(error) as caught:
            strategy.accepts(made)
        assert made["private_key"].reveal() not in told(caught.value)


def test_an_api_without_a_list_is_asked_by_fingerprint(server: RestApi) -> None:
    strategy = opened(server, **BY_PATH)
    made = strategy.mint(None)
    change = Change(PATH, 1, made, None)
    strategy.install(change)
    server.instead["GET"] = [Said(200), Said(404), Said(403)]
    strategy.verify(change)
    assert server.told[-1].path == f"/by-fingerprint/{quote(made['fingerprint'].reveal(), safe='')}"
    for status in (404, 403):
        with pytest.raises(CandidateRejected, match=f"answers {status} to the test request"):
            strategy.verify(change)
    server.instead["DELETE"] = [Said(204), Said(404)]
    strategy.retire(strategy.credential_id(made), 1)
    strategy.retire(strategy.credential_id(made), 1)
    assert strategy.in_use(strategy.credential_id(made), datetime.now(UTC)) == ()


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (Said(400, {"key": "the-answer-of-the-api"}), Invalid),
        (Said(401, {"key": "the-answer-of-the-api"}), Denied),
        (Said(404, {"key": "the-answer-of-the-api"}), NotFound),
        (Said(500, {"key": "the-answer-of-the-api"}), Unavailable),
        (Said(200, {"data": [{"other": "the-answer-of-the-api"}]}), Invalid),
        (Said(200, {"data": "the-answer-of-the-api"}), Invalid),
        (Said(200, b"the-answer-of-the-api"), Invalid),
        (Said(lost=True), Unavailable),
    ],
)
def test_every_bad_list_is_an_error_of_its_kind(
    server: RestApi, strategy: SshKey, said: Said, error: type[KeyturnError]
) -> None:
    made = installed(strategy)
    change, ends = Change(PATH, 1, made, None), strategy.credential_id(made)
    for verb in (
        lambda: strategy.install(Change(PATH, 1, strategy.mint(None), None)),
        lambda: strategy.verify(change),
        lambda: strategy.retire(ends, 1),
        lambda: strategy.in_use(ends, datetime.now(UTC)),
    ):
        server.instead["GET"] = [said]
        with pytest.raises(error) as caught:
            verb()
        assert type(caught.value) is error
        assert caught.value.hint
        hidden = ["the-answer-of-the-api", server.admin_token, made["private_key"].reveal()]
        assert not [value for value in hidden if value in told(caught.value)]
    assert server.logs_in(made["private_key"].reveal())


def test_an_entry_that_is_no_public_key_is_passed_over(server: RestApi, strategy: SshKey) -> None:
    """Such as a certificate authority's line, which some services list beside the keys."""
    made = installed(strategy)
    server.ssh["1"] = {"id": 1, "user": "deployer", "key": "@cert-authority", "title": "", "used": None}
    strategy.verify(Change(PATH, 1, made, None))


# --- guard and evidence ------------------------------------------------------------------------------------


def test_a_key_whose_public_half_is_unknown_is_refused(strategy: SshKey) -> None:
    by_hand = SecretFields({"private_key": "a-key-that-was-written-by-hand"})
    with pytest.raises(Invalid, match=r"no public_key.*Write the key's public half") as caught:
        strategy.preflight(by_hand, None)
    assert by_hand["private_key"].reveal() not in told(caught.value)
    strategy.preflight(SecretFields({"host": "git.example.com"}), None)


def test_a_key_written_by_hand_is_known_by_its_public_half(server: RestApi, strategy: SshKey) -> None:
    made = installed(strategy)
    by_hand = SecretFields({"private_key": made["private_key"], "public_key": made["public_key"]})
    strategy.preflight(by_hand, None)
    assert strategy.credential_id(by_hand)["fingerprint"] == made["fingerprint"].reveal()
    strategy.retire(strategy.credential_id(by_hand), 1)
    assert server.ssh == {}


def test_only_use_after_the_promotion_is_evidence(server: RestApi, strategy: SshKey) -> None:
    made, start = installed(strategy), datetime.now(UTC) - timedelta(seconds=1)
    ends = strategy.credential_id(made)
    assert list(strategy.in_use(ends, start)) == []
    use(server, made)
    (said,) = strategy.in_use(ends, start)
    assert said.startswith("api: the old key was used at 20")
    assert list(strategy.in_use(ends, datetime.now(UTC) + timedelta(seconds=1))) == []
