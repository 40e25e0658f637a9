"""A signed catalogue is used exactly as it was signed, or not at all."""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner, Result

from keyturn.catalogue import CatalogueInvalid, find_problems, load_catalogue
from keyturn.catalogue.files import append, signature
from keyturn.catalogue.files.index import WORTH
from keyturn.catalogue.files.parse import gather
from keyturn.catalogue.files.signature import FILE, add_signature, digest_of, with_other_files
from keyturn.catalogue.operator.policy import VARIABLE
from keyturn.cli.app import app
from keyturn.core.errors import Invalid
from keyturn.ledger.signed_notes import PublicKey, sign_note
from keyturn.providers.keys.note_signer import FileSigner
from tests.support.lab import Lab, fresh

STORES = "stores:\n  files: { kind: aws-secrets-manager, region: eu-central-1 }\n"
CONSUMERS = 'consumers:\n  app: { url: "https://app.example.com", signing_key: webhooks/app }\n'
NAME = "reviewers"


def key(directory: Path, name: str = "key") -> FileSigner:
    """A new key, in a file for its owner alone."""
    file = directory / f"{name}.pem"
    file.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    file.chmod(0o600)
    return FileSigner(file)


class Signed:
    """A catalogue of two files, the key that may sign it, and the operator's file that says so."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.catalogue = directory / "catalogue"
        self.catalogue.mkdir()
        (self.catalogue / "ca").mkdir()
        (self.catalogue / "ca" / "db.pem").write_text("a certificate\n")
        (self.catalogue / "stores.yaml").write_text(STORES)
        (self.catalogue / "consumers.yaml").write_text(CONSUMERS)
        self.key = key(directory)
        self.policy(signed_by=[str(PublicKey(NAME, self.key.public_key()))])
        self.sign()

    def policy(self, **says: Any) -> None:
        """What the operator of the machine asks for."""
        (self.directory / "policy").write_text(json.dumps(says))

    @property
    def env(self) -> dict[str, str]:
        return {VARIABLE: str(self.directory / "policy")}

    @property
    def file(self) -> Path:
        return self.catalogue / FILE

    def sign(self, signer: FileSigner | None = None, name: str = NAME) -> None:
        """Vouch for the files as they are."""
        before = self.file.read_text() if self.file.exists() else ""
        digests = with_other_files(self.catalogue, gather(self.catalogue).digests)
        self.file.write_text(add_signature(before, digests, name, signer or self.key, datetime.now(UTC)))

    def problems(self) -> list[str]:
        """What is wrong with it; it is not loaded then."""
        found = find_problems(self.catalogue, self.env)
        if found:
            with pytest.raises(CatalogueInvalid) as refused:
                load_catalogue(self.catalogue, self.env)
            assert list(refused.value.problems) == found
        else:
            load_catalogue(self.catalogue, self.env)
        return [f"{Path(problem.file).name}: {problem.message}" for problem in found]


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return Signed(tmp_path)


def test_a_signed_catalogue_loads_and_shows_its_digest(signed: Signed) -> None:
    assert signed.problems() == []
    told = subprocess.run(
        ["/bin/sh", "-c", "LC_ALL=C sha256sum *.yaml | sha256sum"],
        cwd=signed.catalogue,
        capture_output=True,
        check=True,
    )
    assert load_catalogue(signed.catalogue, signed.env).digest == told.stdout.decode().split()[0]
    assert load_catalogue(signed.catalogue, {}).digest == told.stdout.decode().split()[0]


# --- somebody changes the catalogue

CHANGES: dict[str, Callable[[Path], Any]] = {
    "stores.yaml: this file is not what was signed": lambda place: (place / "stores.yaml").write_text(f"{STORES}# x\n"),
    "more.yaml: this file is not among those that were signed": lambda place: (place / "more.yaml").write_text(
        "freezes: {}\n"
    ),
    "consumers.yaml: this file was signed, and is gone": lambda place: (place / "consumers.yaml").unlink(),
    "db.pem: this file is not what was signed": lambda place: (place / "ca" / "db.pem").write_text("another CA\n"),
    "db.pem: this file was signed, and is gone": lambda place: (place / "ca" / "db.pem").unlink(),
    "other.pem: this file is not among those that were signed": lambda place: (place / "other.pem").write_text("CA\n"),
    f"{FILE}: the catalogue is not signed, and the operator's file asks for a signature": lambda place: (
        place / FILE
    ).unlink(),
    f"{FILE}: this is no signature that can be read": lambda place: (place / FILE).write_text("signed, I swear\n"),
}


@pytest.mark.parametrize("told", CHANGES)
def test_an_unsigned_change_is_refused_with_the_file_name(told: str, signed: Signed) -> None:
    CHANGES[told](signed.catalogue)
    assert signed.problems() == [told]
    signed.sign()
    assert signed.problems() == []


def test_a_folder_behind_a_link_is_not_signed(signed: Signed) -> None:
    (signed.directory / "elsewhere").mkdir()
    (signed.catalogue / "more").symlink_to(signed.directory / "elsewhere")
    assert signed.problems() == ["more: this file is not among those that were signed"]
    with pytest.raises(Invalid, match="no file that can be read"):
        signed.sign()


@pytest.mark.parametrize("place", [".ca.pem", ".hidden/ca.pem", "link/ca.pem", FILE])
def test_no_entry_may_use_a_file_that_the_signature_does_not_cover(place: str, signed: Signed) -> None:
    (signed.catalogue / ".hidden").mkdir()
    if place.startswith("link"):
        (signed.catalogue / "link").symlink_to(".hidden")
    if place != FILE:
        (signed.catalogue / place).write_text("another CA\n")
    entry = f"kind: redis, host: db.example.com, admin: targets/mine, ca_file: '{signed.catalogue / place}'"
    (signed.catalogue / "targets.yaml").write_text(f"targets:\n  mine: {{ {entry} }}\n")
    assert "targets.yaml: a catalogue's signature covers no hidden file" in signed.problems()


def test_a_visible_link_covers_its_hidden_target(signed: Signed) -> None:
    """As a ConfigMap's volume has its files."""
    (signed.catalogue / "..data").mkdir()
    (signed.catalogue / "..data" / "ca.pem").write_text("a certificate\n")
    (signed.catalogue / "ca.pem").symlink_to("..data/ca.pem")
    entry = f"kind: redis, host: db.example.com, admin: targets/mine, ca_file: '{signed.catalogue}/ca.pem'"
    (signed.catalogue / "targets.yaml").write_text(f"targets:\n  mine: {{ {entry} }}\n")
    signed.sign()
    assert signed.problems() == []
    (signed.catalogue / "..data" / "ca.pem").write_text("another CA\n")
    assert signed.problems() == ["ca.pem: this file is not what was signed"]


