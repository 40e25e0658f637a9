"""What each command costs in requests, commits and imported modules, next to the least that the protocol needs.

    python benchmarks/request_counts.py

Counts depend on no clock, so ``tests/benchmarks/test_request_counts.py`` pins them. The site has three secrets with two
copies each in Secrets Manager, an OpenBao in memory and a local AWS; the last commands also use a REST API that makes
keys. Requests to the hub are counted in its audit log, those to AWS by a proxy and those to the API where they arrive.
The process itself counts the commits to SQLite, which are the ledger's, and the modules (all but the standard
library's). ``keeper`` is one look with every duty due, without Prefect's server.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from keyturn.cli.local_stack import FOREIGN
from local.emulators.aws import LocalAws
from local.openbao import OpenBao
from local.prepare import Hub
from local.support.ports import free_port

ROOT: Final = Path(__file__).parent.parent
REGIONS: Final = ("eu-central-1", "eu-west-1")
TIMEOUT: Final = 300
"""Seconds for one command."""
PATHS: Final = ("apps/first", "apps/second", "apps/third")
ACCOUNT: Final = "accounts/api"
AT_TARGET: Final = "at a target"
KEEPER: Final = ("keeper",)
COMMANDS: Final[dict[str, Sequence[str]]] = {
    "catalogue validate": ("catalogue", "validate"),
    "sync: first": ("sync", "--local"),
    "sync: unchanged": ("sync", "--local"),
    "due": ("due",),
    "status": ("status",),
    "plan": ("plan",),
    "rotate": ("rotate", PATHS[0], "--now", "--local"),
    "retire": ("retire", PATHS[0], "--early", "--yes", "--local"),
    "history": ("history", PATHS[0]),
    "revoke": ("revoke", PATHS[1], "--reason", "counted", "--yes", "--local"),
    "keeper": KEEPER,
    f"rotate: {AT_TARGET}": ("rotate", ACCOUNT, "--now", "--local"),
    f"revoke: {AT_TARGET}": ("revoke", ACCOUNT, "--reason", "counted", "--yes", "--local"),
}
"""In this order; each finds what the previous one left."""
LEAST: Final[dict[str, Sequence[tuple[int, str]]]] = {
    "catalogue validate": (),
    "sync: first": (
        (1, "the login"), (2, "the listing of secrets: the root and one folder"), (2, "the ledger's name, written"),
        (2, "the fingerprint key, written"), (1, "whether the hub was restored"), (3, "each value"),
        (3, "that each version is still CURRENT after its copies were written"),
        (2, "the state of each store, written"),
    ),
    "sync: unchanged": (
        (1, "the login"), (2, "the listing of secrets"), (1, "the ledger's name"), (1, "the fingerprint key"),
        (1, "whether the hub was restored"), (2, "the time of each store's last sync, written"),
    ),
    "due": (
        (1, "the login"), (1, "whether the hub was restored"), (1, "the ledger's name"), (6, "each version and record"),
        (1, "undeclared records"), (3, "the login tests"), (4, "use without approval"), (3, "Keyturn's own keys"),
    ),
    "status": (
        (1, "the login"), (1, "whether the hub was restored"), (2, "the ledger's name and checkpoint"),
        (2, "the listing of secrets"), (6, "each version and record"), (3, "the fields of each secret"),
        (1, "the fingerprint key"), (2, "the state of each store"), (1, "undeclared records"), (3, "the login tests"),
        (1, "incidents"), (3, "the parts of keyturn serve"), (4, "use without approval"), (1, "temporary access"),
    ),
    "plan": (
        (1, "the login"), (2, "the listing of secrets"), (1, "the ledger's name"), (1, "the fingerprint key"),
        (1, "whether the hub was restored"), (3, "the fields of each secret"), (1, "stores of the past"),
    ),
    "rotate": (
        (1, "the login"), (1, "CURRENT"), (1, "the record"), (1, "the ledger's name"),
        (1, "whether the hub was restored"),
        (1, "the fingerprint key"), (2, "the hour's count of rotations, by compare-and-set"),
        (2, "PENDING and its record"), (2, "the promotion and its mark"), (1, "the record of it"),
        (1, "the removal of PENDING"), (2, "CURRENT, directly before each copy is written"),
        (2, "that it is still CURRENT afterwards"), (1, "the record of the acknowledgements"),
    ),
    "retire": (
        (1, "the login"), (1, "the record"), (1, "the ledger's name"), (1, "whether the hub was restored"),
        (1, "CURRENT"),
        (1, "that its version is served"), (1, "RETIRING"), (1, "the record again, before the target is changed"),
        (1, "RETIRED"),
    ),
    "history": ((1, "the login"), (1, "the record"), (1, "the versions")),
    "revoke": (
        (1, "the login"), (1, "the login's rights"), (2, "the hour's count of incidents, by compare-and-set"),
        (1, "the incident, opened"), (4, "its step list: written by seven steps, four of which change other things"),
        (3, "the record: taken, released, and the replacement's"), (4, "every version, before and after the cut"),
        (2, "that no other run has taken over, before each end"), (3, "temporary access, three times"),
        (12, "a rotation of it, without guard and grace"), (4, "CURRENT and its check for each copy"),
        (3, "the old version, destroyed after it was read"), (4, "the proof: hub, record, stores"),
        (2, "the ledger: unrecorded entries, checkpoint"), (1, "the incident, closed"),
    ),
}  # fmt: skip
"""The least requests to the hub, each with its reason. Reads directly before or after a write notice others' changes.

