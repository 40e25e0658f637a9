"""The rendered Google Cloud roles allow a store's whole work, and nothing more."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from google.api_core import exceptions as api

from keyturn.core.rights.gcp_rights import NAMES, GcpScope, conditions, role_files
from keyturn.core.rights.rights import CopyRights, Verdict
from keyturn.providers.gcp import rights
from local.emulators.gcp_iam.emulator import Conduct
from local.emulators.gcp_iam.emulator import Emulator as GoogleIam
from local.emulators.gcp_iam.server import Server
from local.emulators.gcp_secret_manager.admission import Admission
from local.emulators.gcp_secret_manager.grants import Grant, bound
from local.emulators.gcp_secret_manager.paging import LARGEST_PAGE
from local.emulators.gcp_secret_manager.servicer import make_server
from local.emulators.gcp_secret_manager.state import State
from tests.deployments.emulators.test_gcp_secret_manager import connected
from tests.support.lab import Lab
from tests.wall.rendered import Rendered

pytestmark = pytest.mark.sampled(37, of="files")

PROJECT: Final = "keyturn-rights"
SECRETS: Final = f"projects/{PROJECT}/secrets"
AUTOMATIC: Final[dict[str, Any]] = {"replication": {"automatic": {}}}


class ResourceManager(GoogleIam):
    """Tells what whoever calls may do on the project."""

    port = 0

    def tell(self, grants: Iterable[Grant]) -> None:
        """From now on what these allow."""
        held = {
            permission
            for permission in rights.ON_PROJECT
            if any(grant.allows(permission, f"projects/{PROJECT}") for grant in grants)
        }
        self._conduct = Conduct(denied=frozenset(rights.ON_PROJECT) - held)


class InGoogleCloud(Rendered):
    """The secrets of one project, some of which are others'."""

    def __init__(self, lab: Lab, admission: Admission, port: int) -> None:
        self.admission = admission
        super().__init__(lab, {"kind": "gcp-secret-manager", "project": PROJECT, "endpoint": f"127.0.0.1:{port}"})

    def grant(self, revoking: bool) -> None:
        """Whoever calls has the rendered roles, bound as they say."""
        own = {name: text for name, text in self.documents.items() if revoking or "-revoker" not in name}
        self.admission.grants = bound(own)


@pytest.fixture(scope="module")
def served(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[InGoogleCloud, Any]]:
    admission, state = Admission(None, None), State(tmp_path_factory.mktemp("gcp") / "data")
    server = make_server(state, admission, LARGEST_PAGE)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with connected(port) as connection:
            client: Any = connection
            site = InGoogleCloud(lab, admission, port)
            for name in (site.foreign, "theirs", f"{site.remote}-theirs"):
                client.create_secret(parent=f"projects/{PROJECT}", secret_id=name, secret=AUTOMATIC)
                client.add_secret_version(parent=f"{SECRETS}/{name}", payload={"data": b"theirs"})
            yield site, client
    finally:
        server.stop(grace=None).wait()
        state.close()


@pytest.fixture
def site(served: tuple[InGoogleCloud, Any]) -> InGoogleCloud:
    return served[0]


def test_with_the_rendered_roles_the_whole_job_is_done_and_an_incident_is_proven(site: InGoogleCloud) -> None:
    site.work()
    site.revoke()


Call = Callable[[Any, str], Any]

