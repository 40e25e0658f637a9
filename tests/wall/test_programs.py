"""Programs that Keyturn runs: their environment, templates and files can't be injected into."""

import os
import shlex
import socket
import time
import tomllib
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import requests
from standardwebhooks import Webhook
from typer.testing import CliRunner

from keyturn.cli.app import app
from keyturn.cli.programs import exec_order
from keyturn.client.client import SecretClient
from keyturn.client.secrets import Secret
from keyturn.client.webhooks.receiver import Receiver
from keyturn.core.errors import Denied, Invalid, KeyturnError
from keyturn.core.notifications.notices import NOTICE_PATH, Notice
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.programs.listener import CONNECTIONS, Listener
from keyturn.programs.outputs import Output, write_outputs
from keyturn.programs.references import FieldReference, Reading
from keyturn.programs.rendering import Declaration
from keyturn.programs.templates import MOST_WORK, Template
from keyturn.settings.hub_login import LOGIN_VARIABLES
from tests.support.program_runner import Run
from tests.support.served import MADE

pytestmark = pytest.mark.sampled(3, of="file")

KEY = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOBODY = 65534


class Written:
    """A source whose secret somebody else has written."""

    name = "hub"

    def __init__(self, **fields: str) -> None:
        self._fields = fields

    def read(self, path: str) -> Secret:
        return Secret(path, SecretFields(self._fields), 1, "1", "hub", MADE)

    def read_many(self, paths: Sequence[str]) -> dict[str, Secret]:
        return {path: self.read(path) for path in paths}

    def versions(self, paths: Sequence[str]) -> dict[str, str]:
        return dict.fromkeys(paths, "1")


def written(**fields: str) -> SecretClient:
    return SecretClient([Written(**fields)], poll=0)


# --- who may write the secret ------------------------------------------------------------------------------


def test_a_writer_of_a_secret_does_not_choose_a_programs_variables() -> None:
    client = written(LD_PRELOAD="/tmp/evil.so", PATH="/tmp/evil", **{"x=y\nBASH_ENV": "/tmp/evil"})
    given = Declaration(prefixes={"DB_": "ml/db"}).render(client).environment
    assert set(given) == {"DB_LD_PRELOAD", "DB_PATH", "DB_X_Y_BASH_ENV"}
    for prefix in ("=ml/db", "ml/db", "1=ml/db"):
        result = CliRunner().invoke(app, ["exec", "--env-all", prefix, "--", "true"])
        assert result.exit_code == 2, result.output
    with pytest.raises(Invalid, match="not the only one"):
        Declaration({"DB_PATH": FieldReference("ml/db", "PATH")}, {"DB_": "ml/db"}).render(client)


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_a_value_that_no_environment_holds_is_refused_and_not_shown(value: str) -> None:
    client = written(password=f"secret-{value}")
    with pytest.raises(Invalid) as caught:
        Declaration({"PW": FieldReference("ml/db")}).render(client)
    assert "secret-" not in str(caught.value)


@pytest.mark.parametrize(
    ("template", "value", "read_back"),
    [
        ("password = {} | toml }}}}", 'x"\nadmin = true\n#', lambda text: tomllib.loads(text)["password"]),
        ("PASSWORD={} | env }}}}", "x'\nLD_PRELOAD='/tmp/evil.so", lambda text: shlex.split(text)[0][9:]),
        ("run {} | sh }}}}", "x'; rm -rf / #", lambda text: shlex.split(text)[1]),
        ("postgresql://u:{} | url }}}}@db/ml", "x@evil/ml?", lambda text: unquote(urlsplit(text).password or "")),
    ],
)
def test_a_value_does_not_end_its_own_quotes(template: str, value: str, read_back: Callable[[str], str]) -> None:
    source = template.format('{{ secret("a").password')
    assert read_back(Template(Path("t.j2"), source).render(Reading(written(password=value))).reveal()) == value


def test_a_value_that_would_be_more_than_one_line_of_an_ini_file_is_refused() -> None:
    template = Template(Path("t.j2"), 'password = {{ secret("a").password | ini }}')
    with pytest.raises(Invalid, match=r"t\.j2:1"):
        template.render(Reading(written(password="x\nadmin = yes")))


