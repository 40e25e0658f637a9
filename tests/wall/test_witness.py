"""A witness cosigns only consistent histories; a faulty witness stops nothing."""

import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keyturn.core.errors import Invalid, KeyturnError, Locked
from keyturn.ledger.checkpointer import sign_checkpoint
from keyturn.ledger.checkpoints import Checkpoint, read_checkpoint
from keyturn.ledger.merkle import consistency_proof, leaf_hashes, tree_root
from keyturn.ledger.signed_notes import PublicKey
from keyturn.ledger.storage.tiles import grown, nodes_of
from keyturn.ledger.witness.cosignatures import WitnessKey, add_cosignatures, cosign, valid_cosignatures
from keyturn.ledger.witness.cosigner import REQUEST_LIMIT, Seen, Witness, build_request
from keyturn.ledger.witness.requests import Witnesses
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.ledger.http_witness import HttpWitness, configured_witnesses
from keyturn.providers.ledger.sqlite import SqliteLedger
from keyturn.providers.ledger.witness_files import StateFile, WitnessSigner
from keyturn.providers.ledger.witness_server import opened_witness
from local.support.ports import LOOPBACK, free_port
from tests.ledger.entries import entries
from tests.ledger.keys import ORIGIN, Key, Memory
from tests.wall.witnesses import witness

pytestmark = pytest.mark.sampled(3, of="file")

NAME = "witness.example/w1"
WORST = b"HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n"


class Tree:
    """Leaves of a history, and checkpoints of its beginnings."""

    def __init__(self, key: Key, word: bytes = b"leaf", size: int = 40) -> None:
        self._key = key
        self._nodes = nodes_of(lambda level, number: tiles.get((level, number), b""))
        tiles = grown(lambda level, number: b"", 0, leaf_hashes(word + b"%d" % number for number in range(size)))

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(ORIGIN, size, tree_root(self._nodes, size), datetime.now(UTC)).sign(self._key)

    def request(self, old: int, size: int) -> bytes:
        return build_request(old, consistency_proof(self._nodes, old, size), self.checkpoint(size).note)


@pytest.fixture
def key() -> Key:
    return Key()


@pytest.fixture
def seen(tmp_path: Path, key: Key) -> Iterator[tuple[Witness, Tree]]:
    """A witness that has cosigned ten entries, and their history."""
    (tmp_path / "ledgers").write_text(f"{key.public()}\n")
    opened, tree = opened_witness(tmp_path, NAME, tmp_path / "ledgers"), Tree(key)
    assert opened.add_checkpoint(tree.request(0, 10)).status == 200
    yield opened, tree
    assert isinstance(opened.state, StateFile)
    opened.state.close()


def test_a_consistent_history_is_cosigned_and_verifies_with_its_key_alone(seen: tuple[Witness, Tree], key: Key) -> None:
    opened, tree = seen
    for old, size in ((10, 10), (10, 25), (25, 40)):
        request = tree.request(old, size)
        note, answer = request.decode().partition("\n\n")[2], opened.add_checkpoint(request)
        assert answer.status == 200
        (valid,) = valid_cosignatures(note + answer.body, [opened.key], verify_ed25519, datetime.now(UTC))
        assert abs((datetime.now(UTC) - valid.time).total_seconds()) < 60
        assert not valid_cosignatures(
            note + answer.body, [WitnessKey(NAME, Key().public_key())], verify_ed25519, valid.time
        )
    assert opened.state.read(ORIGIN).size == 40


