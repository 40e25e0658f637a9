"""A background service exposes nothing through its address, its hub entries or a frozen process."""

import secrets
import socket
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from keyturn.core.errors import Conflict, Superseded
from keyturn.providers.vault.logins.files import read_login
from keyturn.serving.alerts_sent import TOLD
from keyturn.serving.cursors import JUDGED
from keyturn.serving.numbers.login import metrics_login
from keyturn.serving.parts import PartHealth
from keyturn.serving.sessions import client_address
from keyturn.serving.supervisor import PartState
from tests.serving.test_access_reader import READS, begun, kept
from tests.serving.test_endpoint import WORKING, endpoint, get
from tests.serving.watched import ListSource, Site

TROUBLE = "read secret/data/payments: the hub denies it"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


# --- its address


def test_a_page_in_a_browser_that_calls_itself_otherwise_is_not_answered() -> None:
    with endpoint(WORKING) as url:
        assert get(f"{url}/metrics", Host="evil.example").status_code == 421
        assert get(f"{url}/metrics", Host="localhost:2774").status_code == 200


def test_slow_clients_delay_no_others() -> None:
    with endpoint(WORKING) as url, ExitStack() as stack:
        port = int(url.rpartition(":")[2])
        for _ in range(40):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            client.send(b"GET /met")
        assert get(f"{url}/healthz").status_code == 200


def test_error_details_are_not_shown_to_strangers() -> None:
    state = PartState("access/hub", running=True, number=1, health=PartHealth(0.0, TROUBLE), looked=True)
    with endpoint(state) as url:
        shown = "".join(get(f"{url}{page}").text for page in ("/readyz", "/metrics", "/healthz"))
    assert "payments" not in shown
    assert "denies" not in shown


def test_a_body_that_is_too_long_is_refused() -> None:
    with endpoint() as url:
        answer = requests.post(f"{url}/v1/accesses", data=b"x" * 70_000, timeout=30)
    assert answer.status_code == 413


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "metrics.token"
    file.write_text(f"{secrets.token_hex(32)}\n")
    file.chmod(0o600)
    return file


def test_metrics_beyond_loopback_need_a_login(token_file: Path) -> None:
    said = list[str]()
    admit = metrics_login({}, read_login, said.append, local=False)
    token = {"Authorization": f"Bearer {token_file.read_text().strip()}"}
    with endpoint(WORKING, admit=admit) as url:
        assert get(f"{url}/metrics", **token).status_code == 401
        assert get(f"{url}/healthz").status_code == 200
    assert "set KEYTURN_METRICS_TOKEN_FILE" in said[0]


def test_metrics_need_the_current_token_of_the_file(token_file: Path) -> None:
    said, first = list[str](), token_file.read_text().strip()
    admit = metrics_login({"KEYTURN_METRICS_TOKEN_FILE": str(token_file)}, read_login, said.append, local=True)
    with endpoint(WORKING, admit=admit) as url:

        def status(*headers: tuple[str, str]) -> int:
            return get(f"{url}/metrics", **dict(headers)).status_code

        assert status(("Authorization", f"Bearer {first}")) == 200
        for wrong in ("", first, f"Basic {first}", f"Bearer {first[:-1]}", f"Bearer {first}x", "Bearer "):
            assert status(("Authorization", wrong)) == 401
        answer = get(f"{url}/metrics")
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        token_file.write_text(secrets.token_hex(32))
        assert status(("Authorization", f"Bearer {first}")) == 401
        for content in ("short", ""):
            token_file.write_text(content)
            assert status(("Authorization", f"Bearer {content}")) == 401
        token_file.unlink()
        assert status(("Authorization", f"Bearer {first}")) == 401
    assert said == []


@pytest.mark.parametrize("content", ["short", None])
def test_a_token_that_is_short_or_absent_is_reported_and_opens_nothing(token_file: Path, content: str | None) -> None:
    said = list[str]()
    token_file.unlink()
    if content:
        token_file.write_text(content)
    admit = metrics_login({"KEYTURN_METRICS_TOKEN_FILE": str(token_file)}, read_login, said.append, local=True)
    with endpoint(WORKING, admit=admit) as url:
        assert get(f"{url}/metrics").status_code == 401
        assert get(f"{url}/readyz").status_code == 200
    assert str(token_file) in said[0]


PROXIES = ("10.0.0.0/24", "fd00::7")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),
        ("10.0.0.7", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.7", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.7", ["6.6.6.6", "198.51.100.1, 10.0.0.9"], "198.51.100.1"),
        ("fd00::7", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.7", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.7", [], "10.0.0.7"),
        ("10.0.0.7", [""], "10.0.0.7"),
        ("10.0.0.7", ["198.51.100.1, nobody"], "10.0.0.7"),
        ("10.0.0.7", ["198.51.100.1:4711"], "10.0.0.7"),
        ("10.0.0.7", ["10.0.0.8, 10.0.0.9"], "10.0.0.8"),
    ],
)
def test_client_addresses_are_taken_only_from_listed_proxies(peer: str, forwarded: list[str], client: str) -> None:
    assert client_address(peer, forwarded, PROXIES) == client
    assert client_address(peer, forwarded, ()) == peer


# --- the hub's entries, which somebody may have edited


@pytest.mark.parametrize("data", [{}, {"begun": "now", "segment": "many", "at": 1}, {"begun": "2026-03-04T12:00:00"}])
def test_an_edited_mark_stops_nothing(site: Site, data: Mapping[str, Any]) -> None:
    site.hub.states[f"{JUDGED}/hub"] = (data, 7)
    site.process(ListSource(READS)).run()
    assert kept(site) == [read.path for read in READS]
    assert len(begun(site)) == 3


@pytest.mark.parametrize(
    "data", [{}, {"told": 1}, {"told": {"siren": [1]}}, {"told": {"siren": [["a", "begun", "x"]]}}]
)
def test_an_edited_record_of_notices_suppresses_no_notice(site: Site, data: Mapping[str, Any]) -> None:
    site.hub.states[TOLD] = (data, 7)
    site.process(ListSource(READS)).run()
    assert len(begun(site)) == 3


# --- a process that was frozen, and whose clock stood still


def test_a_frozen_process_that_was_replaced_writes_nothing_more(site: Site) -> None:
    frozen = site.process(ListSource(READS[:2]))

    def meanwhile(seconds: float) -> bool:
        site.process(ListSource(READS)).run()
        frozen.source.accesses = READS
        return False

    frozen.tenure.wait = meanwhile  # type: ignore[method-assign]
    with pytest.raises((Superseded, Conflict)):
        frozen.reader.run(frozen.tenure)
    frozen.ledger.close()
    assert kept(site) == [read.path for read in READS]
    assert len(begun(site)) == 3
    assert set(Counter(site.siren.told).values()) == {1}
