"""The health and metrics endpoint of background services."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from keyturn.agent.http import HttpAnswer, HttpRequest
from keyturn.agent.sockets import open_loopback
from keyturn.providers.prometheus.metrics import NumbersCollector, exposition
from keyturn.serving.certificates import CertificateFiles
from keyturn.serving.endpoint import Endpoint, answering
from keyturn.serving.numbers.process import EVENTS, PREFIX, Counts, Serving, serving_metrics
from keyturn.serving.parts import PartHealth
from keyturn.serving.supervisor import PartState
from local.support.tls import certificate_in

WORKING = PartState("follow", running=True, number=7, health=PartHealth(1.26), looked=True)
ELSEWHERE = PartState("other", looked=True)
FAILING = PartState("access/hub", failures=3, looked=True)
UNSEEN = PartState("seal")


@contextmanager
def endpoint(
    *states: PartState, counts: Counts | None = None, admit: Callable[[HttpRequest], bool] | None = None
) -> Iterator[str]:
    """The address of one that answers for these parts."""
    serving = Serving(lambda: {state.part: state for state in states}, counts or Counts())
    metrics = exposition(NumbersCollector(PREFIX, serving_metrics(), {(): serving}))

    async def post(request: HttpRequest) -> HttpAnswer:
        return HttpAnswer(202, request.body.decode())

    with open_loopback(0) as listener, answering(listener, Endpoint(serving, metrics, post, admit=admit).answer):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def get(url: str, **headers: str) -> requests.Response:
    return requests.get(url, headers=headers, timeout=30)


def test_it_is_ready_while_each_part_works_here_or_may_work_elsewhere() -> None:
    with endpoint(WORKING, ELSEWHERE) as url:
        answer = get(f"{url}/readyz")
        assert (answer.status_code, answer.json()["ready"]) == (200, True)
        assert answer.json()["parts"]["follow"] == {"running": True, "well": True, "lag_seconds": 1.3, "failures": 0}


@pytest.mark.parametrize("state", [FAILING, UNSEEN])
def test_it_is_not_where_one_fails_or_nobody_could_look(state: PartState) -> None:
    with endpoint(WORKING, state) as url:
        answer = get(f"{url}/readyz")
        assert (answer.status_code, answer.json()["parts"][state.part]["well"]) == (503, False)
        assert get(f"{url}/healthz").status_code == 200


def test_its_numbers_are_those_of_parts_and_sources() -> None:
    counts = Counts()
    counts.add(EVENTS, "hub", 3)
    with endpoint(WORKING, FAILING, counts=counts) as url:
        lines = get(f"{url}/metrics").text.splitlines()
    assert 'keyturn_serve_part_running{part="follow"} 1.0' in lines
    assert 'keyturn_serve_part_running{part="access/hub"} 0.0' in lines
    assert 'keyturn_serve_part_failures{part="access/hub"} 3.0' in lines
    assert 'keyturn_serve_part_lag_seconds{part="follow"} 1.26' in lines
    assert 'keyturn_serve_events_total{source="hub"} 3.0' in lines


def test_events_are_posted_and_what_is_not_there_is_not_found() -> None:
    with endpoint() as url:
        posted = requests.post(f"{url}/v1/accesses", data="[]", timeout=30)
        assert (posted.status_code, posted.text) == (202, "[]")
        assert get(f"{url}/v1/accesses").status_code == 405
        assert requests.post(f"{url}/metrics", timeout=30).status_code == 405
        assert get(f"{url}/").status_code == 404


def test_a_certificate_that_was_renewed_is_shown_to_the_next_who_comes(tmp_path: Path) -> None:
    lines = list[str]()
    old, new = certificate_in(tmp_path / "old"), certificate_in(tmp_path / "new")
    shown, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def put(certificate: Path, its_key: Path) -> None:
        for source, place in ((its_key, key), (certificate, shown)):
            place.unlink(missing_ok=True)
            place.write_bytes(source.read_bytes())

    put(old.certificate, old.key)
    files = CertificateFiles(shown, key, lines.append)
    with open_loopback(0) as listener, answering(listener, Endpoint(Serving()).answer, files.context):
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/healthz"
        assert requests.get(url, verify=str(old.authority), timeout=30).status_code == 200
        put(new.certificate, new.key)
        assert requests.get(url, verify=str(new.authority), timeout=30).status_code == 200
        shown.write_text("no certificate")
        assert requests.get(url, verify=str(new.authority), timeout=30).status_code == 200
    assert len(lines) == 1
    assert "the certificate before is used on" in lines[0]
    assert isinstance(files.context(), ssl.SSLContext)
