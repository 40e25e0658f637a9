"""Passwords of accounts that are lines of a file, against the real servers that read it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn.core.errors import Denied, Invalid, NotFound, Unavailable
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.passwords import PasswordPolicy
from keyturn.providers.credential_files.formats import FORMATS
from keyturn.providers.credential_files.target import CredentialFile
from keyturn.settings.credential_files import FileFormat
from keyturn.strategies.database_users import AlternatingUsers, SingleUser
from tests.contracts.strategy import Case, StrategyContract
from tests.strategies.test_accounts import other_password
from tests.support.credential_files import Bind, FileServer, Mosquitto, Nats, Registry

pytestmark = [pytest.mark.slow, pytest.mark.sampled(8, of="file")]


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as serving:
        yield serving


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    with Nats(tmp_path_factory.mktemp("nats")) as serving:
        yield serving


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as serving:
        yield serving


@pytest.fixture(scope="module")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    with Bind(tmp_path_factory.mktemp("bind")) as serving:
        yield serving


def name_of(fields: SecretFields) -> str:
    return fields["username"].reveal()


def one(server: FileServer, **changes: Any) -> Case:
    current = server.add()
    strategy = SingleUser(server.target(**changes), PasswordPolicy(length=44), name_of(current))
    return Case(strategy, current, server.logs_in, other_password, stranger=current.merged({"username": "stranger"}))


def two(server: FileServer, **changes: Any) -> Case:
    current, other = server.add(), server.add()
    users = name_of(current), name_of(other)
    strategy = AlternatingUsers(server.target(**changes), PasswordPolicy(length=44), users, None)
    return Case(strategy, current, server.logs_in, other_password, stranger=current.merged({"username": "stranger"}))


class OneAccount(StrategyContract):
    changes = frozenset({"username", "password"})
    fenced = True
    overlaps = False


class TwoAccounts(StrategyContract):
    changes = frozenset({"username", "password"})
    fenced = True


class TestOneMosquittoUser(OneAccount):
    @pytest.fixture
    def case(self, mosquitto: Mosquitto) -> Case:
        return one(mosquitto)


class TestTwoMosquittoUsers(TwoAccounts):
    @pytest.fixture
    def case(self, mosquitto: Mosquitto) -> Case:
        return two(mosquitto)


class TestTwoNatsUsers(TwoAccounts):
    @pytest.fixture
    def case(self, nats: Nats) -> Case:
        return two(nats)


class TestTwoRegistryUsers(TwoAccounts):
    @pytest.fixture
    def case(self, registry: Registry) -> Case:
        return two(registry)


class TestTwoTsigKeys(TwoAccounts):
    @pytest.fixture
    def case(self, bind: Bind) -> Case:
        return two(bind)


@pytest.mark.parametrize("kind", ["mosquitto", "nats"])
@pytest.mark.parametrize("sessions", ["kept", "ended"])
def test_sessions_end_with_a_cut_and_are_said_to_stay_unless_the_catalogue_says_so(
    kind: str, sessions: str, request: pytest.FixtureRequest
) -> None:
    server: Mosquitto | Nats = request.getfixturevalue(kind)
    case = two(server)
    target = CredentialFile("server", file="accounts", place=server.place(), sessions=sessions)
    strategy = AlternatingUsers(target, PasswordPolicy(), (name_of(case.current), "another"), None)
    with server.opened(case.current) as is_open:
        assert is_open()
        result = strategy.revoke(case.current, 6)
        assert not server.logs_in(case.current)
        assert not is_open()
        assert bool(result.outlives) is (sessions == "kept")


# --- the file ----------------------------------------------------------------------------------------------


def test_other_lines_and_the_mode_stay_as_they_are(registry: Registry) -> None:
    case = one(registry)
    content = b"# by hand \xff\r\n\n" + registry.file.read_bytes()
    registry.file.write_bytes(content)
    registry.file.chmod(0o640)
    change = case.installed()
    assert registry.logs_in(case.current.merged(change.candidate))
    own = f"{name_of(case.current)}:".encode()
    before, after = (
        [line for line in whole.split(b"\n") if not line.startswith(own)]
        for whole in (content, registry.file.read_bytes())
    )
    assert before == after
    assert registry.file.stat().st_mode & 0o777 == 0o640
    assert not list(registry.directory.glob(".accounts*.new"))
    registry.file.write_bytes(registry.file.read_bytes().partition(b"\n\n")[2])


def test_a_line_that_a_person_has_changed_is_not_replaced_but_a_cut_ends_it(registry: Registry) -> None:
    case = one(registry)
    candidate = case.current.merged(case.installed(5).candidate)
    name, by_hand = name_of(case.current), candidate.merged({"password": "set-by-hand"})
    lines = [line for line in registry.file.read_text().splitlines() if not line.startswith(f"{name}:")]
    registry.write(registry.whole([*lines, registry.line(name, "set-by-hand")]))
    with pytest.raises(Invalid, match="was changed since Keyturn wrote it") as caught:
        case.installed(6)
    assert name in caught.value.hint
    assert registry.logs_in(by_hand)
    case.strategy.revoke(candidate, 7)
    assert not registry.logs_in(by_hand)


def test_an_account_that_the_operator_does_not_list_is_refused(registry: Registry) -> None:
    case = one(registry, accounts=["app-*"])
    with pytest.raises(Denied, match="does not let a catalogue rotate it"):
        case.installed()
    assert registry.logs_in(case.current)


def test_an_account_without_a_line_is_not_created(registry: Registry) -> None:
    target = registry.target()
    with pytest.raises(NotFound, match="no htpasswd line"):
        target.set_password("absent", Sensitive("x" * 32), sequence=1)
    target.disable("absent", sequence=1)
    assert target.revoke("absent", sequence=1) == 0
    assert "absent" not in registry.file.read_text()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"reload": ["/bin/false"]}, "reload ends with 1"),
        ({"check": ["/bin/false"], "patience": "0s"}, "does not accept its password"),
        ({"check": ["/bin/sh", "-c", "exit 9"]}, "check ends with 9"),
    ],
)
def test_a_program_that_fails_leaves_a_change_that_the_next_run_finishes(
    registry: Registry, changes: dict[str, Any], problem: str
) -> None:
    current = registry.add()
    name, wanted = name_of(current), Sensitive("y" * 32)
    with pytest.raises(Unavailable, match=problem):
        registry.target(**changes).set_password(name, wanted, sequence=5)
    registry.target().set_password(name, wanted, sequence=5)
    assert registry.logs_in(current.merged({"password": wanted}))


def test_a_program_gets_no_variable_of_keyturns(registry: Registry, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "a-token")
    script = f"cat > {tmp_path}/stdin; env > {tmp_path}/environment"
    current = registry.add()
    assert registry.target(check=["/bin/sh", "-c", script]).accepts(name_of(current), current["password"])
    assert "a-token" not in (tmp_path / "environment").read_text()
    assert (tmp_path / "stdin").read_text() == f"{name_of(current)}\n{current['password'].reveal()}\n"


def test_a_link_is_not_replaced(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(registry.file)
    with pytest.raises(Denied, match="link"):
        registry.target(path=str(tmp_path / "link")).last_sequence(["a"])


LINES = {
    FileFormat.MOSQUITTO: "app:old",
    FileFormat.HTPASSWD: "app:old",
    FileFormat.NATS: '  {user: "app", password: old, permissions: {publish: "a"}}',
    FileFormat.HAPROXY: "  user app password old groups g",
    FileFormat.TSIG: 'key "app" { algorithm hmac-sha256; secret "old"; };',
    FileFormat.SHADOW: "app:old:19000:0:99999:7:::",
}


@pytest.mark.parametrize("form", FileFormat)
def test_only_the_value_of_an_accounts_line_changes(form: FileFormat) -> None:
    made, line = FORMATS[form], LINES[form]
    parts = made.parts(line, "app")
    assert parts is not None
    assert "".join(parts) == line
    assert made.parts(line, "ap") is made.parts(f"#{line}", "app") is None
    value = made.value("x" * 32)
    assert made.holds(value, "x" * 32)
    assert not made.holds(value, "y" * 32)
    again = made.parts(f"{parts[0]}{value}{parts[2]}", "app")
    assert again == (parts[0], value, parts[2])
