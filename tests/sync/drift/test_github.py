"""Drift in GitHub Actions: ownership from marks alone, and case-insensitive names."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, ClassVar

import pytest

from keyturn.core.plan import Action
from keyturn.providers.github.store import MARKS_PREFIX
from local.emulators.github import LocalGitHub
from local.support.ports import free_port
from tests.providers.github.test_store import Raws
from tests.sync.drift.suite import CHANGED, ERASED, STRIPPED, TAKEN, Act, FoldingContract

pytestmark = pytest.mark.sampled(10, of="file")

REPOSITORIES = tuple(f"octo/app-{number}" for number in range(40))
"""One for each test: GitHub allows a hundred secrets in one."""


@dataclass
class Browser:
    """Somebody with a repository's settings in the browser, in another second than Keyturn."""

    server: LocalGitHub
    repository: str

    @property
    def raw(self) -> Raws:
        """Calls that know nothing of Keyturn."""
        return Raws(self.server.api_url, self.server.token_file, f"repos/{self.repository}/actions")

    def put(self, name: str, fields: dict[str, str]) -> None:
        """A secret, or another value for it."""
        time.sleep(1.1)
        self.raw.put(name, json.dumps(fields))

    def strip(self, name: str) -> None:
        """Delete the variable with the marks."""
        self.raw.ask("DELETE", f"variables/{MARKS_PREFIX}{name}")

    def erase(self, name: str) -> None:
        """Delete the secret, and leave what lies next to it."""
        self.raw.ask("DELETE", f"secrets/{name}")

    def clear(self, name: str) -> None:
        """Delete both."""
        self.strip(name)
        self.erase(name)

    def served(self, name: str) -> Any:
        """What a workflow sees."""
        seen = self.server.workflow_sees(self.repository, name)
        return None if seen is None else json.loads(seen)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGitHub]:
    places = [f"--repository={repository}" for repository in REPOSITORIES]
    with LocalGitHub(tmp_path_factory.mktemp("github"), free_port(), *places) as running:
        yield running


@pytest.fixture(scope="module")
def fresh() -> Iterator[int]:
    return count()


class TestGitHubActions(FoldingContract):
    acts = (
        CHANGED,
        replace(STRIPPED, found=Action.CONFLICT),
        TAKEN,
        ERASED,
        Act("removed-with-its-marks", Browser.clear, Action.CREATE),
    )
    sync: ClassVar = {"separator": "_"}

    @pytest.fixture
    def hands(self, server: LocalGitHub, fresh: Iterator[int]) -> Browser:
        return Browser(server, REPOSITORIES[next(fresh)])

    @pytest.fixture
    def settings(self, server: LocalGitHub, hands: Browser) -> dict[str, Any]:
        place = {"repository": hands.repository, "api_url": server.api_url}
        return {"kind": "github-actions", "token_file": str(server.token_file), **place}
