"""`keyturn ledger verify --witnesses`, over witnesses that serve, and `keyturn ledger witness` as a process."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from keyturn.ledger.signed_notes import PublicKey
from local.support.ports import free_port
from tests.cli.command import SCRIPT, surroundings
from tests.cli.test_ledger import Office, data, keyturn, office, said
from tests.ledger.entries import entry
from tests.wall.witnesses import Running, witness

__all__ = ["office"]


@pytest.fixture
def witnesses(office: Office, tmp_path: Path) -> Iterator[list[Running]]:
    """Two, who have cosigned the ledger's checkpoint of five entries."""
    key = PublicKey.parse(office.key())
    with ExitStack() as stack:
        running = [stack.enter_context(witness(tmp_path / name, name, key)) for name in ("north", "south")]
        office.monkeypatch.setenv("KEYTURN_LEDGER_WITNESSES", ",".join(f"{one.key} {one.url}" for one in running))
        office.signed(5)
        yield running


def test_a_checkpoint_that_enough_witnesses_have_cosigned_is_whole(office: Office, witnesses: list[Running]) -> None:
    result = keyturn("verify", "--witnesses", "2")
    assert said(result)["witnesses"].startswith("2 have cosigned it")
    assert data("verify", "--witnesses", "2")["whole"]


def test_more_than_are_known_is_wrong_usage(office: Office, witnesses: list[Running]) -> None:
    assert "3 witnesses are wanted, and 2 are known" in keyturn("verify", "--witnesses", "3", code=2).stderr


def test_what_too_few_have_cosigned_is_not_whole(office: Office, witnesses: list[Running], tmp_path: Path) -> None:
    with witness(tmp_path / "late", "late", PublicKey.parse(office.key())) as late:
        believed = [option for one in (*witnesses, late) for option in ("--witness", str(one.key))]
        assert said(keyturn("verify", *believed, "--witnesses", "2"))["whole"] == "yes"
        result = keyturn("verify", *believed, code=1)
    assert said(result)["whole"] == "no"


def test_a_ledger_that_was_put_back_is_found_by_what_a_witness_has_seen(
    office: Office, witnesses: list[Running], tmp_path: Path
) -> None:
    key, earlier = office.key(), office.file.read_bytes()
    office.write(entry(6), entry(7))
    keyturn("checkpoint")
    office.file.write_bytes(earlier)
    for side in ("-wal", "-shm"):
        office.file.with_name(office.file.name + side).unlink(missing_ok=True)
    office.without_a_hub()
    result = keyturn("verify", "--public-key", key, "--witnesses", "2", code=1)
    assert said(result)["whole"] == "no"
    assert "7" in said(result)["problem"]


def test_a_witness_as_a_process_says_its_key_and_ends_when_it_is_told_to(office: Office, tmp_path: Path) -> None:
    ledgers, public = tmp_path / "ledgers", tmp_path / "public"
    ledgers.write_text(f"{office.key()}\n")
    arguments = [
        "ledger",
        "witness",
        str(tmp_path / "own"),
        "--name=north",
        f"--ledgers={ledgers}",
        f"--port={free_port()}",
    ]
    process = subprocess.Popen(
        [*SCRIPT, *arguments, f"--public-key-file={public}"],
        env=surroundings(tmp_path / "home"),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    ready = next((line for line in process.stderr if line.startswith("ready: ")), "")
    process.send_signal(signal.SIGTERM)
    _, left = process.communicate(timeout=30)
    assert (process.returncode, left) == (0, "")
    assert ready.startswith("ready: 127.0.0.1:")
    assert public.read_text().strip() in ready
    assert public.read_text().startswith("north+")
