"""No value that Keyturn handles reaches Prefect, whatever happens to the run that handles it.

Every flow is run on secrets that hold canaries, past every kind of refusal, at DEBUG, in a process of its own and by
the worker, which is killed in between. Then everything that Prefect has kept, and everything that was printed, is
searched for every value that was in play. A careless flow shows first that the search finds what there is to find.
"""

import json
import secrets
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.blocks.system import Secret
from prefect.events import emit_event
from prefect.logging import get_run_logger
from pydantic import SecretStr

from local.emulators.aws import LocalAws
from local.environment import inherited
from local.leak_scan import Finding, scan
from local.pager import Pager
from local.support.ports import free_port
from local.support.process import Process
from local.support.tls import certificate_in
from tests.flows.runs import Installed
from tests.flows.site import Architect
from tests.flows.stage import Planted, Stage, canary
from tests.support.prefect_server import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

CHANNELS = ("parameter", "log", "exception", "artifact", "result", "event", "block")
VERIFIER = "SCRAM-SHA-256$"
"""How what PostgreSQL keeps of a password begins."""


@dataclass(frozen=True)
class Played:
    """How it all ended, and what was found."""

    ends: dict[str, str]
    crashed: str
    controls: set[tuple[str, str]]
    found: list[Finding]
    values: dict[str, str]
    results: list[Path]
    printed: str


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The local vault: how the catalogue names it."""
    data, port = tmp_path_factory.mktemp("azure"), free_port()
    tls = certificate_in(data / "tls")
    command = [sys.executable, "-m", "local.emulators.azure_key_vault", f"--port={port}", f"--data={data}"]
    command += [f"--cert={tls.certificate}", f"--key={tls.key}"]
    process = Process("azure", data)
    sign_in = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client", "AZURE_CLIENT_SECRET": secrets.token_hex()}
    process.start(command, ready=lambda: process.says("^ready"), environment=inherited() | sign_in)
    url = f"https://localhost:{port}"
    yield {"kind": "azure-key-vault", "vault_url": url, "authority": url, "ca_file": str(tls.authority)}
    process.stop()


@pytest.fixture(scope="module")
def played(
    installed: Installed,
    architect: Architect,
    aws: LocalAws,
    azure: dict[str, str],
    pager: Pager,
    tmp_path_factory: pytest.TempPathFactory,
) -> Played:
    """Run everything, and search."""
    lab, server, printed = architect.lab, installed.server, tmp_path_factory.mktemp("printed")
    planted, kept = Planted(lab), tmp_path_factory.mktemp("kept")
    stage = Stage.set_up(architect, planted, azure)
    try:
        crashed = stage.crash(installed, planted)
        # What follows is written to a ledger of its own, which is searched.
        lab.root.secrets.kv.v2.delete_metadata_and_all_versions("ledger", mount_point="keyturn")
        ends = stage.play(server, aws, planted, printed, kept)
    finally:
        stage.gate.close()
    planted.collect(stage.site)
    confidential(architect, aws, planted)

    controls = {channel: canary(channel) for channel in CHANNELS}
    storage = server.home / "storage"
    results = [file for file in storage.rglob("*") if file.is_file()]
    with server.in_use():
        leak(controls)
    (printed / "pager.txt").write_text("\n".join(pager.messages))

    def arrived() -> bool:
        server.write_all(printed)
        return {f.name for f in scan([printed, storage], controls)} == set(CHANNELS)

    with suppress(AssertionError):
        wait_for(arrived)
    # Once, since it takes long: all that the server has written down.
    found = scan([server.directory, printed, kept / "state"], planted.values | controls | {"a verifier": VERIFIER})
    seen = {(f.name, f.form) for f in found if f.name in controls}
    leaked = [f for f in found if f.name not in controls]
    return Played(ends, crashed, seen, leaked, planted.values, results, (printed / "err.txt").read_text())


def confidential(architect: Architect, aws: LocalAws, planted: Planted) -> None:
    """What lets Keyturn itself in: logins, admin, signing and fingerprint keys."""
    lab, parser = architect.lab, ConfigParser(interpolation=None)
    parser.read(aws.credentials)
    planted.values |= {
        "AWS key": parser["default"]["aws_secret_access_key"],
        "AppRole": (architect.directory / "secret-id").read_text(),
        "root token": lab.world.hub_token,
        "superuser": lab.world.superuser_password,
        "database admin": lab.admin()["password"].reveal(),
        "fingerprint key": lab.hub.fingerprint_keys().current.key.reveal(),
    }
    state = lab.hub.read_state("webhooks/app/flows")
    assert state is not None
    planted.values["webhook key"] = state.data["key"]


def leak(controls: dict[str, str]) -> None:
    """A flow that does everything wrong."""

    @task(persist_result=True)
    def returns() -> dict[str, str]:
        return {"password": controls["result"]}

    @flow
    def careless(value: str) -> None:
        get_run_logger().info("the password is %s", controls["log"])
        create_markdown_artifact(controls["artifact"])
        emit_event("careless", {"prefect.resource.id": "careless"}, payload={"password": controls["event"]})
        returns()
        raise ValueError(controls["exception"])

    Secret(value=SecretStr(controls["block"])).save("careless", overwrite=True, _sync=True)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="CANARY-exception"):
        careless(controls["parameter"])


@pytest.mark.parametrize("channel", CHANNELS)
def test_the_search_finds_what_a_careless_flow_leaks(played: Played, channel: str) -> None:
    form = "base64" if channel == "result" else "clear"
    assert (channel, form) in played.controls


def test_every_run_went_the_way_that_it_was_meant_to(played: Played) -> None:
    expected = {
        "alternating": "completed",
        "generated": "completed",
        "leased": "completed",
        "killed": "completed",
        "admin refused": "the admin account keyturn_admin is refused",
        "account refused": "the admin role may not do that",
        "candidate refused": "Unprivileged: ",
        "too large": "guard: push to aws:",
        "AWS refuses": "guard: find refused:",
        "Azure refuses": "guard: find azure:",
        "bad signing key": "unsigned (notify unsigned: answered 401",
        "record unreadable": "can't be read: something other than Keyturn wrote there",
        "retire": "can't be read: something other than Keyturn wrote there",
        "sync": "3 of 6 copies",
        "rotate-due": "rotate 8 of 8 secrets: ",
        "check-logins": "completed",
        "check-hub": "completed",
        "drill": "the catalogue does not say that it is there for drills",
        "doctor": "work with this installation: NOT READY as worker: ",
        "rotate-own-keys": "completed",
        "rotate-keys": "completed",
        "renew-authorities": "completed",
        "preview-revocation": "completed",
        "resume-incident": "close INC-ONE: something is left: ",
        "emergency-revoke all": "close INC-ALL: something is left: ",
        "emergency-revoke one": "close INC-ONE: something is left: prove: ",
        "emergency-revoke nothing": "nothing is chosen",
        "finish-incidents": "completed",
        "grant-access": "completed",
        "keep-ledger": "path transit/sign/keyturn-ledger",
        "backup": "the operator's file declares none",
        "restore-drill": "the operator's file declares none",
        "rehearse": "completed",
        "compliance-report": "completed",
    }
    assert {name: words for name, words in expected.items() if words not in played.ends[name]} == {}, json.dumps(
        played.ends, indent=1
    )
    assert played.crashed == "CRASHED"
    assert {name: end for name, end in played.ends.items() if name.startswith("keyturn ")} == {
        "keyturn rotate generated": "0",
        "keyturn rotate admin refused": "1",
        "keyturn rotate record unreadable": "1",
        "keyturn rotate Azure refuses": "1",
        "keyturn sync": "3",
        "keyturn retire": "0",
        "keyturn history": "0",
        "keyturn revoke": "1",
        "keyturn whois": "1",
        "keyturn incidents": "0",
        # No notary is at work here: nothing vouches for the ledger.
        "keyturn ledger verify": "1",
        "keyturn ledger export": "0",
        "keyturn ledger show": "0",
    }


def test_no_run_leaves_a_result_nor_tries_to(played: Played) -> None:
    assert played.results == []
    assert "Failed to write result" not in played.printed


def test_no_value_reaches_prefect_nor_is_printed(played: Played) -> None:
    assert len(played.values) > 60
    assert played.found == []
