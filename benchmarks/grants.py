"""How fast temporary access is given and swept, compared with bare reads of the same entries of the hub.

    python benchmarks/grants.py [--grants 500]

Against the real OpenBao and PostgreSQL: requests of fifty people, each approved by a signature, are given in parallel,
and all grants are swept three times. The third is timed, with nothing cached but what had ended. Then one request is
approved while the part of `keyturn serve` is running, five times: from the approval until the requester holds the
credential.
"""

import argparse
import base64
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

import hvac

from keyturn.catalogue import Catalogue
from keyturn.catalogue.operator.approvals import ApprovalSettings, ApproverSettings
from keyturn.client.clock import elapsed
from keyturn.grants.access_request import AccessRequest
from keyturn.grants.delivery import deliver_request
from keyturn.grants.opening import open_access
from keyturn.grants.requests import Approval
from keyturn.grants.sweep import AT_ONCE, Sweeper
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.serving.grants_part import GrantsPart
from keyturn.serving.parts import GRANTING, Tenure
from keyturn.serving.site import Site
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.wiring.registry import open_workspace
from local.openbao import OpenBao
from local.postgres import PostgreSQL
from local.prepare import CONNECTION, DATABASE, READER, Hub, accounts_of_role, prepare
from local.support.files import write_private
from local.support.ports import free_port

PEOPLE: Final = 50
PATH: Final = "ml-training/database"
APPROVERS: Final = ("ana", "bea")
"""Two, since the requesters log in as programs do, and so do not say which person asks."""
TIMES: Final = 5
LONG: Final = 3600.0
"""Seconds; the tenure of a measurement is not renewed."""
"""How often one request is followed from its approval."""


@dataclass
class Bench:
    """A site, and a maker of approved requests."""

    hub: OpenBao
    root: hvac.Client
    workspace: Workspace
    people: list[str]
    directory: Path

    def request(self, number: int, entity: str = "", approved: bool = True) -> AccessRequest:
        """A request, written to the hub as its requester would."""
        workspace, now = self.workspace, self.workspace.hub_now()
        policy = workspace.catalogue.access_policies["readers"]
        made = AccessRequest(
            f"AR-{number:012x}",
            PATH,
            3600,
            "a query hangs",
            "",
            "readers",
            policy.digest,
            len(APPROVERS),
            entity or self.people[number % PEOPLE],
            "somebody",
            now.isoformat(),
            (now + timedelta(minutes=55)).isoformat(),
            f"{number:x}",
        )
        made = self.approve(made) if approved else made
        self.write(made)
        return made

    def approve(self, request: AccessRequest) -> AccessRequest:
        """The same with a signature of each approver."""
        approvals = []
        for name in APPROVERS:
            signer = self.workspace.hub.signer(self.workspace.approvals.approvers[name].key)
            signature = base64.b64encode(signer.sign(request.message)).decode()
            approvals.append(Approval(name, request.asked_at, signature))
        return replace(request, approvals=tuple(approvals))

    def write(self, request: AccessRequest) -> None:
        """Write it to the hub."""
        state = self.workspace.hub.read_state(request.place)
        data = {"request": json.dumps(asdict(request))}
        self.workspace.hub.write_state(request.place, data, cas=state.version if state else 0)

    def login(self, policies: list[str]) -> tuple[str, str]:
        """A new entity with a login, and one of its tokens."""
        name = f"person-{time.monotonic_ns()}"
        self.root.auth.approle.create_or_update_approle(name, token_policies=policies)
        role = self.root.auth.approle.read_role_id(name)["data"]["role_id"]
        secret = self.root.auth.approle.generate_secret_id(name)["data"]["secret_id"]
        answer = self.root.auth.approle.login(role, secret, use_token=False)["auth"]
        return str(answer["entity_id"]), str(answer["client_token"])

    @contextmanager
    def acting(self, token: str) -> Iterator[Workspace]:
        """The workspace with this login."""
        file = self.directory / f"token-{time.monotonic_ns()}"
        write_private(file, token)
        with closing(VaultHub(HubSettings(self.hub.address, login=TokenLogin(file=str(file))))) as hub:
            yield replace(self.workspace, hub=hub)