def test_a_cosignature_matches_the_specification() -> None:
    """Source: the key id and the signed message as C2SP's tlog-cosignature tells them."""
    import base64
    import hashlib

    signer, text = Key(), "keyturn/tests\n3\nxN2m9JI3CAOG5M9/aQEu5/munrh9j+46/wf5i0ur+d4=\n"
    public = WitnessKey(NAME, signer.public_key())
    line = cosign(f"{text}\n— {ORIGIN} AAAAAAAA\n", public, signer, datetime.fromtimestamp(1679315147, UTC))
    decoded = base64.b64decode(line.split(" ")[2])
    assert decoded[:4] == hashlib.sha256(NAME.encode() + b"\n\x04" + public.key).digest()[:4]
    assert int.from_bytes(decoded[4:12], "big") == 1679315147
    assert verify_ed25519(public.key, f"cosignature/v1\ntime 1679315147\n{text}".encode(), decoded[12:])


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda key, tree: Tree(key, b"other").request(10, 25), 422),
        (lambda key, tree: tree.request(10, 25).replace(b"old 10", b"old 10\n" + b"A" * 43 + b"="), 422),
        (lambda key, tree: Tree(key, b"other").request(10, 10), 409),
        (lambda key, tree: tree.request(5, 25), 409),
        (lambda key, tree: tree.request(0, 25), 409),
        (lambda key, tree: tree.request(0, 5), 409),
        (lambda key, tree: tree.request(25, 40), 409),
        (lambda key, tree: Tree(Key()).request(10, 25), 403),
        (lambda key, tree: tree.request(10, 25).replace(ORIGIN.encode(), b"keyturn/else"), 404),
        (lambda key, tree: tree.request(10, 25).replace(b"old 10", b"old 26"), 400),
        (lambda key, tree: tree.request(10, 25).replace(b"old 10", b"old 010"), 400),
        (lambda key, tree: tree.request(10, 25).replace(b"old 10", b"old -10"), 400),
        (lambda key, tree: tree.request(10, 25).replace(b"old 10", b"old 10" + 64 * (b"\n" + b"A" * 43 + b"=")), 400),
        (lambda key, tree: b"", 400),
        (lambda key, tree: b"\xff\xfe", 400),
        (lambda key, tree: b"old 10\n\n" + b"x" * REQUEST_LIMIT, 400),
    ],
)  # fmt: skip
def test_an_inconsistent_history_is_not_cosigned(
    seen: tuple[Witness, Tree], key: Key, change: Callable[[Key, Tree], bytes], status: int
) -> None:
    opened, tree = seen
    answer = opened.add_checkpoint(change(key, tree))
    assert answer.status == status
    assert "—" not in answer.body
    assert opened.state.read(ORIGIN).size == 10
    if status == 409:
        assert (answer.body, answer.content_type) == ("10\n", "text/x.tlog.size")