ATTACKS: Final[dict[str, Call]] = {
    "read another's": lambda gcp, own: gcp.access_secret_version(name=f"{SECRETS}/theirs/versions/latest"),
    "read of a like name": lambda gcp, own: gcp.access_secret_version(name=f"{SECRETS}/{own}-theirs/versions/1"),
    "describe another's": lambda gcp, own: gcp.get_secret(name=f"{SECRETS}/theirs"),
    "write another's": lambda gcp, own: gcp.add_secret_version(parent=f"{SECRETS}/theirs", payload={"data": b"a"}),
    "write of a like name": lambda gcp, own: gcp.add_secret_version(
        parent=f"{SECRETS}/{own}-theirs", payload={"data": b"a"}
    ),
    "disable another's": lambda gcp, own: gcp.disable_secret_version(name=f"{SECRETS}/theirs/versions/1"),
    "label another's": lambda gcp, own: gcp.update_secret(
        secret={"name": f"{SECRETS}/theirs", "labels": {"a": "b"}}, update_mask={"paths": ["labels"]}
    ),
    "delete another's": lambda gcp, own: gcp.delete_secret(name=f"{SECRETS}/theirs"),
    "delete its own": lambda gcp, own: gcp.delete_secret(name=f"{SECRETS}/{own}"),
    "destroy its own": lambda gcp, own: gcp.destroy_secret_version(name=f"{SECRETS}/{own}/versions/1"),
    "enable its own": lambda gcp, own: gcp.enable_secret_version(name=f"{SECRETS}/{own}/versions/1"),
    "read its policy": lambda gcp, own: gcp.get_iam_policy(request={"resource": f"{SECRETS}/{own}"}),
    "set its policy": lambda gcp, own: gcp.set_iam_policy(request={"resource": f"{SECRETS}/{own}"}),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_call_outside_the_rendered_roles_is_refused(served: tuple[InGoogleCloud, Any], attack: Call) -> None:
    site, client = served
    site.grant(revoking=False)
    with pytest.raises(api.PermissionDenied):
        attack(client, site.remote)


@pytest.mark.parametrize("attack", ["delete another's", "disable another's", "read of a like name", "set its policy"])
def test_the_revoker_can_not_change_other_owners_secrets(served: tuple[InGoogleCloud, Any], attack: str) -> None:
    site, client = served
    site.grant(revoking=True)
    with pytest.raises(api.PermissionDenied):
        ATTACKS[attack](client, site.remote)


# --- what the account may do is told by Google


@pytest.fixture(scope="module")
def resource_manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ResourceManager]:
    emulator = ResourceManager(tmp_path_factory.mktemp("resource-manager"), Conduct())
    with Server(emulator, 0) as server:
        emulator.port = server.port
        yield emulator


def verdicts(site: InGoogleCloud, there: ResourceManager, revoking: bool, *more: Grant) -> list[Verdict]:
    """What Google says of whoever has the rendered roles, and more."""
    site.grant(revoking)
    site.admission.grants = [*(site.admission.grants or ()), *more]
    there.tell(site.admission.grants)
    endpoint = f"127.0.0.1:{there.port}"
    return list(
        rights.ask_secret_manager("memory", site.copies, revoking, **site.opened_with(), resource_manager=endpoint)
    )


@pytest.fixture
def copied(served: tuple[InGoogleCloud, Any]) -> Iterator[InGoogleCloud]:
    """Both copies are there."""
    site, client = served
    site.admission.grants = None
    for name in (site.remote, site.foreign):
        with suppress(api.AlreadyExists):
            client.create_secret(parent=f"projects/{PROJECT}", secret_id=name, secret=AUTOMATIC)
    yield site
    site.admission.grants = None


@pytest.mark.parametrize("revoking", [False, True])
def test_an_account_with_the_rendered_roles_has_exactly_the_rights_it_needs(
    copied: InGoogleCloud, resource_manager: ResourceManager, revoking: bool
) -> None:
    answers = verdicts(copied, resource_manager, revoking)
    assert {verdict.allowed for verdict in answers if verdict.needed} == {True}
    assert [verdict for verdict in answers if not verdict.needed] == []
    assert {verdict.place for verdict in answers} == {
        f"projects/{PROJECT}",
        f"{SECRETS}/{copied.remote}",
        f"{SECRETS}/{copied.foreign}",
    }


