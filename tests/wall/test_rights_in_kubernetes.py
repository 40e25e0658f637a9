"""The rendered Kubernetes Role allows a store's whole work, and nothing more."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import kubernetes.client
import pytest
import yaml
from kubernetes.client.exceptions import ApiException

from keyturn.catalogue import Catalogue
from keyturn.core.errors import Denied
from keyturn.core.rights.rights import Verdict
from keyturn.doctor import elsewhere
from keyturn.providers.kubernetes import rights
from keyturn.rights.copies import store_documents
from local.emulators.kubernetes import Account, rules, rules_in
from tests.support.cluster import NAMESPACE, Cluster, running
from tests.support.lab import Lab
from tests.wall.rendered import Rendered

pytestmark = pytest.mark.sampled(37, of="files")

WORKLOAD: Final = "api"


class InKubernetes(Rendered):
    """A Secret that a Deployment uses, and one of somebody else's."""

    def __init__(self, lab: Lab, cluster: Cluster) -> None:
        self.cluster = cluster
        settings = cluster.settings("worker", workloads=[WORKLOAD])
        super().__init__(lab, settings)

    def grant(self, revoking: bool) -> None:
        """The account of the store has the rendered Role now, which whoever revokes is bound to as well."""
        role, *bindings = (
            document for text in self.documents.values() for document in yaml.safe_load_all(text) if document
        )
        assert {binding["roleRef"]["name"] for binding in bindings} == {role["metadata"]["name"]}
        assert [binding["subjects"][0]["name"] for binding in bindings] == ["${KEYTURN_WORKER}", "${KEYTURN_REVOKER}"]
        self.cluster.emulator.admit(Account("worker", "worker's token", rules_in(self.documents)))

    def client(self) -> kubernetes.client.ApiClient:
        """Whoever has the worker's token, and asks by hand."""
        made = kubernetes.client.Configuration(
            host=self.cluster.server.url, ssl_ca_cert=str(self.cluster.directory / "ca.pem")
        )
        made.api_key["BearerToken"] = "Bearer worker's token"
        return kubernetes.client.ApiClient(made)

    def verdicts(self) -> list[Verdict]:
        """What the API server says of the account."""
        return list(rights.ask_namespace("memory", self.copies, False, **self.opened_with()))


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InKubernetes]:
    with running(tmp_path_factory.mktemp("cluster")) as cluster:
        made = InKubernetes(lab, cluster)
        cluster.core.create_namespaced_secret(NAMESPACE, {"metadata": {"name": made.foreign}, "stringData": {"a": "b"}})
        cluster.core.create_namespaced_secret(NAMESPACE, {"metadata": {"name": "theirs"}, "stringData": {"a": "b"}})
        cluster.deploy(WORKLOAD, [made.remote])
        cluster.deploy("another", [made.remote])
        yield made


def test_with_the_rendered_role_the_whole_job_is_done_and_an_incident_is_proven(site: InKubernetes) -> None:
    site.work()
    assert site.cluster.restarts(WORKLOAD) > 0
    assert site.cluster.restarts("another") == 0
    site.revoke()


