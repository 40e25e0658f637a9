"""A Prefect server's API for commands: start a run, follow it and read its artifacts.

Prefect's own client takes a second to import. A run requested twice is one run.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import uuid4

import requests
from requests.utils import get_environ_proxies

from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound, Unavailable
from keyturn.providers.answers import reads_answers, retry_after, untrusted
from keyturn.providers.connection_errors import RemoteServer, from_connection, from_plain_http
from keyturn.providers.outbound import keep_to
from keyturn.providers.vault.session import DirectSession
from keyturn.settings.prefect import CA_FILE, PrefectSettings

SERVER: Final = "the Prefect server"
PREFECT: Final = RemoteServer(
    check="Check PREFECT_API_URL and that the server runs",
    address="PREFECT_API_URL",
    authority=f"Check {CA_FILE}",
    who=SERVER,
    whose="the Prefect server's",
    untrusted=Unavailable,
)
ENDS: Final = frozenset({"COMPLETED", "CANCELLED", "FAILED", "CRASHED"})

BUSY: Final = frozenset({408, 429, 502, 503})
"""Statuses that Prefect's own client retries."""

RAISED: Final = re.compile(r"^(Task|Flow) run encountered an exception:? ((?P<error>\w+): )?")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds."""

MOST_WORKERS: Final = 200

PATIENCE: Final = 60.0


@dataclass(frozen=True)
class PrefectState:
    kind: str = "UNKNOWN"
    name: str = "unknown"
    message: str = ""

    @property
    def final(self) -> bool:
        return self.kind in ENDS

    @property
    def words(self) -> str:
        """The message without what Prefect puts before that of an error."""
        return RAISED.sub("", self.message)

    @property
    def error(self) -> str:
        """The class of the error that ended the run, by name; empty if unknown."""
        raised = RAISED.match(self.message)
        return raised["error"] or "" if raised else ""


@dataclass(frozen=True)
class FlowRun:
    id: str
    name: str
    state: PrefectState
    begun: bool


@dataclass(frozen=True)
class TaskRun:
    id: str
    name: str
    state: PrefectState
    tries: int
    seconds: float
    ended: float | None


@reads_answers(SERVER)
class PrefectApi:
    """Requests to a server. Errors name the action ``doing`` and ``name``. Each verb raises Denied, Unavailable.

    ``otherwise`` extends the hints, such as ``, or add --local``.
    """

    def __init__(
        self, settings: PrefectSettings, doing: str, name: str, otherwise: str = "", patience: float | None = None
    ) -> None:
        """Retries a busy server for ``patience`` seconds. Raises Invalid for an unusable address or file."""
        self._patience = patience
        self._about = (doing, name)
        self._otherwise = otherwise
        self._url = plain_address(settings.url).rstrip("/")
        self._headers = settings.authorized()
        self._timeout = settings.timeout
        self._heard = False
        self._session = opened_session(self._url, settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._session.close()

    def insist_on_answer(self, seconds: float) -> None:
        try:
            self._session.request("GET", f"{self._url}/health", headers=self._headers, timeout=seconds)
        except OSError as error:
            if not untrusted(error):
                problem = f"the Prefect server at {self._url} does not answer"
                raise Unavailable(*self._about, problem, "Check PREFECT_API_URL and that the server runs") from None

    def insist_on_api(self, pool: str) -> None:
        """Raises Unavailable if the server is not Prefect's API; the pool need not exist."""
        with suppress(NotFound):
            self._send("GET", f"work_pools/{quote(pool, safe='')}")

    def find_deployment(self, name: str, remedy: str) -> str:
        flow, _, deployment = name.partition("/")
        path = f"deployments/name/{quote(flow, safe='')}/{quote(deployment, safe='')}"
        try:
            return str(self._send("GET", path)["id"])
        except NotFound:
            raise NotFound(*self._about, "the Prefect server has no such deployment", remedy) from None

    def create_run(self, deployment: str, parameters: Mapping[str, Any], labels: Mapping[str, Any]) -> FlowRun:
        """A retry requests the same run."""
        request = {
            "parameters": parameters,
            "labels": labels,
            "state": {"type": "SCHEDULED"},
            "idempotency_key": str(uuid4()),
        }
        return flow_run(self._send("POST", f"deployments/{quote(deployment, safe='')}/create_flow_run", request))

    def read_run(self, run: str) -> FlowRun:
        return flow_run(self._send("GET", f"flow_runs/{quote(run, safe='')}"))

    def list_steps(self, run: str) -> list[TaskRun]:
        request = {"flow_runs": {"id": {"any_": [run]}}}
        return [task_run(document) for document in self._send("POST", "task_runs/filter", request)]

    def list_artifacts(self, run: str, kind: str) -> list[Any]:
        wanted = {"flow_run_id": {"any_": [run]}, "type": {"any_": [kind]}}
        request = {"artifacts": wanted, "sort": "CREATED_DESC"}
        return [document["data"] for document in self._send("POST", "artifacts/filter", request)]

    def count_alive_workers(self, pool: str) -> int:
        try:
            workers = self._send("POST", f"work_pools/{quote(pool, safe='')}/workers/filter", {"limit": MOST_WORKERS})
        except NotFound:
            problem = f"the Prefect server has no work pool {pool}"
            raise NotFound(*self._about, problem, "Run `keyturn setup prefect --apply`") from None
        return sum(worker["status"] == "ONLINE" for worker in workers)

    def send_events(self, events: Sequence[Mapping[str, Any]]) -> None:
        self._send("POST", "events", events)

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        patience = PATIENCE if self._patience is None else self._patience
        until, pause, forged = time.monotonic() + patience, FIRST_PAUSE, False
        while True:
            answer = self._try(method, path, body, until)
            if answer is not None and is_suspected(answer) and method == "POST" and not forged:
                forged = True
                self._take_token()
                continue
            if answer is not None and not (answer.status_code in BUSY and time.monotonic() < until):
                return self._document(answer)
            wait = retry_after(answer.headers.get("retry-after", "")) if answer is not None else None
            time.sleep(min(pause if wait is None else wait, max(0.0, until - time.monotonic())))
            pause = min(LONGEST_PAUSE, 2 * pause)

    def _try(self, method: str, path: str, body: Any, until: float) -> requests.Response | None:
        """None to retry a failure, which needs an earlier answer of the server."""
        try:
            answer = self._session.request(
                method, f"{self._url}/{path}", json=body, headers=self._headers, timeout=self._timeout
            )
        except OSError as error:  # the base of every error of requests
            if not self._heard or untrusted(error) or time.monotonic() >= until:
                raise self._unanswered(error) from None
            return None
        self._heard = True
        return answer

    def _take_token(self) -> None:
        client = str(uuid4())
        document = self._send("GET", f"csrf-token?client={client}")
        self._headers |= {"Prefect-Csrf-Token": str(document["token"]), "Prefect-Csrf-Client": client}

    def _document(self, answer: requests.Response) -> Any:
        status = answer.status_code
        if status in (401, 403):
            remedy = f"Check PREFECT_API_KEY{self._otherwise}"
            raise Denied(*self._about, "the Prefect server denies it", remedy)
        if refused := from_plain_http(status, answer.text, *self._about, PREFECT):
            raise refused
        if 300 <= status < 400:
            problem = f"the Prefect server sends its clients elsewhere (status {status})"
            raise Unavailable(*self._about, problem, f"Set PREFECT_API_URL to where it answers{self._otherwise}")
        if (status < 300 and not is_json(answer)) or (status == 404 and not is_prefects(answer)):
            problem = f"what answers at {self._url} is not Prefect's API"
            hint = "Set PREFECT_API_URL to the API itself: a server's own address ends with /api"
            raise Unavailable(*self._about, problem, f"{hint}{self._otherwise}")
        if status == 404:
            raise NotFound(*self._about, "the Prefect server has no such thing", self._see_log())
        if status >= 400:
            raise Unavailable(*self._about, f"the Prefect server failed (status {status})", self._see_log())
        return json.loads(answer.content) if answer.content else None

    def _see_log(self) -> str:
        return f"See the server's log{self._otherwise}"

    def _unanswered(self, error: OSError) -> KeyturnError:
        failed = from_connection(error, *self._about, PREFECT)
        return type(failed)(*self._about, failed.problem, f"{failed.hint}{self._otherwise}")