def test_swapped_names_or_contents_of_files_are_refused(signed: Signed) -> None:
    (signed.catalogue / "stores.yaml").write_text(CONSUMERS)
    (signed.catalogue / "consumers.yaml").write_text(STORES)
    assert [problem.split(":")[0] for problem in signed.problems()] == ["consumers.yaml", "stores.yaml"]


@pytest.mark.parametrize("harm", ["text", "digest", "signature", "second note", "cut off", "other time"])
def test_a_changed_signature_is_refused(harm: str, signed: Signed) -> None:
    note = signed.file.read_text()
    text, _, made = note.rpartition("\n\n")
    first = text.splitlines()[2]
    encoded = made.split(" ")[2]
    signed.file.write_text(
        {
            "text": note.replace("stores.yaml", "stored.yaml"),
            "digest": note.replace(first[:64], hashlib.sha256(b"x").hexdigest()),
            "signature": note.replace(encoded[20:24], "AAAA"),
            "second note": f"{note}\n{note}",
            "cut off": note[:-9] + "\n",
            "other time": note.replace("time 20", "time 30"),
        }[harm]
    )
    (problem,) = signed.problems()
    assert problem.startswith(f"{FILE}: ")


@pytest.mark.parametrize("what", ["a folder", "a pipe", "a device", "endless", "binary"])
def test_a_pipe_or_folder_in_place_of_a_signature_is_refused_at_once(what: str, signed: Signed) -> None:
    signed.file.unlink()
    {
        "a folder": signed.file.mkdir,
        "a pipe": lambda: os.mkfifo(signed.file),
        "a device": lambda: signed.file.symlink_to("/dev/zero"),
        "endless": lambda: signed.file.write_bytes(b"keyturn catalogue\n" * 100_000),
        "binary": lambda: signed.file.write_bytes(b"\xff\xfe\x00"),
    }[what]()
    assert signed.problems() == [f"{FILE}: this is no signature that can be read"]


# --- somebody else signs it


@pytest.mark.parametrize("name", [NAME, "somebody"])
def test_another_key_signs_nothing_whatever_it_is_called(name: str, signed: Signed, tmp_path: Path) -> None:
    signed.file.unlink()
    signed.sign(key(tmp_path, "other"), name)
    assert signed.problems() == [f"{FILE}: no key that the operator's file names has signed this"]


