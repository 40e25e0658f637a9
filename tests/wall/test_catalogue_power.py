"""Whoever may merge one line into the catalogue gets no credential, no file and no host that the line does not own."""

from pathlib import Path

import pytest

from keyturn.catalogue import CatalogueInvalid, find_problems, load_catalogue

ELSEWHERE = "evil.example.com"
TARGETS = {
    "postgresql": "host: evil.example.com, database: app",
    "mysql": "host: evil.example.com, database: app",
    "redis": "host: evil.example.com",
    "http-api": 'url: "https://evil.example.com", headers: { authorization: "Bearer {{admin.password}}" }',
}
"""Of each kind of target that has an admin credential, one at a host of the attacker's."""


def problems(directory: Path, text: str, env: dict[str, str] | None = None) -> list[str]:
    """What is wrong with a catalogue of this one file; it is not loaded then."""
    (directory / "all.yaml").write_text(text)
    found = [str(problem) for problem in find_problems(directory, env or {})]
    if found:
        with pytest.raises(CatalogueInvalid):
            load_catalogue(directory, env or {})
    else:
        load_catalogue(directory, env or {})
    return found


# --- entries of the hub


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("path", ["targets/main", "targets", "targets/mine2", "fingerprint-key", "webhooks/mine"])
def test_the_login_of_another_target_is_sent_to_no_host_of_ones_own(kind: str, path: str, tmp_path: Path) -> None:
    (flaw,) = problems(tmp_path, f"targets:\n  mine: {{ kind: {kind}, {TARGETS[kind]}, admin: {path} }}\n")
    assert "targets.mine.admin: it may only be read from the hub at targets/mine or below" in flaw
    assert problems(tmp_path, f"targets:\n  mine: {{ kind: {kind}, {TARGETS[kind]}, admin: targets/mine }}\n") == []


@pytest.mark.parametrize("path", ["webhooks/trainer", "targets/main", "fingerprint-key", "rotations/app/key"])
def test_a_consumer_is_signed_to_with_no_key_of_another(path: str, tmp_path: Path) -> None:
    (flaw,) = problems(tmp_path, f'consumers:\n  mine: {{ url: "https://{ELSEWHERE}", signing_key: {path} }}\n')
    assert "consumers.mine.signing_key: it may only be read from the hub at webhooks/mine or below" in flaw
    assert (
        problems(tmp_path, f'consumers:\n  mine: {{ url: "https://{ELSEWHERE}", signing_key: webhooks/mine/k }}\n')
        == []
    )


def test_no_name_makes_a_path_of_another_ones_own(tmp_path: Path) -> None:
    text = "targets:\n  main/x: { kind: redis, host: evil.example.com, admin: targets/main/x }\n"
    assert "targets.main/x: this name can't be used" in problems(tmp_path, text)[0]