Commands that are not listed here are pinned only.
"""
WRAPPER: Final = """
import atexit, json, sqlite3, sys
commits = 0
def note(statement):
    global commits
    commits += statement.lstrip()[:6].upper() == "COMMIT"
def connect(*arguments, opened=sqlite3.connect, **options):
    connection = opened(*arguments, **options)
    connection.set_trace_callback(note)
    return connection
sqlite3.connect = connect
atexit.register(lambda: json.dump([commits, list(sys.modules)], open("counted", "w")))
if sys.argv[1:] == ["keeper"]:
    from benchmarks.scale import look_as_keeper
    look_as_keeper()
else:
    sys.argv = ["keyturn", *sys.argv[1:]]
    import keyturn.cli
    keyturn.cli.main()
"""
TARGET: Final = {"kind": "http-api", "admin": "targets/api", "headers": {"x-admin": "{{admin.token}}"}}
ROTATION: Final = {
    "strategy": "http-api-key",
    "target": "api",
    "create": {"path": "/keys", "body": {"name": "{{unique}}"}},
    "answer": {"id": "/id", "token": "/token"},
    "test": {"path": "/me", "headers": {"authorization": "Bearer {{token}}"}},
    "delete": {"path": "/keys/{{id}}"},
    "list": {"path": "/keys", "id": "/id", "where": {"/name": "{{unique}}"}},
    "interval": "30d",
    "grace": "1h",
}


@dataclass(frozen=True)
class Cost:
    """Requests by kind, such as ``read secret/data``, ``PutSecretValue`` or ``DELETE /keys``, commits, and modules."""

    hub: Counter[str]
    aws: Counter[str]
    target: Counter[str]
    commits: int
    modules: int

    @property
    def numbers(self) -> tuple[int, int, int, int, int]:
        return self.hub.total(), self.aws.total(), self.target.total(), self.commits, self.modules


@dataclass
class CountingProxy:
    """Passes requests on to a local AWS on ``port``, and counts their operations."""

    port: int
    calls: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Its address."""
        upstream, calls, lock = self.port, self.calls, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                with lock:
                    calls[self.headers.get("X-Amz-Target", "").rpartition(".")[2] or "another"] += 1
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                connection = HTTPConnection("127.0.0.1", upstream, timeout=30)
                connection.request("POST", self.path, body, dict(self.headers))
                answer = connection.getresponse()
                text = answer.read()
                connection.close()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        with serving(Handler) as address:
            yield address


