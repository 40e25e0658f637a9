"""What each command costs in requests and imported modules.

    python benchmarks/request_counts.py

Counts depend on no clock, so ``tests/benchmarks/test_request_counts.py`` pins them. The site has three secrets with two
copies each in Secrets Manager, an OpenBao in memory and a local AWS. Requests to the hub are counted in its audit log,
those to AWS by a proxy, and modules in the process itself (all but the standard library's).
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
}
"""In this order; each finds what the previous one left."""
WRAPPER: Final = """
import atexit, sys
sys.argv = ["keyturn", *sys.argv[1:]]
import keyturn.cli
atexit.register(lambda: open("modules", "w").write("\\n".join(sys.modules)))
keyturn.cli.main()
"""


@dataclass(frozen=True)
class Cost:
    """Requests by kind, such as ``read secret/data`` or ``PutSecretValue``, and how many modules were imported."""

    hub: Counter[str]
    aws: Counter[str]
    modules: int


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

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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
    environment: dict[str, str]

    def cost(self, arguments: Sequence[str]) -> Cost:
        """Run one command. Raises RuntimeError with its last words if it fails."""
        before = self.hub.audit_log.stat().st_size
        self.proxy.calls.clear()
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
        modules = (self.directory / "modules").read_text().split()
        foreign = [name for name in modules if name.partition(".")[0] not in sys.stdlib_module_names]
        return Cost(hub, Counter(self.proxy.calls), len(foreign))


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
        proxy = CountingProxy(aws.port)
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
        yield Site(directory, hub, proxy, {**kept, **own})


def catalogue(address: str) -> dict[str, Any]:
    rotation = {"strategy": "generated", "interval": "30d", "grace": "1h"}
    stores = {region: {"kind": "aws-secrets-manager", "region": region, "endpoint_url": address} for region in REGIONS}
    secret = {"owner": "apps@example.com", "classification": "internal", "rotation": rotation}
    copies = {path: [{"store": region, "name": path} for region in REGIONS] for path in PATHS}
    return {"stores": stores, "secrets": {path: {**secret, "destinations": copies[path]} for path in PATHS}}


def costs() -> dict[str, Cost]:
    """What each of COMMANDS costs."""
    with new_site() as site:
        return {name: site.cost(arguments) for name, arguments in COMMANDS.items()}


def main() -> None:
    """Print a table: the requests of each command by kind."""
    for name, cost in costs().items():
        print(f"{name}: {cost.hub.total()} hub, {cost.aws.total()} AWS, {cost.modules} modules")
        for where in (cost.hub, cost.aws):
            print("".join(f"    {count} {kind}\n" for kind, count in sorted(where.items())), end="")


if __name__ == "__main__":
    main()