def test_a_signature_for_another_purpose_is_refused(signed: Signed) -> None:
    lines = signed.file.read_text().rpartition("\n\n")[0].splitlines()[2:]
    for text in (
        "keyturn/local\n32\nxN2m9JI3CAOG5M9=\n",
        "\n".join(["keyturn plan", "time 2026-01-01T00:00:00Z", *lines, ""]),
    ):
        signed.file.write_text(sign_note(text, NAME, signed.key))
        assert signed.problems() == [f"{FILE}: what was signed here is no catalogue"]


def test_two_of_three_must_sign_and_a_double_signature_counts_once(signed: Signed, tmp_path: Path) -> None:
    keys = {name: key(tmp_path, name) for name in ("anna", "ben", "chris")}
    public = [str(PublicKey(name, signer.public_key())) for name, signer in keys.items()]
    twice = str(PublicKey("anna-again", keys["anna"].public_key()))
    signed.policy(signed_by=[*public, twice], signatures=2)
    signed.sign(keys["anna"], "anna")
    signed.sign(keys["anna"], "anna-again")
    assert signed.problems() == [f"{FILE}: 1 of the operator's keys have signed this, and 2 have to"]
    signed.sign(keys["chris"], "chris")
    assert signed.problems() == []
    (signed.catalogue / "stores.yaml").write_text(f"{STORES}# newer\n")
    signed.sign(keys["ben"], "ben")
    assert signed.problems() == [f"{FILE}: 1 of the operator's keys have signed this, and 2 have to"]


@pytest.mark.parametrize(
    ("says", "flaw"),
    [
        ({"signed_by": ["reviewers"]}, "is no public key"),
        ({"signed_by": ["reviewers+00000000+AAAA"]}, "is no public key"),
        ({"signed_by": [], "signatures": 2}, "there are fewer keys than that"),
        ({"signatures": 0}, "is too small"),
        ({"signed-by": []}, "unknown key"),
    ],
)
def test_an_invalid_signature_setting_is_reported_and_loads_no_unsigned_catalogue(
    says: dict[str, Any], flaw: str, signed: Signed
) -> None:
    signed.policy(**says)
    assert signed.problems() == [f"policy: {flaw}"]


def test_without_what_verifies_it_a_signature_counts_for_nothing(
    signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signature, "VERIFIER", ("keyturn.providers.no_such_module", "verify"))
    (problem,) = signed.problems()
    assert "the signature can't be verified here" in problem


# --- ways around


def test_an_older_catalogue_with_its_signature_is_not_put_back_once_the_operator_says_so(signed: Signed) -> None:
    public = [str(PublicKey(NAME, signed.key.public_key()))]
    signed.policy(signed_by=public, signed_after="2199-01-01T00:00:00Z")
    (problem,) = signed.problems()
    assert problem.startswith(f"{FILE}: this was signed before 2199-01-01T00:00:00Z")
    signed.policy(signed_by=public, signed_after="2026-01-01T00:00:00Z")
    assert signed.problems() == []
    signed.policy(signed_by=public, signed_after="tomorrow")
    assert signed.problems() == ["policy: is no time in UTC"]


def test_the_cache_of_a_large_catalogue_does_not_bypass_its_signature(
    signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(signed.directory / "cache"))
    file = signed.catalogue / "stores.yaml"
    file.write_text(f"{STORES}# {'x' * WORTH}\n")
    signed.sign()
    for _ in range(2):
        assert load_catalogue(signed.catalogue, signed.env).stores
    file.write_text(f"{STORES}# {'y' * WORTH}\n")
    assert load_catalogue(signed.catalogue, {}).stores, "which is kept as sound, and asks for no signature"
    assert len(list((signed.directory / "cache").glob("keyturn/*.json"))) == 2
    assert signed.problems() == ["stores.yaml: this file is not what was signed"]
    file.write_text(f"{STORES}# {'x' * WORTH}\n")
    assert signed.problems() == []
    signed.file.unlink()
    assert signed.problems() == [f"{FILE}: the catalogue is not signed, and the operator's file asks for a signature"]