def test_its_state_is_on_disk_before_it_answers_and_survives_a_crash(
    seen: tuple[Witness, Tree], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, tree = seen
    assert json.loads((tmp_path / "witness.json").read_text())[ORIGIN]["size"] == 10

    def full(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(OSError, match="no space left"):
            opened.add_checkpoint(tree.request(10, 25))
    assert opened.state.read(ORIGIN).size == 10
    assert isinstance(opened.state, StateFile)
    opened.state.write(ORIGIN, Seen(11, b"x" * 32))
    with pytest.raises(Locked, match="another witness has it"):
        StateFile(tmp_path / "witness.json")
    opened.state.close()
    again = StateFile(tmp_path / "witness.json")
    assert again.read(ORIGIN) == Seen(11, b"x" * 32)
    opened.__dict__["state"] = again


@pytest.mark.parametrize("lost", ["witness.json", "witness.key"])
def test_a_witness_that_lost_its_memory_or_its_key_does_not_start(tmp_path: Path, lost: str) -> None:
    with witness(tmp_path / "w", NAME):
        pass
    (tmp_path / "w" / lost).unlink()
    with pytest.raises(Invalid, match="it is gone"):
        opened_witness(tmp_path / "w", NAME, tmp_path / "none")
    (tmp_path / "w" / lost).write_text("{")
    with pytest.raises(Invalid, match=r"can't be read|no witness's key"):
        opened_witness(tmp_path / "w", NAME, tmp_path / "none")


def test_its_files_are_for_its_owner_alone(tmp_path: Path) -> None:
    with witness(tmp_path / "w", NAME) as running:
        assert {file.name: oct(file.stat().st_mode & 0o777) for file in running.directory.glob("witness.*")} == {
            "witness.key": "0o600",
            "witness.json": "0o600",
            "witness.json.lock": "0o600",
        }
        assert WitnessSigner.read(tmp_path / "w" / "witness.key").key == running.key
    with pytest.raises(Invalid, match="it is the key of"):
        opened_witness(tmp_path / "w", "another.name", tmp_path / "none")


# --- a ledger that asks them


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    with closing(SqliteLedger(tmp_path / "ledger.db", ORIGIN, patience=5)) as made:
        yield made


def sign(ledger: SqliteLedger, key: Key, kept: Memory, *ports: HttpWitness) -> tuple[Checkpoint, Witnesses]:
    """A checkpoint, and what the witnesses said."""
    asked = Witnesses(ports, verify_ed25519)
    made = sign_checkpoint(ledger, key, kept, lambda: datetime.now(UTC), verify_ed25519, witnesses=asked)
    assert made
    return made, asked


def test_a_returning_witness_catches_up(tmp_path: Path, ledger: SqliteLedger, key: Key) -> None:
    kept = Memory()
    with witness(tmp_path / "w1", NAME, key.public()) as running:
        first, second = (
            running.port(),
            HttpWitness(WitnessKey("w2", Key().public_key()), f"http://{LOOPBACK}:{free_port()}"),
        )
        for sizes in range(3):
            ledger.append(entries(7, 7 * sizes + 1))
            # Every second checkpoint is made while it is away.
            made, asked = sign(ledger, key, kept, *([first] if sizes != 1 else [second]))
            valid = valid_cosignatures(made.note, [running.key], verify_ed25519, datetime.now(UTC))
            assert len(valid) == (0 if sizes == 1 else 1)
            assert [bool(outcome.error) for outcome in asked.outcomes] == [sizes == 1]
    assert read_checkpoint(ledger.newest()).size == 21
    assert kept.note == ledger.newest()


def test_a_witness_of_another_history_objects_and_the_checkpoint_is_still_made(
    tmp_path: Path, ledger: SqliteLedger, key: Key
) -> None:
    with witness(tmp_path / "w1", NAME, key.public()) as running:
        running.port().add_checkpoint(0, (), Tree(key).checkpoint(5).note)
        ledger.append(entries(9))
        made, asked = sign(ledger, key, Memory(), running.port())
        assert "another history of this ledger" in str(asked.outcomes[0].error)
        other = Tree(key, b"other")
        with pytest.raises(KeyturnError):
            running.port().add_checkpoint(5, (), other.checkpoint(5).note)
    assert made.note == ledger.newest()
    assert "— " + NAME not in made.note


@contextmanager
def rogue(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Somebody in a witness's place."""
    with closing(socket.create_server((LOOPBACK, 0))) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=talk, args=(connection,), daemon=True).start()

        def talk(connection: socket.socket) -> None:
            with closing(connection), suppress(OSError):
                connection.settimeout(5)
                connection.recv(65536)
                answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://{LOOPBACK}:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def drip(connection: socket.socket) -> None:
    """A byte now and then, for as long as somebody listens."""
    connection.sendall(WORST)
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def answered(status: str, body: str = "", *headers: str) -> Callable[[socket.socket], None]:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body.encode())}", *headers, "", body]
    return lambda connection: connection.sendall("\r\n".join(lines).encode())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (drip, "no answer|cut off|longer than"),
        (lambda connection: None, "it does not answer"),
        (lambda connection: connection.sendall(WORST + b"x" * 9999), "longer than any cosignature"),
        (answered("307 Temporary Redirect", "", "location: http://127.0.0.1:1/"), "a redirect, which is not followed"),
        (answered("409 Conflict", "many\n", "content-type: text/x.tlog.size"), "can't be read"),
        (answered("409 Conflict", "9" * 5000 + "\n", "content-type: text/x.tlog.size"), "longer than|can't be read"),
        (answered("409 Conflict", "900\n", "content-type: text/x.tlog.size"), "has cosigned 900 entries"),
        (answered("200 OK", "— w AAAA\n"), "no cosignature by its key"),
        (answered("200 OK", "nonsense"), "no cosignature by its key"),
        (answered("200 OK", f"— {ORIGIN} {'A' * 100}\n\nanother note\n"), "no cosignature by its key"),
        (answered("503 Unavailable"), "answered 503"),
        (answered("404 Not Found"), "does not know the ledger"),
    ],
)  # fmt: skip
def test_a_slow_redirecting_or_lying_witness_stops_nothing(
    tmp_path: Path, ledger: SqliteLedger, key: Key, answer: Callable[[socket.socket], None], words: str
) -> None:
    ledger.append(entries(3))
    with rogue(answer) as url, witness(tmp_path / "w1", NAME, key.public()) as running:
        liar = HttpWitness(WitnessKey("liar.example/w", Key().public_key()), url, deadline=1)
        made, asked = sign(ledger, key, Memory(), liar, running.port())
    assert re.search(words, str(asked.outcomes[0].error))
    assert asked.outcomes[1].error is None
    assert len(valid_cosignatures(made.note, [running.key], verify_ed25519, datetime.now(UTC))) == 1


