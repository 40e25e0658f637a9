"""``python -m tools.release build DIRECTORY --key FILE | verify DIRECTORY --key FILE``: what is given to others.

``build`` makes wheel and sdist of the newest commit, twice, and refuses where the bytes differ; a bill of materials
(CycloneDX 1.6); and the provenance of all three: an in-toto statement (SLSA provenance v1) in a DSSE envelope, signed
with the key, a PEM file of an Ed25519 or ECDSA P-256 private key. ``verify`` needs its public key alone, no network and
no sources: 0 where every file of the directory is what was signed, 1 where one is not, is missing, or is no part of it.
"""

import argparse
import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from keyturn.core.errors import Conflict, Invalid, KeyturnError, NotFound
from keyturn.providers.keys.envelopes import PrivateKey, PublicKey, private_key, public_key, sign_envelope, verifies

ROOT: Final = Path(__file__).parents[1]
STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
PAYLOAD: Final = "application/vnd.in-toto+json"
BUILD_TYPE: Final = "urn:keyturn:make-release:v1"
BUILDER: Final = "urn:keyturn:builder:by-hand"
BUILDER_VARIABLE: Final = "KEYTURN_RELEASE_BUILDER"
"""Names where it is built, such as a CI's own URI; by default nobody but who holds the key vouches for that."""
KEY_VARIABLE: Final = "KEYTURN_RELEASE_KEY"
LOCKS: Final = ("requirements.lock", "requirements-setup.txt", "requirements-image.lock")
LIMIT: Final = 1 << 20
"""Bytes of an envelope."""


@dataclass(frozen=True)
class Source:
    """What is released: the repository, its newest commit, that commit's time in seconds, and the version."""

    root: Path
    commit: str
    time: int
    version: str


def source(root: Path) -> Source:
    """The newest commit. Raises Conflict for what is not committed, Invalid for a version that has no entry."""
    if changes := git(root, "status", "--porcelain").splitlines():
        problem = f"{len(changes)} files are not as they were committed: {changes[0].strip()}"
        raise Conflict("release", str(root), problem, "Commit them, or put them away")
    version = str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"])
    if not re.search(rf"(?m)^## \[{re.escape(version)}\]", (root / "CHANGELOG.md").read_text()):
        problem = f"CHANGELOG.md has no heading [{version}]"
        raise Invalid("release", version, problem, "Write there what has changed, or raise the version")
    commit, time = git(root, "log", "-1", "--format=%H %ct").split()
    return Source(root, commit, int(time), version)


def git(root: Path, *words: str) -> str:
    """What git answers. Raises Invalid where it is no repository, NotFound without git."""
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NotFound("release", str(root), "the program git is not there", "Install it") from None
    if done.returncode != 0:
        raise Invalid("release", str(root), done.stderr.strip().partition("\n")[0], "Release from a repository")
    return done.stdout


def build(released: Source, target: Path, key: PrivateKey) -> list[Path]:
    """Make all files of the release. Raises Conflict where the directory has others, or two builds differ, Invalid."""
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise Conflict("release", str(target), "the directory is not empty", "Name one that is")
    started = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as scratch:
        first, second = (artefacts(released, Path(scratch) / name) for name in ("first", "second"))
        for one, other in zip(first, second, strict=True):
            if one.name != other.name or one.read_bytes() != other.read_bytes():
                raise Conflict("release", one.name, "built twice, its bytes differ", "Nothing of it may be of its time")
        files = [target / file.name for file in first]
        for file, made in zip(files, first, strict=True):
            file.write_bytes(made.read_bytes())
    bill = target / f"keyturn-{released.version}.cdx.json"
    bill.write_text(bill_of_materials(released))
    files.append(bill)
    payload = json.dumps(provenance(released, files, started), sort_keys=True).encode()
    envelope = target / f"keyturn-{released.version}.intoto.json"
    envelope.write_text(json.dumps(sign_envelope(PAYLOAD, payload, key), indent=2) + "\n")
    return [*files, envelope]


def artefacts(released: Source, folder: Path) -> list[Path]:
    """The sdist of exactly what is committed, and the wheels that are built from it: keyturn and keyturn-local."""
    sources, sdist, unpacked, wheel = (folder / name for name in ("sources", "sdist", "unpacked", "wheel"))
    for place in (sources, sdist, unpacked, wheel):
        place.mkdir(parents=True)
    archive = folder / "sources.tar"
    git(released.root, "archive", "--format=tar", f"--output={archive}", released.commit)
    with tarfile.open(archive) as packed:
        packed.extractall(sources, filter="data")
    hatch(sources, "sdist", sdist, released.time)
    (made,) = sdist.iterdir()
    with tarfile.open(made) as packed:
        packed.extractall(unpacked, filter="data")
    (within,) = unpacked.iterdir()
    hatch(within, "wheel", wheel, released.time)
    if (within / "local" / "pyproject.toml").exists():
        hatch(within / "local", "wheel", wheel, released.time)
    return [made, *sorted(wheel.iterdir())]


