"""`keyturn ledger` as an auditor, an on-call operator and an attacker use it."""

import base64
import dataclasses
import json
import os
import shutil
import sqlite3
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.cli.ledger.sources import trust
from keyturn.core.errors import Invalid
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.ledger.entries import leaf, parse_leaf
from keyturn.providers.ledger.address import open_ledger
from local.environment import ledger as stack_ledger
from local.home import Stack
from tests.cli.command import SCRIPT, WIDTH, fits, run_keyturn, surroundings
from tests.ledger.entries import entries, entry
from tests.ledger.keys import Key
from tests.support.lab import Lab, fresh
from tests.support.world import World

pytestmark = pytest.mark.sampled(3, of="file")


runner = CliRunner()


def keyturn(*arguments: str, code: int = 0) -> Result:
    """Run one command in this process, which ends with ``code``."""
    result = runner.invoke(app, ["ledger", *arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


@dataclass
class Office:
    """A ledger at ``file``, and the hub that signs for it."""

    file: Path
    name: str
    monkeypatch: pytest.MonkeyPatch

    def write(self, *written: Entry) -> None:
        opened = open_ledger(str(self.file), origin=f"keyturn/{self.name}")
        opened.append(written)
        opened.close()

    def signed(self, count: int = 5) -> str:
        """So many entries under a checkpoint; its note."""
        self.write(*entries(count))
        return keyturn("checkpoint").stdout

    def key(self) -> str:
        return keyturn("key").stdout.strip()

    def without_a_hub(self) -> None:
        """From here on nobody can be asked."""
        for name in ("VAULT_ADDR", "VAULT_TOKEN"):
            self.monkeypatch.delenv(name)

    def tamper(self, *statements: str, file: Path | None = None) -> None:
        """As whoever may write to the file can."""
        connection = sqlite3.connect(file or self.file)
        with connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()


@pytest.fixture
def office(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    office = Office(tmp_path / "ledger" / "ledger.db", fresh(), monkeypatch)
    given = {
        "KEYTURN_HOME": str(tmp_path / "no-stack"),
        "KEYTURN_LEDGER": str(office.file),
        "KEYTURN_LEDGER_NAME": office.name,
        "COLUMNS": str(WIDTH),
        "VAULT_ADDR": world.hub_address,
        "VAULT_TOKEN": world.hub_token,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return office


def said(result: Result) -> dict[str, str]:
    """The table of a verification, by its first column; folded lines are joined."""
    told: dict[str, str] = {}
    name = ""
    for line in result.stdout.splitlines()[2:]:
        name = line[:13].strip() or name
        told[name] = f"{told.get(name, '')} {line[13:].strip()}".strip()
    return told


def data(*arguments: str, code: int = 0) -> Any:
    return json.loads(keyturn(*arguments, "--json", code=code).stdout)


# --- verify


def test_a_whole_ledger_is_whole_and_how_much_of_it_is_vouched_for_is_told(office: Office) -> None:
    office.signed(5)
    office.write(entry(6), entry(7))
    result = keyturn("verify")
    told = said(result)
    assert told["name"] == f"keyturn/{office.name}"
    assert told["entries"] == "7"
    assert told["vouched for"].startswith("5 by the checkpoint of 2")
    assert told["vouched for"].endswith((" ago", "just now"))
    assert (told["since then"], told["compared"], told["whole"]) == ("2", "with 2 checkpoints", "yes")
    assert "2 of the entries came after the newest checkpoint: nothing vouches for them yet" in result.stderr
    assert "the hub has the key and the newest checkpoint" in result.stderr

    seen = data("verify")
    assert {key: seen[key] for key in ("ledger", "whole", "entries", "vouched", "problems")} == {
        "ledger": f"keyturn/{office.name}",
        "whole": True,
        "entries": 7,
        "vouched": 5,
        "problems": [],
    }
    assert seen["newest"]["size"] == 5
    assert seen["newest"]["age_seconds"] >= 0


def test_with_a_public_key_no_hub_is_needed(office: Office, tmp_path: Path) -> None:
    office.signed()
    key = office.key()
    file = tmp_path / "ledger.key"
    file.write_text(f"{key}\n")
    office.without_a_hub()
    for option in (["--public-key", key], ["--public-key-file", str(file)]):
        result = keyturn("verify", *option)
        assert said(result)["whole"] == "yes"
        assert result.stderr == ""
    assert "Give --public-key-file FILE, or set VAULT_ADDR" in keyturn("verify", code=1).stderr


def test_a_key_that_signed_none_of_it_vouches_for_nothing(office: Office) -> None:
    office.signed()
    office.without_a_hub()
    stranger = str(Key().public(f"keyturn/{office.name}"))
    result = keyturn("verify", "--public-key", stranger, code=1)
    assert said(result)["whole"] == "no"
    assert "error: verify" in result.stderr
    assert data("verify", "--public-key", stranger, code=1)["vouched"] == 0


@pytest.mark.parametrize(
    ("statement", "words", "first"),
    [
        ("UPDATE entries SET entry = replace(entry, 'on-call', 'nobody!') WHERE sequence = 3", "entry 3 ", 3),
        ("DELETE FROM entries WHERE sequence = 3", "entry 3 ", 3),
        ("DELETE FROM entries WHERE sequence = 5", "entry 5 is missing", 5),
        ("DELETE FROM entries", "the entries 1 to 5 are missing", 1),
    ],
)
def test_the_first_bad_entry_is_named_with_and_without_a_hub(
    office: Office, statement: str, words: str, first: int
) -> None:
    office.signed(5)
    key = office.key()
    office.tamper(statement)
    result = keyturn("verify", code=1)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: verify keyturn/{office.name}: ")
    assert words in line
    assert "remedy: Keep it as it is" in result.stderr
    assert said(result)["whole"] == "no"
    (problem, *_) = data("verify", code=1)["problems"]
    assert (problem["first"], problem["last"]) == (first, first)
    office.without_a_hub()
    assert words in keyturn("verify", "--public-key", key, code=1).stderr


def test_a_ledger_that_was_put_back_is_found_by_the_hubs_checkpoint_or_by_one_that_was_kept(
    office: Office, tmp_path: Path
) -> None:
    office.signed(5)
    key = office.key()
    earlier = tmp_path / "earlier.db"
    with sqlite3.connect(office.file) as source, sqlite3.connect(earlier) as copy:
        source.backup(copy)
    source.close()
    copy.close()
    office.write(entry(6))
    kept = tmp_path / "kept.note"
    kept.write_text(keyturn("checkpoint").stdout)
    for file in office.file.parent.iterdir():
        file.unlink()
    shutil.copy(earlier, office.file)

    assert "entry 6 is missing" in keyturn("verify", code=1).stderr
    told = keyturn("verify", "--public-key", key)
    assert said(told)["whole"] == "yes", "nobody could know without a checkpoint from elsewhere"
    assert "entry 6 is missing" in keyturn("verify", "--public-key", key, "--known", str(kept), code=1).stderr
    refused = keyturn("checkpoint", code=1)
    assert "it has 5 entries, and the checkpoint" in refused.stderr
    assert refused.stdout == ""


def test_without_a_checkpoint_nothing_is_vouched_for(office: Office) -> None:
    office.write(*entries(2))
    key = office.key()
    for option in ([], ["--public-key", key]):
        result = keyturn("verify", *option, code=1)
        assert "no checkpoint vouches for any entry" in result.stderr
        assert "remedy: Make one: keyturn ledger checkpoint" in result.stderr
        assert said(result)["whole"] == "no"


def test_a_copy_of_the_file_is_verified_as_it_is_and_is_not_written_to(office: Office, tmp_path: Path) -> None:
    office.signed(4)
    key = office.key()
    place = tmp_path / "evidence"
    place.mkdir()
    copy = place / "copy.db"
    with sqlite3.connect(office.file) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    source.close()
    target.close()
    copy.chmod(0o400)
    before = copy.read_bytes()
    for option in (["--public-key", key], []):
        assert said(keyturn("verify", "--file", str(copy), *option))["whole"] == "yes"
    assert copy.read_bytes() == before
    gone = keyturn("verify", "--file", str(place / "none.db"), "--public-key", key, code=1)
    assert "there is no such file" in gone.stderr
    assert not (place / "none.db").exists()


def test_a_ledger_that_is_not_there_is_not_made_by_looking_at_it(office: Office) -> None:
    key = str(Key().public())
    for command in (["verify", "--public-key", key], ["show"], ["export"]):
        result = keyturn(*command, code=1)
        assert "there is no such file" in result.stderr
    assert not office.file.exists()


@pytest.mark.parametrize(
    "options",
    [
        ["verify", "--file", "a", "--export", "b", "--checkpoints", "c"],
        ["verify", "--export", "b"],
        ["verify", "--checkpoints", "c"],
        ["prove"],
        ["prove", "3", "--check", "a"],
        ["prove", "0"],
        ["export", "--format", "leef"],
        ["export", "--checkpoints", "c"],
        ["export", "--since", "0"],
        ["show", "--last", "0"],
    ],
)
def test_what_can_be_meant_in_two_ways_is_wrong_usage(office: Office, options: list[str]) -> None:
    keyturn(*options, code=2)


def test_what_is_no_key_is_refused(office: Office, tmp_path: Path) -> None:
    office.signed()
    empty = tmp_path / "empty.key"
    empty.write_text("\n")
    assert "it is not whole" in keyturn("verify", "--public-key", "keyturn/x+1+2", code=1).stderr
    assert "it holds no key" in keyturn("verify", "--public-key-file", str(empty), code=1).stderr
    assert "No such file" in keyturn("verify", "--public-key-file", str(tmp_path / "none"), code=1).stderr


# --- export


def test_an_auditor_verifies_an_export_offline(office: Office, tmp_path: Path) -> None:
    office.signed(5)
    key = office.key()
    out, notes = tmp_path / "ledger.jsonl", tmp_path / "checkpoints.jsonl"
    office.without_a_hub()
    assert "5 entries written" in keyturn("export", "--out", str(out), "--checkpoints", str(notes)).stderr
    assert [stat.S_IMODE(file.stat().st_mode) for file in (out, notes)] == [0o600, 0o600]
    assert out.read_bytes() == b"".join(leaf(n, entry(n)) + b"\n" for n in range(1, 6))
    shutil.rmtree(office.file.parent)

    given = ["--export", str(out), "--checkpoints", str(notes), "--public-key", key]
    assert said(keyturn("verify", *given))["whole"] == "yes"
    lines = out.read_text().splitlines()
    out.write_text("\n".join([*lines[:2], lines[2].replace("on-call", "nobody!"), *lines[3:]]) + "\n")
    told = data("verify", *given, code=1)
    assert (told["whole"], told["problems"][0]["first"], told["problems"][0]["last"]) == (False, 1, 5)
    out.write_text("\n".join(lines[:4]) + "\n")
    assert "entry 5 is missing" in keyturn("verify", *given, code=1).stderr


def test_an_export_without_a_checkpoint_is_not_whole(office: Office, tmp_path: Path) -> None:
    office.signed(2)
    key = office.key()
    out, notes = tmp_path / "ledger.jsonl", tmp_path / "checkpoints.jsonl"
    keyturn("export", "--out", str(out), "--checkpoints", str(notes))
    notes.write_text("")
    given = ["verify", "--export", str(out), "--checkpoints", str(notes)]
    assert "no checkpoint vouches for any entry" in keyturn(*given, "--public-key", key, code=1).stderr
    assert "it has no checkpoint" in keyturn(*given, code=1).stderr


def test_every_format_goes_to_standard_output_from_any_entry_on(office: Office) -> None:
    strange = dataclasses.replace(entry(3), note="one\ntwo = | \N{SNOWMAN}")
    office.write(entry(1), entry(2), strange)
    jsonl = keyturn("export", "--since", "2").stdout_bytes
    assert jsonl == leaf(2, entry(2)) + b"\n" + leaf(3, strange) + b"\n"
    cef = keyturn("export", "--format", "cef").stdout.splitlines()
    assert [line.split("|")[0] for line in cef] == ["CEF:0"] * 3
    assert r"msg=one\ntwo \= | " in cef[2]
    events = [json.loads(line) for line in keyturn("export", "--format", "ocsf", "--since", "3").stdout.splitlines()]
    assert [event["metadata"]["log_name"] for event in events] == [f"keyturn/{office.name}"]
    assert parse_leaf(events[0]["raw_data"].encode()).entry == strange


def test_bytes_stay_what_they_are_where_standard_output_knows_no_such_letters(office: Office) -> None:
    office.write(dataclasses.replace(entry(1), note="Gr\u00f6\u00dfe \N{SNOWMAN}"))
    note = keyturn("checkpoint").stdout
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    exported = raw("export", env)
    assert exported == leaf(1, dataclasses.replace(entry(1), note="Gr\u00f6\u00dfe \N{SNOWMAN}")) + b"\n"
    assert raw("checkpoint", env) == note.encode()


def raw(command: str, env: dict[str, str]) -> bytes:
    """What the command puts out in a process of its own."""
    done = subprocess.run([*SCRIPT, "ledger", command], env=env, capture_output=True, check=True, timeout=60)
    return done.stdout


def test_a_pipe_that_is_closed_ends_an_export_quietly(office: Office) -> None:
    office.write(*entries(5000))
    reading, writing = os.pipe()
    os.close(reading)
    done = run_keyturn("ledger", "export", env=dict(os.environ), stdout=writing)
    os.close(writing)
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr


# --- prove


def test_a_proof_holds_without_the_ledger_and_without_a_hub(office: Office, tmp_path: Path) -> None:
    office.signed(6)
    key = office.key()
    proof = tmp_path / "proof.json"
    keyturn("prove", "4", "--out", str(proof))
    assert stat.S_IMODE(proof.stat().st_mode) == 0o600
    assert json.loads(proof.read_text()) == json.loads(keyturn("prove", "4").stdout)
    shutil.rmtree(office.file.parent)
    shown = keyturn("prove", "--check", str(proof))
    assert "the hub has the key" in shown.stderr
    office.without_a_hub()
    shown = keyturn("prove", "--check", str(proof), "--public-key", key)
    assert "ml-training/database-4" in "".join(line[61:].strip() for line in shown.stdout.splitlines())
    assert f"proved: it is entry 4 of keyturn/{office.name}, by the signed checkpoint of 2" in shown.stderr
    told = data("prove", "--check", str(proof), "--public-key", key)
    assert told["entry"] == json.loads(leaf(4, entry(4)))
    assert told["checkpoint"]["size"] == 6

    forged = json.loads(proof.read_text())
    forged["entry"] = forged["entry"].replace("on-call", "nobody!")
    proof.write_text(json.dumps(forged))
    refused = keyturn("prove", "--check", str(proof), "--public-key", key, code=1)
    assert "the entry is not among those of the checkpoint" in refused.stderr
    assert refused.stdout == ""


def test_an_entry_that_nothing_vouches_for_yet_cant_be_proved(office: Office) -> None:
    office.signed(3)
    office.write(entry(4))
    refused = keyturn("prove", "4", code=1)
    assert "no checkpoint is made over it" in refused.stderr
    assert "keyturn ledger checkpoint" in refused.stderr


def test_that_nothing_but_additions_happened_since_a_checkpoint_can_be_proved(office: Office, tmp_path: Path) -> None:
    older = tmp_path / "older.note"
    older.write_text(office.signed(3))
    office.write(*entries(4, first=4))
    keyturn("checkpoint")
    key = office.key()
    proof = tmp_path / "growth.json"
    keyturn("prove", "--since", str(older), "--out", str(proof))
    office.without_a_hub()
    shown = keyturn("prove", "--check", str(proof), "--public-key", key)
    assert shown.stdout.startswith(
        f"proved: keyturn/{office.name} was only added to between the signed checkpoint of 2"
    )
    assert data("prove", "--check", str(proof), "--public-key", key)["newer"]["size"] == 7
    forged = json.loads(proof.read_text())
    forged["hashes"] = [base64.b64encode(bytes(32)).decode() for _ in forged["hashes"]]
    proof.write_text(json.dumps(forged))
    assert "does not continue" in keyturn("prove", "--check", str(proof), "--public-key", key, code=1).stderr


@pytest.mark.parametrize("content", [b"", b"{}", b"nonsense", b"\xff\xfe", b'{"older": 1, "newer": 2, "hashes": 3}'])
def test_what_is_no_proof_is_refused(office: Office, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "proof.json"
    file.write_bytes(content)
    refused = keyturn("prove", "--check", str(file), "--public-key", str(Key().public()), code=1)
    assert refused.stderr.startswith("error: read a proof: ")


# --- checkpoint and key


def test_a_checkpoint_is_a_signed_note_and_is_made_once(office: Office) -> None:
    first = office.signed(3)
    again = keyturn("checkpoint")
    assert again.stdout == first
    assert "nothing is new since the newest checkpoint" in again.stderr
    lines = first.splitlines()
    assert lines[:2] == [f"keyturn/{office.name}", "3"]
    assert lines[-1].startswith(f"\N{EM DASH} keyturn/{office.name} ")
    office.write(entry(4))
    assert keyturn("checkpoint").stdout.splitlines()[1] == "4"


def test_an_empty_ledger_has_no_checkpoint(office: Office) -> None:
    told = keyturn("checkpoint")
    assert (told.stdout, "the ledger is empty" in told.stderr) == ("", True)


def test_the_key_is_the_hubs_by_the_name_of_the_ledger(office: Office, lab: Lab) -> None:
    name, _, encoded = office.key().split("+", 2)
    assert name == f"keyturn/{office.name}"
    assert base64.b64decode(encoded) == b"\x01" + lab.hub.signer("keyturn-ledger").public_key()


# --- show


@pytest.fixture
def mixed(office: Office) -> Office:
    office.write(
        dataclasses.replace(entry(1), secret="ml/a", action="stage", outcome=Outcome.BEGUN),
        dataclasses.replace(entry(2), secret="ml/a", action="stage"),
        dataclasses.replace(entry(3), secret="ml/b[1]", action="revoke: push", note="INC-1\n\x1b[31mred"),
        dataclasses.replace(entry(4), secret="", action="revoke lease", note="n" * 500),
        dataclasses.replace(entry(5), secret='web/"x"', action="promote", outcome=Outcome.DENIED),
    )
    office.without_a_hub()
    return office


def sequences(*arguments: str) -> list[int]:
    return [one["seq"] for one in data("show", *arguments)["entries"]]


def test_entries_are_shown_by_secret_and_action_the_newest_last(mixed: Office) -> None:
    assert sequences() == [1, 2, 3, 4, 5]
    assert sequences("--last", "2") == [4, 5]
    assert sequences("--secret", "ml/a") == [1, 2]
    assert sequences("--secret", "ml/*") == [1, 2, 3]
    assert sequences("--secret", "ml/*", "--last", "1") == [3]
    assert sequences("--action", "revoke*") == [3, 4]
    assert sequences("--action", "*e", "--secret", "*") == [1, 2, 4, 5]
    assert sequences("--secret", 'web/"x"') == [5]
    assert sequences("--secret", "ml/b[[]1]") == [3]
    assert sequences("--secret", "ml") == []
    assert "the ledger has no such entry" in keyturn("show", "--secret", "ml").stderr


def test_the_table_fits_and_steers_no_terminal(mixed: Office) -> None:
    shown = keyturn("show").stdout
    assert fits(shown)
    assert "\x1b" not in shown
    assert "denied" in shown
    assert "n" * 500 not in shown.replace("\n", "").replace(" ", "")
    assert "Traceback" not in shown


def test_an_entry_that_is_none_is_not_shown_as_one(mixed: Office) -> None:
    mixed.tamper("UPDATE entries SET entry = '{\"seq\":3}' WHERE sequence = 3")
    assert "what is stored as entry 3 is not that entry" in keyturn("show", code=1).stderr
    assert "keyturn ledger verify" in keyturn("show", "--action", "*e", code=1).stderr


# --- which ledger


def test_the_local_stacks_ledger_is_found_also_while_the_stack_rests(office: Office, tmp_path: Path) -> None:
    home = tmp_path / "stack"
    home.mkdir()
    stack = Stack(home, {"openbao": 1}, "tenant", "client")
    kept = {"ports": dict(stack.ports), "tenant_id": "tenant", "client_id": "client"}
    (home / "stack.json").write_text(json.dumps(kept))
    office.monkeypatch.setenv("KEYTURN_HOME", str(home))
    office.without_a_hub()
    there = Path(stack_ledger(stack)["KEYTURN_LEDGER"])
    opened = open_ledger(str(there), origin="keyturn/local")
    opened.append(entries(3))
    opened.close()
    assert stat.S_IMODE(there.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(there.stat().st_mode) == 0o600
    for name in ("KEYTURN_LEDGER", "KEYTURN_LEDGER_NAME"):
        office.monkeypatch.setenv(name, os.environ[name])
    assert sequences() == [1, 2, 3]
    assert "the local stack in" in keyturn("verify", code=1).stderr


def test_help_and_errors_need_no_hub_and_import_little(tmp_path: Path) -> None:
    shown = run_keyturn("ledger", "--help", env=surroundings(tmp_path / "no-stack"))
    assert shown.returncode == 0
    assert all(word in shown.stdout for word in ("verify", "prove", "export", "checkpoint", "show", "key"))


def test_who_verifies_without_a_key_and_without_a_hub_is_told_to_give_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VAULT_ADDR", raising=False)
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))
    with pytest.raises(Invalid, match=r"no public key of the ledger is given.*Give --public-key-file FILE"):
        trust([], lambda _: "keyturn/anywhere")