EMPTY: Final[dict[str, Any]] = {"spec": {"selector": {}, "template": {}}}
ATTACKS: Final[dict[str, Callable[[Any, Any, str], Any]]] = {
    "read another's": lambda core, apps, own: core.read_namespaced_secret("theirs", NAMESPACE),
    "patch another's": lambda core, apps, own: core.patch_namespaced_secret("theirs", NAMESPACE, {"data": {}}),
    "delete another's": lambda core, apps, own: core.delete_namespaced_secret("theirs", NAMESPACE),
    "replace its own": lambda core, apps, own: core.replace_namespaced_secret(own, NAMESPACE, {"metadata": {}}),
    "list elsewhere": lambda core, apps, own: core.list_namespaced_secret("default"),
    "create elsewhere": lambda core, apps, own: core.create_namespaced_secret("default", {"metadata": {"name": "a"}}),
    "read a workload": lambda core, apps, own: apps.read_namespaced_deployment(WORKLOAD, NAMESPACE),
    "patch another workload": lambda core, apps, own: apps.patch_namespaced_deployment("another", NAMESPACE, {}),
    "patch its status": lambda core, apps, own: apps.patch_namespaced_deployment_status(WORKLOAD, NAMESPACE, {}),
    "create a workload": lambda core, apps, own: apps.create_namespaced_deployment(NAMESPACE, EMPTY),
    "delete a workload": lambda core, apps, own: apps.delete_namespaced_deployment(WORKLOAD, NAMESPACE),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_call_outside_the_rendered_role_is_refused(
    site: InKubernetes, attack: Callable[[Any, Any, str], Any]
) -> None:
    site.grant(revoking=False)
    with site.client() as api, pytest.raises(ApiException) as refused:
        attack(kubernetes.client.CoreV1Api(api), kubernetes.client.AppsV1Api(api), site.remote)
    assert refused.value.status == 403


# --- what the account may do is told by the API server


@pytest.mark.parametrize("tells", [True, False], ids=["by its rules", "call by call"])
def test_an_account_with_the_rendered_role_has_exactly_the_rights_it_needs(site: InKubernetes, tells: bool) -> None:
    site.grant(revoking=False)
    site.cluster.emulator.tells_no_rules = not tells
    try:
        verdicts = site.verdicts()
    finally:
        site.cluster.emulator.tells_no_rules = False
    assert {verdict.allowed for verdict in verdicts if verdict.needed} == {True}
    assert [verdict for verdict in verdicts if not verdict.needed and verdict.allowed] == []


@pytest.mark.parametrize("tells", [True, False], ids=["by its rules", "call by call"])
def test_missing_and_excess_rights_of_an_account_are_reported(site: InKubernetes, tells: bool) -> None:
    more = rules(secrets=("get", "list", "deletecollection"))
    site.cluster.emulator.admit(Account("worker", "worker's token", more))
    site.cluster.emulator.tells_no_rules = not tells
    try:
        verdicts = site.verdicts()
    finally:
        site.cluster.emulator.tells_no_rules = False
    lacking = {(verdict.call, verdict.place) for verdict in verdicts if verdict.needed and not verdict.allowed}
    beyond = {verdict.call.removesuffix(".*") for verdict in verdicts if not verdict.needed and verdict.allowed}
    assert ("patch secrets", f"{NAMESPACE}/{site.remote}") in lacking
    assert ("list deployments.apps", NAMESPACE) in lacking
    assert ("get secrets", f"{NAMESPACE}/{site.remote}") not in lacking
    assert {"deletecollection secrets", "get secrets"} <= beyond


def test_an_unknown_account_is_reported(site: InKubernetes) -> None:
    site.cluster.emulator.admit(Account("worker", "another's token"))
    with pytest.raises(Denied):
        site.verdicts()


def test_names_known_only_from_the_hub_need_unnamed_rights_and_removed_ones_are_deleted() -> None:
    store = {"kind": "kubernetes", "namespace": "apps", "deletion": "delete"}
    destinations = [{"store": "k", "name": "a"}]
    data: dict[str, Any] = {
        "stores": {"k": store},
        "secrets": {"team/a": {"path": "team/a", **ABOUT, "destinations": destinations}},
    }
    assert [(rule["verbs"], rule.get("resourceNames")) for rule in rules_for(data)] == [
        (["create", "list"], None),
        (["delete", "get", "patch"], ["a"]),
        (["delete", "get"], None),
    ]
    data["syncs"] = {"all": {"paths": ["team/**"], "stores": ["k"], "separator": "-"}}
    assert [rule.get("resourceNames") for rule in rules_for(data)] == [None, ["a"], None], "the operator lists nothing"
    data["policy"] = {"undeclared": ["team/**"]}
    assert [rule.get("resourceNames") for rule in rules_for(data)] == [None, None]


def rules_for(data: dict[str, Any]) -> list[dict[str, Any]]:
    role, _ = store_documents(Catalogue.model_validate(data), "made by a test")
    rules: list[dict[str, Any]] = next(yaml.safe_load_all(role.text))["rules"]
    return rules


ROTATION: Final = {"strategy": "generated", "fields": {"value": {}}, "interval": "30d", "grace": "1h"}
ABOUT: Final = {"owner": "tests@example.com", "classification": "internal", "rotation": ROTATION}


def test_the_command_checks_what_it_can_and_lists_the_rest(site: InKubernetes) -> None:
    site.grant(revoking=False)
    answers = elsewhere.ask_everyone(site.catalogue, "worker")
    assert [answer.finding for answer in answers if answer.finding] == []
    assert {answer.where for answer in answers} == {"store memory"}
    assert list(elsewhere.unasked(site.catalogue, "worker")) == ["the target pg (postgresql)"]
    site.cluster.emulator.admit(Account("worker", "another's token"))
    (answer,) = elsewhere.ask_everyone(site.catalogue, "worker")
    assert (answer.finding, answer.is_bad) == ("could not look", True)