def test_a_revocation_may_continue_without_a_signature_and_other_commands_refuse(signed: Signed) -> None:
    (signed.catalogue / "stores.yaml").write_text(f"{STORES}# x\n")
    with pytest.raises(CatalogueInvalid, match="keyturn revoke PATH --reason WHY --override-policy"):
        load_catalogue(signed.catalogue, signed.env)
    catalogue = load_catalogue(signed.catalogue, signed.env, despite_policy=True)
    assert ["this file is not what was signed" in waived for waived in catalogue.waived] == [True]
    (signed.catalogue / "stores.yaml").write_text("stores: {a: {kind: nothing}}\n")
    with pytest.raises(CatalogueInvalid, match="must be one of"):
        load_catalogue(signed.catalogue, signed.env, despite_policy=True)


def test_additions_to_a_signed_catalogue_are_checked_without_a_new_signature(
    signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    append.insist_on_sound(signed.catalogue, signed.catalogue / "more.yaml", "freezes: {}\n", signed.env)
    with pytest.raises(Invalid, match="unknown key"):
        append.insist_on_sound(signed.catalogue, signed.catalogue / "more.yaml", "freeze: {}\n", signed.env)


# --- signing


def sign(*arguments: str) -> Result:
    """Run ``keyturn catalogue sign``."""
    return CliRunner().invoke(app, ["catalogue", "sign", *arguments])


def test_a_key_that_others_could_have_taken_signs_nothing(signed: Signed) -> None:
    file = signed.directory / "key.pem"
    for mode in (0o640, 0o604):
        file.chmod(mode)
        refused = sign(str(signed.catalogue), "--key-file", str(file))
        assert refused.exit_code == 1
        assert "others may read or write this key" in refused.stderr


@pytest.mark.parametrize("kind", ["rsa", "passphrase", "nothing", "absent"])
def test_a_file_without_a_signing_key_is_refused_with_a_clear_error(kind: str, signed: Signed) -> None:
    file = signed.directory / "other.pem"
    rest = (Encoding.PEM, PrivateFormat.PKCS8)
    content = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048).private_bytes(*rest, NoEncryption()),
        "passphrase": lambda: Ed25519PrivateKey.generate().private_bytes(*rest, BestAvailableEncryption(b"x")),
        "nothing": lambda: b"hunter2",
    }
    if kind in content:
        file.write_bytes(content[kind]())
        file.chmod(0o600)
    before = signed.file.read_text()
    refused = sign(str(signed.catalogue), "--key-file", str(file))
    assert refused.exit_code == 1
    assert "openssl genpkey -algorithm ed25519" in refused.stderr
    assert "hunter2" not in refused.stderr
    assert signed.file.read_text() == before


def test_files_that_can_not_be_read_are_not_signed(signed: Signed) -> None:
    os.mkfifo(signed.catalogue / "pipe.yaml")
    refused = sign(str(signed.catalogue), "--key-file", str(signed.directory / "key.pem"))
    assert refused.exit_code == 1
    assert "this is a pipe" in refused.stderr


def test_a_signature_needs_either_a_key_file_or_a_key_of_the_hub(signed: Signed) -> None:
    assert sign(str(signed.catalogue)).exit_code == 2
    assert sign(str(signed.catalogue), "--key-file", "a", "--hub-key", "b").exit_code == 2


def test_a_key_of_the_hub_signs_without_leaving_it(signed: Signed, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    name = fresh()
    lab.root.secrets.transit.create_key(name, key_type="ed25519")
    monkeypatch.setenv("VAULT_ADDR", lab.world.hub_address)
    monkeypatch.setenv("VAULT_TOKEN", lab.world.hub_token)
    done = sign(str(signed.catalogue), "--hub-key", name, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["digest"] == digest_of(gather(signed.catalogue).digests)
    assert told["files"] == 3
    signed.policy(signed_by=[told["key"]])
    assert signed.problems() == []
    (signed.catalogue / "stores.yaml").write_text(f"{STORES}# x\n")
    assert signed.problems() == ["stores.yaml: this file is not what was signed"]


def test_a_revocation_leaves_out_a_broken_file_and_never_accepts_a_tampered_one(tmp_path: Path) -> None:
    signed = Signed(tmp_path)
    (signed.catalogue / "consumers.yaml").write_text("consumers: [\n")
    with pytest.raises(CatalogueInvalid, match="not what was signed"):
        load_catalogue(signed.catalogue, signed.env, lenient=True)
    overridden = load_catalogue(signed.catalogue, signed.env, lenient=True, despite_policy=True)
    assert len(overridden.waived) == len(overridden.left_out) == 1
    signed.sign()
    loaded = load_catalogue(signed.catalogue, signed.env, lenient=True)
    assert (loaded.waived, set(loaded.stores), len(loaded.left_out)) == ((), {"files"}, 1)
