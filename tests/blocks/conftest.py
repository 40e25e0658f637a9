"""The Prefect server of the test run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.setup_environment import LEASES, SECRETS
from keyturn.core.sensitive import SecretFields
from tests.flows.stage import canary
from tests.support.engines import OverPostgreSQL
from tests.support.lab import Lab, fresh
from tests.support.prefect_server import PrefectServer, shared


@pytest.fixture
def prefect(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """The server, and this process uses it."""
    server = shared(request.config, tmp_path_factory)
    with server.in_use():
        yield server


@pytest.fixture
def secret(lab: Lab) -> tuple[str, str]:
    """A secret's path, and its value."""
    path, value = f"{fresh()}/api", canary("secret")
    lab.hub.write(path, SecretFields({"key": value}), cas=0)
    return path, value


@pytest.fixture
def role(lab: Lab) -> str:
    return OverPostgreSQL(lab).dynamic("1h", "24h")


@pytest.fixture
def leading(lab: Lab, tmp_path: Path, secret: tuple[str, str], role: str) -> dict[str, str]:
    """What an environment says that asks for credentials."""
    (tmp_path / "token").write_text(lab.world.hub_token)
    (tmp_path / "token").chmod(0o600)
    leases = f"PGUSER=database/creds/{role}#username, PGPASSWORD=database/creds/{role}#password"
    return {
        "VAULT_ADDR": lab.world.hub_address,
        "KEYTURN_HUB_TOKEN_FILE": str(tmp_path / "token"),
        SECRETS: f"API_KEY={secret[0]}#key",
        LEASES: leases,
    }
