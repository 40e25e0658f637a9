"""The token files do what every strategy must."""

from pathlib import Path

import pytest

from docs.examples.token_files import TokenFiles, digest
from keyturn.core.errors import NotFound
from keyturn.core.ports.strategies import Change
from keyturn.core.sensitive import SecretFields
from tests.contracts.strategy import Case, StrategyContract


def lets_in(directory: Path, fields: SecretFields) -> bool:
    """Whether the gateway lets in who holds this version's token."""
    files = [file for file in directory.iterdir() if not file.name.startswith(".")]
    return digest(fields["token"]) in {file.read_text() for file in files}


class TestTokenFiles(StrategyContract):
    changes = frozenset({"id", "token"})
    fenced = True

    @pytest.fixture
    def case(self, tmp_path: Path) -> Case:
        strategy = TokenFiles("apps/gateway", tmp_path)
        current = strategy.mint(None)
        strategy.install(Change("apps/gateway", 1, current, None))
        return Case(
            strategy,
            current,
            works=lambda fields: lets_in(tmp_path, fields),
            spoilt=lambda candidate: candidate.merged({"token": "not-the-token-that-was-written"}),
            stranger=current.merged({"id": "../elsewhere"}),
        )

    def test_a_directory_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        strategy = TokenFiles("apps/gateway", tmp_path / "absent")
        with pytest.raises(NotFound, match="directory of tokens is not there"):
            strategy.install(Change("apps/gateway", 1, strategy.mint(None), None))
