"""An agent that begins while the hub is away gives what the one before it has read."""

import base64
import secrets
from pathlib import Path

import pytest

from keyturn.agent.application import Agent
from keyturn.agent.doors import LocalEntrance
from keyturn.agent.plain_names import PlainNames
from keyturn.cli.agent import offline_cache
from keyturn.client.client import SecretClient
from keyturn.core.errors import Invalid
from tests.support.agent import HEADERS, TOKEN, ask, serving
from tests.support.served import MemorySource


def test_an_agent_that_begins_in_an_outage_gives_what_the_one_before_has_read(tmp_path: Path) -> None:
    directory, key = tmp_path / "offline", tmp_path / "key"
    key.write_text(base64.b64encode(secrets.token_bytes(32)).decode())
    key.chmod(0o600)
    given = []
    source = MemorySource(a=1)
    for _ in range(2):
        with (
            SecretClient([source], poll=0, offline=offline_cache(directory, key)) as client,
            serving(Agent(client, PlainNames), LocalEntrance(TOKEN)) as url,
        ):
            given.append(ask(f"{url}/v1/a", headers=HEADERS).json())
        source.away = True
    assert given[0] == given[1]
    key.chmod(0o644)
    with pytest.raises(Invalid, match="key"):
        offline_cache(directory, key)