def is_json(answer: requests.Response) -> bool:
    try:
        json.loads(answer.content or b"null")
    except ValueError:
        return False
    return True


def is_prefects(answer: requests.Response) -> bool:
    """Whether a 404 is about the object and not about the route."""
    document = json.loads(answer.content or b"null") if is_json(answer) else None
    if not isinstance(document, dict) or document.get("detail") == "Not Found":
        return False
    return not {"detail", "exception_message"}.isdisjoint(document)


def is_suspected(answer: requests.Response) -> bool:
    return answer.status_code == 403 and b"CSRF" in answer.content


def opened_session(url: str, settings: PrefectSettings) -> requests.Session:
    if settings.checked and settings.ca_file and not Path(settings.ca_file).is_file():
        raise Invalid("trust", SERVER, f"there is no file {settings.ca_file}", f"{CA_FILE} names it")
    session = DirectSession()
    session.trust_env = False
    session.proxies = get_environ_proxies(url)
    session.verify = (settings.ca_file or True) if settings.checked else False
    try:
        keep_to(session, url)
    except OSError:
        raise unusable(url) from None
    if not settings.checked:
        import urllib3

        # The setting is deliberate; a warning for each request is noise.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return session


def plain_address(url: str) -> str:
    """Without user and password, which a header carries. Raises Invalid."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise unusable("what PREFECT_API_URL says") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise unusable(url)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return urlunsplit((parts.scheme, f"{host}{port}", parts.path, "", ""))


def unusable(url: str) -> Invalid:
    return Invalid("find", SERVER, f"{url} is no address of a server", "Set PREFECT_API_URL to https://HOST/api")


def flow_run(document: Mapping[str, Any]) -> FlowRun:
    return FlowRun(
        str(document["id"]), str(document["name"]), _state(document["state"]), document["start_time"] is not None
    )


def task_run(document: Mapping[str, Any]) -> TaskRun:
    ended = document["end_time"]
    when = datetime.fromisoformat(ended).timestamp() if ended else None
    tries, worked = int(document["run_count"]), float(document["total_run_time"])
    return TaskRun(str(document["id"]), str(document["name"]), _state(document["state"]), tries, worked, when)


def _state(document: Mapping[str, Any] | None) -> PrefectState:
    return (
        PrefectState(str(document["type"]), str(document["name"]), str(document["message"] or ""))
        if document
        else PrefectState()
    )