@dataclass
class KeyApi:
    """A REST API that makes, tests, lists and deletes keys, and counts what it is asked for."""

    keys: dict[str, tuple[str, str]] = field(default_factory=lambda: {"first": ("first", "unimportant")})
    calls: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Its address."""
        keys, calls, lock = self.keys, self.calls, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                with lock:
                    calls[f"{self.command} /{self.path.split('/')[1]}"] += 1
                    body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
                    status, content = self.act(body)
                text = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def act(self, body: dict[str, str]) -> tuple[int, Any]:
                if self.path == "/me":
                    tokens = {f"Bearer {token}" for _, token in keys.values()}
                    return (200 if self.headers.get("Authorization") in tokens else 401), {}
                if self.command == "POST":
                    made = str(len(calls) + len(keys))
                    keys[made] = body["name"], f"token-{made}"
                    return 200, {"id": made, "token": f"token-{made}"}
                if self.command == "DELETE":
                    return (200 if keys.pop(self.path.rpartition("/")[2], None) else 404), {}
                return 200, [{"id": key, "name": name} for key, (name, _) in keys.items()]

            do_GET = do_POST = do_DELETE = answer  # noqa: N815  the names that the base class calls

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        with serving(Handler) as address:
            yield address


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server with this handler."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Site:
    """A hub, a cloud and a catalogue."""

    directory: Path
    hub: OpenBao
    proxy: CountingProxy
    api: KeyApi
    address: str
    environment: dict[str, str]

    def cost(self, arguments: Sequence[str]) -> Cost:
        """Run one command. Raises RuntimeError with its last words if it fails."""
        before = self.hub.audit_log.stat().st_size
        self.proxy.calls.clear()
        self.api.calls.clear()
        command = [sys.executable, "-c", WRAPPER, *arguments]
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
        if done.returncode:
            raise RuntimeError(f"keyturn {' '.join(arguments)}: {done.stdout[-500:]}{done.stderr[-1000:]}")
        with self.hub.audit_log.open("rb") as log:
            log.seek(before)
            hub = Counter(kind for line in log if (kind := hub_request(json.loads(line))))
        commits, modules = json.loads((self.directory / "counted").read_text())
        foreign = [name for name in modules if name.partition(".")[0] not in sys.stdlib_module_names]
        return Cost(hub, Counter(self.proxy.calls), Counter(self.api.calls), commits, len(foreign))

    def declare_account(self) -> None:
        """Declare the secret at the REST API, too."""
        secret = {"owner": "apps@example.com", "classification": "internal", "rotation": ROTATION}
        declared = {"targets": {"api": {**TARGET, "url": self.address}}, "secrets": {ACCOUNT: secret}}
        (self.directory / "catalogue" / "account.yaml").write_text(json.dumps(declared))


def hub_request(line: dict[str, Any]) -> str:
    """``read secret/data`` and the like for a request of Keyturn's, empty for another line of the audit log."""
    if line["type"] != "request":
        return ""
    mount, _, rest = line["request"]["path"].partition("/")
    return f"{line['request']['operation']} {mount}/{rest.partition('/')[0]}"


@contextmanager
def new_site() -> Iterator[Site]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hub = stack.enter_context(OpenBao(directory / "openbao", free_port(), dev=True))
        aws = stack.enter_context(LocalAws(directory / "aws", free_port()))
        prepared = Hub(hub.address, hub.root_token)
        prepared.mounts()
        for path in PATHS:
            prepared.first(path, {"value": "unimportant"})
        prepared.first(ACCOUNT, {"id": "first", "token": "unimportant"})
        prepared.first("targets/api", {"token": "admin"}, "keyturn")
        proxy, api = CountingProxy(aws.port), KeyApi()
        address = stack.enter_context(proxy.listening())
        (directory / "catalogue").mkdir()
        (directory / "catalogue" / "all.yaml").write_text(json.dumps(catalogue(address)))
        (directory / "policy.yaml").write_text("scheduler: external\n")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        own = {"VAULT_ADDR": hub.address, "VAULT_TOKEN": hub.root_token, "PYTHONPATH": str(ROOT)}
        own |= {"KEYTURN_HOME": str(directory / "home"), "KEYTURN_LEDGER": str(directory / "ledger.db")}
        own["KEYTURN_POLICY"] = str(directory / "policy.yaml")
        own |= {"KEYTURN_CATALOGUE": str(directory / "catalogue"), "PREFECT_HOME": str(directory / "prefect")}
        own |= {"AWS_SHARED_CREDENTIALS_FILE": str(aws.credentials), "AWS_EC2_METADATA_DISABLED": "true"}
        yield Site(directory, hub, proxy, api, stack.enter_context(api.listening()), {**kept, **own})


def catalogue(address: str) -> dict[str, Any]:
    rotation = {"strategy": "generated", "interval": "30d", "grace": "1h"}
    stores = {region: {"kind": "aws-secrets-manager", "region": region, "endpoint_url": address} for region in REGIONS}
    secret = {"owner": "apps@example.com", "classification": "internal", "rotation": rotation}
    copies = {path: [{"store": region, "name": path} for region in REGIONS] for path in PATHS}
    return {"stores": stores, "secrets": {path: {**secret, "destinations": copies[path]} for path in PATHS}}


def costs() -> dict[str, Cost]:
    """What each of COMMANDS costs."""
    counted = {}
    with new_site() as site:
        for name, arguments in COMMANDS.items():
            if AT_TARGET in name:
                site.declare_account()
            counted[name] = site.cost(arguments)
    return counted


def main() -> None:
    """Print the requests of each command by kind, and the least of those to the hub."""
    for name, cost in costs().items():
        hub, aws, target, commits, modules = cost.numbers
        least = sum(count for count, _ in LEAST[name]) if name in LEAST else "-"
        print(f"{name}: {hub} hub (least {least}), {aws} AWS, {target} target, {commits} commits, {modules} modules")
        for where in (cost.hub, cost.aws, cost.target):
            print("".join(f"    {count} {kind}\n" for kind, count in sorted(where.items())), end="")
        for count, reason in LEAST.get(name, ()):
            print(f"    needed: {count} {reason}")


if __name__ == "__main__":
    main()
