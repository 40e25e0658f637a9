"""The Keyturn wheel works next to a project with the same folder names."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.flows.site import Architect
from tests.support.lab import Lab
from tests.support.prefect_server import PrefectServer
from tests.support.wheels import install

pytestmark = pytest.mark.sampled(37, of="files")

FOLDERS: Final = ("flows", "tasks", "blocks", "deployments")
THEIRS: Final = """
from prefect import flow
from tasks import OURS


@flow
def hello() -> str:
    return OURS


if __name__ == "__main__":
    import blocks, deployments, keyturn.project.collection, os
    assert blocks.OURS == deployments.OURS == hello() == "theirs"
    secret = keyturn.project.collection.KeyturnSecret(path=os.environ["SECRET"], field="value")
    assert secret.get().reveal() == os.environ["VALUE"]
    print("well")
"""


@dataclass(frozen=True)
class Installation:
    """A virtual environment with the wheel in it, and somebody's project, which commands are run in."""

    python: Path
    project: Path
    environment: dict[str, str]

    def run(self, *given: str) -> str:
        """A program of the environment in the project; what it prints. Fails with what it said."""
        asked = [str(self.python), *given]
        done = subprocess.run(
            asked, cwd=self.project, env=self.environment, capture_output=True, text=True, check=False, timeout=180
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A Prefect server without anything."""
    server = PrefectServer(tmp_path_factory.mktemp("prefect"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def installation(tmp_path: Path, own_server: PrefectServer) -> Installation:
    """The wheel, with the packages that this run of the tests has, but not the sources that it has."""
    python = install(tmp_path, "keyturn")
    project = tmp_path / "project"
    for folder in FOLDERS:
        (project / folder).mkdir(parents=True)
        (project / folder / "__init__.py").write_text('OURS = "theirs"\n')
    (project / "flows" / "hello.py").write_text(THEIRS)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PREFECT_"))}
    return Installation(python, project, {**kept, **own_server.environment})


@pytest.mark.slow
def test_it_rotates_beside_a_project_with_folders_of_the_same_names(
    installation: Installation, own_server: PrefectServer, architect: Architect, lab: Lab
) -> None:
    secret = lab.generated()
    with own_server.in_use():
        site = Architect(own_server, lab, architect.directory, {}, {}).build(secret)
    where = {
        "KEYTURN_CATALOGUE": str(architect.directory / site.name),
        "VAULT_ADDR": lab.world.hub_address,
        "KEYTURN_HUB_ROLE_ID_FILE": str(architect.directory / "role-id"),
        "KEYTURN_HUB_SECRET_ID_FILE": str(architect.directory / "secret-id"),
    }
    installation.environment.update(where)
    assert "keyturn/project" in installation.run("-c", "import keyturn.project as p; print(p.root())")
    installation.run("-m", "keyturn", "setup", "prefect", "--apply")
    worker = [str(installation.python), "-m", "prefect", "worker", "start", "--pool=keyturn", "--type=keyturn"]
    with subprocess.Popen(worker, cwd=installation.project, env=installation.environment) as process:
        try:
            installation.run("-m", "keyturn", "rotate", secret.path, "--now")
        finally:
            process.terminate()
    assert site.version(secret) == 2
    asked = {
        "SECRET": secret.path,
        "KEYTURN_SETUP_SECRETS": f"VALUE={secret.path}#value",
        "KEYTURN_SETUP_ALWAYS": "true",
    }
    installation.environment.update(asked | {"PREFECT_PLUGINS_ENABLED": "true"})
    assert "well" in installation.run("-m", "flows.hello")
