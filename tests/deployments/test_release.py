"""A release is reproducible, and its verifier detects each change."""

import base64
import json
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jsonschema import Draft7Validator

from keyturn.providers.keys.envelopes import private_key, sign_envelope
from tests.manual.lines import lines_of
from tests.support.sampling import deep
from tools import release
from tools.release import LOCKS, artefacts, git, main, source

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "small"
version = "1.2.0"
requires-python = ">=3.11"
[tool.hatch.build.targets.wheel]
packages = ["small"]
"""
KINDS: Final[dict[str, Callable[[], Any]]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two files for each kind of key."""
    folder = tmp_path_factory.mktemp("keys")
    for name, make in {**KINDS, "other": KINDS["ed25519"]}.items():
        key = make()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for file, text in ((folder / f"{name}.key", private), (folder / f"{name}.pub", public)):
            file.write_bytes(text)
            file.chmod(0o600)
    return folder


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project, committed, with a file beside it that Git ignores."""
    root = tmp_path_factory.mktemp("repository")
    files = {
        "pyproject.toml": PROJECT,
        "CHANGELOG.md": "# Changelog\n\n## [1.2.0] - 2026-01-01\n\n- New.\n",
        "small/__init__.py": "",
        ".gitignore": ".venv\n*.secret\n",
        "local.secret": "not for others",
        ".venv/bin/python": "",
        **dict.fromkeys(LOCKS, "hatchling==1.27.0\n"),
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    commit(root, "begin")
    return root


def commit(root: Path, message: str) -> None:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    for words in (["init", "--quiet"], ["add", "--all"], [*who, "commit", "--quiet", "--message", message]):
        subprocess.run(["git", *words], cwd=root, check=True, capture_output=True)


@pytest.fixture(scope="module")
def made(repository: Path, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("release") / "dist"
    assert main(["build", str(target), f"--key={keys / 'ed25519.key'}"], repository) == 0
    return target


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """The same release, for somebody to change."""
    return Path(shutil.copytree(made, tmp_path / "dist"))


def verify(folder: Path, key: Path) -> int:
    """As the page says."""
    (line,) = lines_of("release.md")
    typed = line.replace("dist/release", str(folder)).replace("release.pub", str(key))
    return main(typed.split()[3:])


def statement(folder: Path) -> dict[str, Any]:
    envelope = json.loads(next(folder.glob("*.intoto.json")).read_text())
    return dict(json.loads(base64.b64decode(envelope["payload"])))


def test_a_release_is_wheel_sdist_materials_and_provenance_and_verifies(
    made: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {file.name for file in made.iterdir()}
    assert {"small-1.2.0.tar.gz", "small-1.2.0-py3-none-any.whl"} < names
    assert {"keyturn-1.2.0.cdx.json", "keyturn-1.2.0.intoto.json"} < names
    assert len(names) == 4
    assert verify(made, keys / "ed25519.pub") == 0
    assert capsys.readouterr().out == "all files are as they were signed\n"


def test_the_provenance_says_which_commit_and_which_locks(made: Path, repository: Path) -> None:
    said = statement(made)
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert {subject["name"] for subject in said["subject"]} == {
        file.name for file in made.iterdir() if not file.name.endswith(".intoto.json")
    }
    definition = said["predicate"]["buildDefinition"]
    commit_id = git(repository, "rev-parse", "HEAD").strip()
    assert definition["externalParameters"] == {"version": "1.2.0", "commit": commit_id}
    assert [each["name"] for each in definition["resolvedDependencies"]] == ["source", *LOCKS]
    assert said["predicate"]["runDetails"]["builder"]["id"]


def test_the_sdist_holds_what_is_committed_and_nothing_of_this_machine(made: Path) -> None:
    with tarfile.open(made / "small-1.2.0.tar.gz") as packed:
        names = {name.removeprefix("small-1.2.0/") for name in packed.getnames()}
    assert names == {"pyproject.toml", "CHANGELOG.md", "small/__init__.py", ".gitignore", "PKG-INFO", *LOCKS}
    assert "small/__init__.py" in zipfile.ZipFile(made / "small-1.2.0-py3-none-any.whl").namelist()


def test_the_bill_of_materials_is_the_same_each_time(made: Path, repository: Path) -> None:
    again = release.bill_of_materials(source(repository))
    assert (made / "keyturn-1.2.0.cdx.json").read_text() == again


@pytest.mark.parametrize("kind", ["ed25519", "p256"])
def test_each_kind_of_key_signs_what_it_alone_verifies(copy: Path, keys: Path, kind: str) -> None:
    payload = json.dumps(statement(copy)).encode()
    envelope = sign_envelope(release.PAYLOAD, payload, private_key(keys / f"{kind}.key"))
    next(copy.glob("*.intoto.json")).write_text(json.dumps(envelope))
    assert {name: verify(copy, keys / f"{name}.pub") for name in ("ed25519", "p256", "other")} == {
        name: int(name != kind) for name in ("ed25519", "p256", "other")
    }


@pytest.mark.parametrize("suffix", [".tar.gz", ".whl", ".cdx.json"])
@pytest.mark.parametrize("how", ["changed", "missing"])
@pytest.mark.attack
def test_a_file_that_was_changed_or_taken_away_is_found(
    copy: Path, keys: Path, capsys: pytest.CaptureFixture[str], suffix: str, how: str
) -> None:
    (file,) = copy.glob(f"*{suffix}")
    if how == "missing":
        file.unlink()
    else:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    assert verify(copy, keys / "ed25519.pub") == 1
    assert capsys.readouterr().out == f"{file.name}: it {'was changed' if how == 'changed' else 'is missing'}\n"


def envelope_with(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    def applied(folder: Path) -> None:
        (file,) = folder.glob("*.intoto.json")
        document = json.loads(file.read_text())
        change(document)
        file.write_text(json.dumps(document))

    return applied


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder / "more.whl").write_text(""), "more.whl: nobody has signed it"),
        (lambda folder: next(folder.glob("*.intoto.json")).unlink(), "0 envelopes"),
        (lambda folder: (folder / "b.intoto.json").write_text("{}"), "2 envelopes"),
        (lambda folder: next(folder.glob("*.intoto.json")).write_text("no"), "it is no DSSE envelope"),
        (envelope_with(lambda it: it.update(payload="e30=")), "it is not signed by this key"),
        (envelope_with(lambda it: it.update(payloadType="text/plain")), "no in-toto statement"),
        (envelope_with(lambda it: it.update(signatures=[])), "it is not signed by this key"),
        (envelope_with(lambda it: it["signatures"][0].update(sig="AAAA")), "it is not signed by this key"),
    ],
)
def test_whatever_else_is_done_to_a_release_is_found(
    copy: Path, keys: Path, capsys: pytest.CaptureFixture[str], harm: Callable[[Path], Any], words: str
) -> None:
    harm(copy)
    assert verify(copy, keys / "ed25519.pub") == 1
    assert words in capsys.readouterr().out


def test_another_key_has_not_signed_it(made: Path, keys: Path) -> None:
    assert verify(made, keys / "other.pub") == 1


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("p384.key", "no private key of Ed25519 or ECDSA P-256"),
        ("rsa.key", "no private key of Ed25519 or ECDSA P-256"),
        ("ed25519.pub", "no private key"),
        ("nowhere.key", "No such file"),
        ("", "no key is given"),
    ],
)
def test_what_is_no_key_signs_nothing(
    repository: Path, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, words: str
) -> None:
    given = [f"--key={keys / key}"] if key else []
    assert main(["build", str(tmp_path / "dist"), *given], repository) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "dist").exists()


def test_a_key_that_others_may_read_signs_nothing(
    repository: Path, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(keys / "ed25519.key", tmp_path / "open.key")
    (tmp_path / "open.key").chmod(0o644)
    assert main(["build", str(tmp_path / "dist"), f"--key={tmp_path / 'open.key'}"], repository) == 1
    assert "others than its owner may read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("new.txt", "", "1 files are not as they were committed"),
        ("small/__init__.py", "x = 1\n", "1 files are not as they were committed"),
        (None, None, "CHANGELOG.md has no heading [1.3.0]"),
    ],
)
def test_what_nobody_can_look_up_is_not_released(
    repository: Path,
    keys: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str | None,
    text: str,
    words: str,
) -> None:
    root = Path(shutil.copytree(repository, tmp_path / "root"))
    if file:
        (root / file).write_text(text)
    else:
        (root / "pyproject.toml").write_text(PROJECT.replace("1.2.0", "1.3.0"))
        commit(root, "raise the version")
    assert main(["build", str(tmp_path / "dist"), f"--key={keys / 'ed25519.key'}"], root) == 1
    assert words in capsys.readouterr().err


def test_a_directory_that_holds_something_is_left_alone(
    repository: Path, keys: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.read_bytes() for file in made.iterdir()}
    assert main(["build", str(made), f"--key={keys / 'ed25519.key'}"], repository) == 1
    assert "is not empty" in capsys.readouterr().err
    assert before == {file: file.read_bytes() for file in made.iterdir()}


@pytest.mark.attack
def test_a_build_that_does_not_repeat_itself_is_refused(
    repository: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where something of the machine's time gets in."""

    def of_its_time(released: release.Source, folder: Path) -> list[Path]:
        folder.mkdir()
        (folder / "small.whl").write_text(folder.name)
        return [folder / "small.whl"]

    monkeypatch.setattr(release, "artefacts", of_its_time)
    assert main(["build", str(tmp_path / "dist"), f"--key={keys / 'ed25519.key'}"], repository) == 1
    assert "built twice, its bytes differ" in capsys.readouterr().err
    assert list((tmp_path / "dist").iterdir()) == []


def test_the_materials_are_of_the_commits_time(made: Path, repository: Path) -> None:
    bill = json.loads((made / "keyturn-1.2.0.cdx.json").read_text())
    assert Draft7Validator.TYPE_CHECKER.is_type(bill["components"], "array")
    assert bill["serialNumber"].startswith("urn:uuid:")
    assert bill["metadata"]["timestamp"] == release.moment(datetime.fromtimestamp(source(repository).time, UTC))


@pytest.mark.skipif(not deep(), reason="two builds of the whole, which make test-deep has time for")
def test_keyturns_own_sdist_holds_what_is_committed_and_builds_the_same_wheel_twice(tmp_path: Path) -> None:
    commit_id, time = git(ROOT, "log", "-1", "--format=%H %ct").split()
    released = release.Source(ROOT, commit_id, int(time), "0.2.0")
    first, second = (artefacts(released, tmp_path / name) for name in ("first", "second"))
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    with tarfile.open(first[0]) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert names <= {*git(ROOT, "ls-tree", "-r", "--name-only", commit_id).splitlines(), "PKG-INFO"}