def hatch(folder: Path, kind: str, target: Path, time: int) -> None:
    """Build one kind, as of a time. Raises Invalid."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(target)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(time)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise Invalid("build", f"the {kind}", done.stderr.strip().rpartition("\n")[2], "See that `make wheel` works")


def bill_of_materials(released: Source) -> str:
    """The bill of materials, of the commit's time and with a number that is made of it."""
    from tools.supply_chain import bill

    document = json.loads(bill())
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'urn:keyturn:{released.commit}')}"
    document["metadata"]["timestamp"] = moment(datetime.fromtimestamp(released.time, UTC))
    return json.dumps(document, indent=2) + "\n"


def moment(time: datetime) -> str:
    """RFC 3339, to the second."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def provenance(released: Source, files: list[Path], started: datetime) -> dict[str, Any]:
    """The in-toto statement: which files, from which commit, with which locked packages."""
    locks = [{"name": name, "digest": {"sha256": sha256(released.root / name)}} for name in LOCKS]
    return {
        "_type": STATEMENT,
        "subject": [{"name": file.name, "digest": {"sha256": sha256(file)}} for file in files],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"version": released.version, "commit": released.commit},
                "internalParameters": {"SOURCE_DATE_EPOCH": released.time},
                "resolvedDependencies": [{"name": "source", "digest": {"gitCommit": released.commit}}, *locks],
            },
            "runDetails": {
                "builder": {"id": os.environ.get(BUILDER_VARIABLE) or BUILDER},
                "metadata": {"startedOn": moment(started), "finishedOn": moment(datetime.now(UTC))},
            },
        },
    }


def sha256(file: Path) -> str:
    """A file's digest in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def problems(folder: Path, key: PublicKey) -> Iterator[str]:
    """What is wrong with a release; nothing where all of it is as it was signed."""
    envelopes = sorted(folder.glob("*.intoto.json"))
    if len(envelopes) != 1:
        yield f"{folder}: {len(envelopes)} envelopes *.intoto.json are there, where one has to be"
        return
    (envelope,) = envelopes
    statement = vouched(envelope, key)
    if isinstance(statement, str):
        yield f"{envelope.name}: {statement}"
        return
    expected = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    present = {file.name for file in folder.iterdir()} - {envelope.name}
    yield from (f"{name}: it is missing" for name in sorted(set(expected) - present))
    yield from (f"{name}: nobody has signed it" for name in sorted(present - set(expected)))
    for name in sorted(present & set(expected)):
        file = folder / name
        if not file.is_file() or sha256(file) != expected[name]:
            yield f"{name}: it was changed"


def vouched(envelope: Path, key: PublicKey) -> dict[str, Any] | str:
    """The statement that the key has signed, or why there is none."""
    try:
        with envelope.open("rb") as opened:
            document = json.loads(opened.read(LIMIT))
        payload = base64.b64decode(document["payload"], validate=True)
        signatures = [base64.b64decode(each["sig"], validate=True) for each in document["signatures"]]
        kind = document["payloadType"]
    except (ValueError, KeyError, TypeError):
        return "it is no DSSE envelope"
    if kind != PAYLOAD:
        return f"it holds {kind!r}, and no in-toto statement"
    if not any(verifies(key, signature, kind, payload) for signature in signatures):
        return "it is not signed by this key"
    statement: dict[str, Any] = json.loads(payload)
    if (statement["_type"], statement["predicateType"]) != (STATEMENT, PREDICATE):
        return "it is no SLSA provenance, version 1"
    return statement


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Do what is asked; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    parser.add_argument("command", choices=["build", "verify"])
    parser.add_argument("directory", type=Path, help="of the release's files")
    parser.add_argument("--key", type=Path, default=os.environ.get(KEY_VARIABLE) or None, help="a PEM file")
    options = parser.parse_args(arguments)
    try:
        if not options.key:
            hint = f"Name it by --key, or by {KEY_VARIABLE}; `make wheel` builds without one"
            raise NotFound("release", str(options.directory), "no key is given", hint)
        if options.command == "build":
            files = build(source(root), options.directory, private_key(options.key))
            sys.stdout.write("".join(f"{sha256(file)}  {file.name}\n" for file in files))
            return 0
        if not options.directory.is_dir():
            raise NotFound("verify", str(options.directory), "there is no such directory", "Name the release's")
        found = list(problems(options.directory, public_key(options.key)))
    except KeyturnError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join(f"{problem}\n" for problem in found) or "all files are as they were signed\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