def test_missing_and_excess_rights_of_an_account_are_reported(
    copied: InGoogleCloud, resource_manager: ResourceManager
) -> None:
    more = Grant(frozenset({"secretmanager.versions.access", "iam.serviceAccountKeys.create"}))
    of_one = Grant(frozenset({"secretmanager.versions.enable"}), f'resource.name.endsWith("/secrets/{copied.remote}")')
    answers = verdicts(copied, resource_manager, False, more, of_one)
    beyond = {(verdict.call, verdict.place) for verdict in answers if not verdict.needed and verdict.allowed}
    assert beyond == {
        ("secretmanager.versions.access", f"projects/{PROJECT}"),
        ("iam.serviceAccountKeys.create", f"projects/{PROJECT}"),
        ("secretmanager.versions.enable", f"{SECRETS}/{copied.remote}"),
    }
    copied.grant(revoking=False)
    copied.admission.grants = [
        grant for grant in copied.admission.grants or () if "secretmanager.versions.add" not in grant.permissions
    ]
    resource_manager.tell(copied.admission.grants)
    endpoint = f"127.0.0.1:{resource_manager.port}"
    asked = rights.ask_secret_manager("memory", copied.copies, False, **copied.opened_with(), resource_manager=endpoint)
    lacking = {(verdict.call, verdict.place) for verdict in asked if verdict.needed and not verdict.allowed}
    assert ("secretmanager.versions.add", f"{SECRETS}/{copied.remote}") in lacking
    assert ("secretmanager.secrets.create", f"projects/{PROJECT}") not in lacking


def test_rights_on_missing_secrets_can_not_be_checked(
    served: tuple[InGoogleCloud, Any], resource_manager: ResourceManager
) -> None:
    site, client = served
    site.admission.grants = None
    with suppress(api.NotFound):
        client.delete_secret(name=f"{SECRETS}/{site.remote}")
    (unknown,) = [verdict for verdict in verdicts(site, resource_manager, False) if verdict.allowed is None]
    assert (unknown.place, unknown.needed) == (f"{SECRETS}/{site.remote}", True)
    assert "does not exist yet" in unknown.why


def test_an_emulator_with_resource_manager_is_asked_for_rights_on_the_project(copied: InGoogleCloud) -> None:
    copied.grant(revoking=False)
    answers = list(rights.ask_secret_manager("memory", copied.copies, False, **copied.opened_with()))
    assert [verdict for verdict in answers if verdict.needed != verdict.allowed] == []
    assert {verdict.call for verdict in answers if verdict.place == f"projects/{PROJECT}"} == {
        "secretmanager.secrets.create",
        "secretmanager.secrets.list",
    }


def test_unknown_rights_on_the_project_are_reported(copied: InGoogleCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rights, "ON_PROJECTS", "/google.cloud.another.v1.Service/TestIamPermissions")
    answers = list(rights.ask_secret_manager("memory", copied.copies, False, **copied.opened_with()))
    assert {verdict.call for verdict in answers if verdict.allowed is None} == {
        "secretmanager.secrets.create",
        "secretmanager.secrets.list",
    }


def test_many_names_are_split_into_conditions_within_googles_limit() -> None:
    names = tuple(f"copy-{number}" for number in range(2 * NAMES + 1))
    made = conditions(GcpScope(), CopyRights("store-gcp", "made by a test", names))
    assert [text.count("||") + 1 for text in made] == [2 * NAMES, 2 * NAMES, 2]
    assert all(text.count("||") <= 12 for text in made)


def test_names_known_only_from_the_hub_are_matched_by_prefix_or_location() -> None:
    copies = CopyRights("store-gcp", "made by a test", ("a", "team-*"))
    (text,) = conditions(GcpScope("europe-west3"), copies)
    held = Grant(frozenset({"p"}), text)
    home = "projects/1/locations/europe-west3/secrets"
    assert all(held.allows("p", f"{home}/{name}") for name in ("a", "a/versions/1", "team-b", "team-b/versions/2"))
    assert not any(held.allows("p", f"{home}/{name}") for name in ("ab", "teal", "x/versions/1"))
    assert not held.allows("p", "projects/1/secrets/a")
    assert conditions(GcpScope(), CopyRights("store-gcp", "made by a test", ("*",))) == ()


def test_only_rights_that_the_settings_need_are_rendered() -> None:
    copies = CopyRights("store-gcp", "made by a test", ("a",))
    kept = {document.name: document.text for document in role_files(GcpScope(old_versions="keep"), copies)}
    assert "versions.list" not in kept["store-gcp.yaml"]
    assert "versions.disable" not in kept["store-gcp.yaml"]
    assert list(role_files(GcpScope(), CopyRights("store-gcp", "made by a test", ()))) == []


def test_a_condition_that_is_not_understood_is_refused_by_the_emulator(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not known here"):
        Grant(frozenset(), 'resource.name.matches("a")')