@contextmanager
def opened() -> Iterator[Bench]:
    """A hub and a database, and a catalogue with one secret and one policy."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["KEYTURN_LEDGER"] = str(directory / "ledger.db")
        database = stack.enter_context(PostgreSQL(directory / "postgres", free_port()))
        server = stack.enter_context(OpenBao(directory / "openbao", free_port(), dev=True))
        prepare(Hub(server.address, server.root_token), database.host, database.port, database.superuser_password, ())
        root = hvac.Client(url=server.address, token=server.root_token)
        approvers = {name: approver(root, name) for name in APPROVERS}
        write_private(directory / "root", server.root_token)
        hub = stack.enter_context(
            closing(VaultHub(HubSettings(server.address, login=TokenLogin(file=str(directory / "root")))))
        )
        people = [
            root.secrets.identity.create_or_update_entity(name=f"e{number}")["data"]["id"] for number in range(PEOPLE)
        ]
        bench = Bench(
            server, root, open_workspace(catalogue_of(people, database.host, database.port), hub), people, directory
        )
        own, token = bench.login(["keyturn-requester"])
        bench.requester = token  # type: ignore[attr-defined]
        settings = ApprovalSettings(approvers=approvers)
        declared = catalogue_of([*people, own], database.host, database.port)
        bench.workspace = replace(open_workspace(declared, hub), approvals=settings)
        bench.people.append(own)
        yield bench


def approver(root: hvac.Client, name: str) -> ApproverSettings:
    """An approver with a key in the hub."""
    key = f"keyturn-approver-{name}"
    root.secrets.transit.create_key(key, key_type="ed25519")
    public = root.secrets.transit.read_key(key)["data"]["keys"]["1"]["public_key"]
    return ApproverSettings(entity=f"e-{name}", key=key, public_key=public)


def catalogue_of(people: list[str], host: str, port: int) -> Catalogue:
    """One secret, and the policy for access to it."""
    user = {"strategy": "single-user", "user": "app", "accepts_gap": True, "target": "pg"}
    rotation = {**user, "interval": "30d", "grace": "1h"}
    target = {"kind": "postgresql", "host": host, "port": port, "database": DATABASE, "admin": "targets/pg"}
    role = accounts_of_role().model_dump(mode="json", exclude_none=True)
    hub = {CONNECTION: {"kind": "database", "target": "pg"}, READER: role}
    secret = {"path": PATH, "owner": "a@example.com", "classification": "internal", "rotation": rotation}
    policy: dict[str, Any] = {
        "paths": ["**"],
        "subjects": {"entities": people},
        "credential": f"database/creds/{READER}",
        "approvers": list(APPROVERS),
        "conditions": {"incident": "none"},
    }
    declared = {"targets": {"pg": target}, "hub": hub, "secrets": {PATH: secret}}
    return Catalogue.model_validate({**declared, "access_policies": {"readers": policy}})


def timed(work: Any) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def bare_reads(bench: Bench, places: list[str]) -> None:
    """Each entry once, by the SDK alone."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda place: bench.root.read(f"keyturn/data/{place}"), places))


def from_approval(bench: Bench, number: int) -> float:
    """Seconds from an approval until the requester has the credential."""
    request = bench.request(number, bench.people[-1], approved=False)
    time.sleep(1.5)
    signed = bench.approve(request)
    with bench.acting(bench.requester) as workspace:  # type: ignore[attr-defined]
        bench.write(signed)
        return timed(lambda: open_access(workspace, request.id))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grants", type=int, default=500)
    options = parser.parse_args()
    with opened() as bench:
        workspace = bench.workspace
        requests = side_by_side(bench.request, range(options.grants), AT_ONCE)
        seconds = timed(lambda: side_by_side(partial(deliver_request, workspace), requests, 8))
        print(f"{options.grants} requests are given in {seconds:.2f} s, {1000 * seconds / options.grants:.1f} ms each")
        sweeper = Sweeper()
        times = [timed(lambda: sweeper.sweep(workspace)) for _ in range(3)]
        bare = timed(lambda: bare_reads(bench, [request.place for request in requests]))
        print(f"a sweep of {options.grants} that are given takes {times[-1]:.2f} s, a bare read of each {bare:.2f} s")
        print(
            f"the ratio is {times[-1] / bare:.1f}, for a look at each grant and its request, signatures and conditions"
        )
        waits = deliveries(bench, options.grants)
        print(
            f"from the approval to the credential: median {statistics.median(waits):.2f} s, longest {max(waits):.2f} s"
        )


def deliveries(bench: Bench, first: int) -> list[float]:
    """From the approval to the credential, with the part running."""
    nothing: Any = None
    part = GrantsPart(Site(lambda: bench.workspace, nothing, lambda line: None, nothing, bench.directory))
    tenure = Tenure(GRANTING, 1, elapsed, lambda: None)
    thread = threading.Thread(target=part.run, args=(tenure,))
    thread.start()
    try:
        waits = []
        for number in range(TIMES):
            tenure.renewed(elapsed() + LONG)
            waits.append(from_approval(bench, first + number))
        return waits
    finally:
        tenure.ended.set()
        thread.join()


if __name__ == "__main__":
    main()