@pytest.mark.parametrize(
    "text",
    [
        "{{ secret.__globals__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ secret('a').__class__ }}",
        "{{ secret('a')._fields }}",
        "{{ self._TemplateReference__context }}",
        "{% include '/etc/passwd' %}",
        "{% import '/etc/passwd' as x %}",
        "{% for i in range(10000000000) %}{% endfor %}",
        "{{ cycler.__init__.__globals__.os }}",
    ],
)
def test_a_template_reaches_nothing_but_secrets(text: str) -> None:
    with pytest.raises(KeyturnError) as caught:
        Template(Path("t.j2"), text).render(Reading(written(password="the-value")))
    assert "the-value" not in str(caught.value)


GROWS = "{{% set ns = namespace(a={start}, b={start}) %}}{{% for i in range(60) %}}{step}{{% endfor %}}{used}"
"""A template of one line whose value doubles sixty times."""
SHARED = "{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}"
"""Little memory, but as many values to whoever walks through them."""
PAIRS = SHARED.replace("[", "(").replace("]", ")")
NAMED = SHARED.replace("[ns.a, ns.a]", "{'x': ns.a, 'y': ns.a}").replace("[ns.b, ns.b]", "{'x': ns.b, 'y': ns.b}")
BOMBS = [
    "{{ 'a' * 1000000000 }}",
    "{{ 9 ** 9 ** 7 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{a:1000000000}'.format_map({'a': 1}) }}",
    "{{ '{:{}}'.format(1, 1000000000) }}",
    "{{ 'a'.zfill(1000000000) }}",
    "{{ 'a' | center(1000000000) }}",
    "{{ {'a': 1} | tojson(indent=1000000000) }}",
    "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
    "{% for i in 'a' * 100000 %}{% for j in 'a' * 100000 %}{% endfor %}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{% set b = m(30) %}",
    GROWS.format(start="'x'", step="{% set ns.a = ns.a ~ ns.a %}", used=""),
    GROWS.format(start="'x'", step="{% set b %}{{ ns.a }}{{ ns.a }}{% endset %}{% set ns.a = b %}", used=""),
    GROWS.format(start="3", step="{% set ns.a = ns.a * ns.a %}", used=""),
    GROWS.format(start="[1]", step=SHARED, used="{{ ns.a }}"),
    GROWS.format(start="[1]", step=SHARED, used="{{ ns.a == ns.b }}"),
    GROWS.format(start="[1]", step=SHARED, used="{{ ns.a | tojson | length }}"),
    GROWS.format(start="(1,)", step=PAIRS, used="{{ {ns.a: 1} | length }}"),
    GROWS.format(start="1", step=NAMED, used="{{ ns.a == ns.b }}"),
]
"""Templates of one line that would take a machine's memory, or all time."""


@pytest.mark.parametrize("text", BOMBS)
def test_a_template_is_bounded_in_steps_and_memory_while_it_is_rendered(text: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Invalid, match=r"t\.j2:1: it (makes more|takes more steps) than a template may"):
            Template(Path("t.j2"), text).render(Reading(written(password="the-value")))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2 * MOST_WORK


# --- who shares the machine --------------------------------------------------------------------------------