def test_a_silent_or_oversized_caller_delays_no_others(tmp_path: Path, key: Key) -> None:
    with witness(tmp_path / "w1", NAME, key.public()) as running:
        port = int(running.url.rpartition(":")[2])
        silent = [socket.create_connection((LOOPBACK, port)) for _ in range(5)]
        for length in (b"9" * 5000, b"-1", b"999999999"):
            with closing(socket.create_connection((LOOPBACK, port))) as greedy:
                greedy.sendall(b"POST /add-checkpoint HTTP/1.1\r\ncontent-length: " + length + b"\r\n\r\n")
                assert b" 413 " in greedy.recv(4096)
        assert running.port().add_checkpoint(0, (), Tree(key).checkpoint(5).note)
        for connection in silent:
            connection.close()


def test_foreign_duplicate_and_future_cosignatures_are_ignored(key: Key) -> None:
    signer, stranger, now = Key(), Key(), datetime.now(UTC)
    believed = WitnessKey(NAME, signer.public_key())
    note = Tree(key).checkpoint(5).note
    lines = [
        cosign(note, believed, stranger, now),
        cosign(note, WitnessKey(NAME, stranger.public_key()), stranger, now),
        cosign(note, believed, signer, now.replace(year=now.year + 1)),
        cosign(Tree(key).checkpoint(6).note, believed, signer, now),
    ]
    assert not valid_cosignatures("".join([note, *lines]), [believed], verify_ed25519, now)
    assert add_cosignatures(note, lines, [believed], verify_ed25519, now) == note
    true = cosign(note, believed, signer, now)
    assert len(valid_cosignatures(note + true + true, [believed], verify_ed25519, now)) == 1
    assert len(valid_cosignatures(note + true, [believed, replace(believed)], verify_ed25519, now)) == 1


@pytest.mark.parametrize(
    "text",
    ["KEY", "{key}", "{key} ftp://host", "{key} http://10.0.0.1:1", "{key} http://127.0.0.1:1, {key} http://127.0.0.1:2",
     "{ledger} http://127.0.0.1:1"],
)  # fmt: skip
def test_an_invalid_witness_setting_is_refused(text: str) -> None:
    key = WitnessKey(NAME, Key().public_key())
    spelled = text.format(key=key, ledger=PublicKey(ORIGIN, Key().public_key()))
    with pytest.raises(Invalid):
        configured_witnesses({"KEYTURN_LEDGER_WITNESSES": spelled})
    assert configured_witnesses({}) == []
