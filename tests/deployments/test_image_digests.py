"""The command that writes digests, with a program in Docker's place that answers as a registry's would."""

import os
import re
import stat
from pathlib import Path

import pytest

from tests.support.compose import LOCAL, PRODUCTION, VARIABLE, compose_file
from tools.image_digests import COMPOSE, all_images, images, main

DIGEST = f"sha256:{'3f' * 32}"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called docker; what it is asked stands in a file next to it."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.chdir(LOCAL.parent)
    return program


def answering(program: Path, script: str) -> None:
    program.write_text(f'#!/bin/sh\necho "$*" >> {program}.asked\n{script}\n')
    program.chmod(stat.S_IRWXU)


def test_each_image_gets_the_digest_that_its_registry_says(registry: Path, tmp_path: Path) -> None:
    answering(registry, f"echo {DIGEST}")
    file = tmp_path / "images.env"
    assert main([str(file)]) == 0
    given = dict(line.split("=", 1) for line in file.read_text().splitlines())
    servers = {"KEYTURN_REDIS_IMAGE", "KEYTURN_HAPROXY_IMAGE"}
    assert set(given) == {"KEYTURN_PYTHON_IMAGE", "KEYTURN_OPENBAO_IMAGE", "KEYTURN_POSTGRES_IMAGE"} | servers
    asked = Path(f"{registry}.asked").read_text().splitlines()
    assert {line.rsplit(" ", 1)[1] for line in asked} == set(all_images(COMPOSE).values())
    services = compose_file(LOCAL, given)["services"]
    assert services["postgres"]["image"] == f"{images(LOCAL)['KEYTURN_POSTGRES_IMAGE']}@{DIGEST}"
    redis = compose_file(PRODUCTION, given)["services"]["redis"]["image"]
    assert redis == f"{images(PRODUCTION)['KEYTURN_REDIS_IMAGE']}@{DIGEST}"
    assert services["files"]["build"]["args"]["PYTHON_IMAGE"].endswith(f"@{DIGEST}")


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo 'manifest unknown' >&2; exit 1", "manifest unknown"),
        ("echo latest", "the answer is no digest"),
        (f"echo {DIGEST}; echo {DIGEST}", "the answer is no digest"),
    ],
)
def test_nothing_is_written_where_one_can_not_be_told(
    registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], script: str, problem: str
) -> None:
    answering(registry, script)
    assert main([str(tmp_path / "images.env")]) == 1
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "images.env").exists()


def test_without_docker_it_says_so(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(registry.parent))
    assert main([str(tmp_path / "images.env")]) == 1
    assert "docker is not there" in capsys.readouterr().err


def test_every_image_of_others_is_named_by_a_variable_of_its_own() -> None:
    for file, own in ((LOCAL, set[str]()), (PRODUCTION, {"KEYTURN_IMAGE"})):
        named = {name for name, _, _ in VARIABLE.findall(file.read_text()) if name.endswith("_IMAGE")}
        assert named == own | set(images(file))
    dockerfile = (LOCAL.parent / "deployments" / "Dockerfile").read_text()
    assert f"\nARG PYTHON_IMAGE={images(LOCAL)['KEYTURN_PYTHON_IMAGE']}\n" in dockerfile
    stages = set(re.findall(r"(?m)^FROM \S+ AS (\S+)", dockerfile))
    assert set(re.findall(r"(?m)^FROM (\S+)", dockerfile)) - stages == {"${PYTHON_IMAGE}"}