def test_keyturns_own_login_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"VAULT_TOKEN", "BAO_TOKEN", "KEYTURN_LEDGER", "KEYTURN_SETTINGS_FILE", *LOGIN_VARIABLES}
    # A workflow's login to hub and clouds, and where systemd puts the files of a unit's logins.
    own |= {"ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "CREDENTIALS_DIRECTORY"}
    monkeypatch.setattr(exec_order, "INHERITED", {**dict.fromkeys(own, "mine"), "LANG": "C"})

    def passed_on(*keep: str) -> set[str]:
        order = exec_order.Order(ExitStack(), ("true",), (), (), (), (), "restart", False, 0o600, keep)
        return set(order.environment())

    assert passed_on() == {"LANG"}
    assert passed_on("*") == {"LANG", *own}


def link_in_its_place(directory: Path) -> Path:
    (directory / "elsewhere").write_text("precious")
    (directory / "file").symlink_to(directory / "elsewhere")
    return directory / "file"


def link_of_somebody_on_the_way(directory: Path) -> Path:
    (directory / "real").mkdir()
    (directory / "way").symlink_to(directory / "real")
    os.lchown(directory / "way", NOBODY, NOBODY)
    return directory / "way" / "file"


def draft_that_is_a_link(directory: Path) -> Path:
    (directory / "elsewhere").write_text("precious")
    (directory / ".file.keyturn.new").symlink_to(directory / "elsewhere")
    return directory / "file"


def pipe_in_its_place(directory: Path) -> Path:
    os.mkfifo(directory / "file")
    return directory / "file"


@pytest.mark.parametrize(
    "trap", [link_in_its_place, link_of_somebody_on_the_way, draft_that_is_a_link, pipe_in_its_place]
)
def test_no_secret_is_written_through_a_planted_link_or_file(
    tmp_path: Path, trap: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid():
        monkeypatch.setattr(os, "lchown", lambda *_: None)
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    file = trap(tmp_path)
    with pytest.raises((Invalid, Denied), match=r"link|file|many levels"):
        write_outputs([Output(file, Sensitive("the-value"))])
    contents = [each.read_text() for each in tmp_path.rglob("*") if each.is_file()]
    assert set(contents) <= {"precious"}


def test_no_value_is_in_the_arguments_of_any_process(tmp_path: Path) -> None:
    program = 'echo "$PASSWORD" >>"$OUT/shown"; while :; do sleep 0.05; done'
    with Run(tmp_path, ["sh", "-c", program], variables=["PASSWORD"]) as run:
        run.wrote("shown", "first")
        run.serve("a-value-like-no-other")
        run.wrote("shown", "a-value-like-no-other")
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                arguments = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
            except OSError:
                continue
            assert "a-value-like-no-other" not in arguments
        assert "a-value-like-no-other" not in run.errors


# --- who knows the address ---------------------------------------------------------------------------------


@pytest.fixture
def notices() -> list[Notice]:
    return []


@pytest.fixture
def address(notices: list[Notice]) -> Iterator[str]:
    with Listener(("127.0.0.1", 0), Receiver([Sensitive(KEY)]), notices.append) as listener:
        listener.begin()
        yield f"http://127.0.0.1:{listener.port}"


def post(address: str, key: str, at: datetime, path: str = NOTICE_PATH) -> int:
    """A notice that is signed so."""
    body = Notice("secret_rotated", "ml/db", 2, at).to_json()
    signature = Webhook(key).sign("msg_1", at, body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}
    return requests.post(f"{address}{path}", body, headers=headers, timeout=30).status_code


def test_a_notice_that_is_forged_or_late_restarts_nothing(address: str, notices: list[Notice]) -> None:
    now = datetime.now(UTC)
    assert post(address, "whsec_" + "C" * 32, now) == HTTPStatus.UNAUTHORIZED
    assert post(address, KEY, datetime.fromtimestamp(now.timestamp() - 400, UTC)) == HTTPStatus.UNAUTHORIZED
    assert post(address, KEY, now, "/elsewhere") == HTTPStatus.NOT_FOUND
    assert notices == []
    assert post(address, KEY, now) == post(address, KEY, now) == HTTPStatus.OK
    assert len(notices) == 1


def test_endless_connections_start_no_more_threads(address: str, notices: list[Notice]) -> None:
    host, port = "127.0.0.1", int(address.rpartition(":")[2])
    with ExitStack() as opened:
        silent = [opened.enter_context(socket.create_connection((host, port))) for _ in range(CONNECTIONS)]
        time.sleep(0.1)
        late = opened.enter_context(socket.create_connection((host, port)))
        late.settimeout(30)
        assert late.recv(1) == b""
        for connection in silent:
            connection.close()
    deadline = time.monotonic() + 30
    while True:
        try:
            assert post(address, KEY, datetime.now(UTC)) == HTTPStatus.OK
            break
        except requests.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert len(notices) == 1
