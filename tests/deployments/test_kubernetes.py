"""The Helm chart and Kustomize base are valid, consistent and confined.

Rendered by Helm's own engine and by ``kubectl kustomize``; nothing here asks a cluster.
"""

import copy
import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml

from keyturn.cli.app import app
from keyturn.core.errors import Invalid
from keyturn.core.workspaces import WorkspaceNames
from keyturn.settings.hub import HubSettings
from local.debian import release
from local.helm import Release, Rendering, render
from local.programs import find_program
from tests.support.kubernetes_schemas import VERSIONS, problems
from tools import manifests
from tools.manifests import CHART, COMPONENTS, EXAMPLE, KUSTOMIZE, documents, identity, merged, without_helm

ROOT: Final = Path(__file__).parents[2]
GIVEN: Final = dict(yaml.safe_load(EXAMPLE.read_text()))
EVERYTHING: Final = {
    "granter": {"enabled": True},
    "backup": {"enabled": True},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "runbooks": "https://wiki.example.com/keyturn/"},
    "recoveryKey": {"configMap": {"name": "keyturn-recovery-key"}},
    "workspace": "physics",
    "failureUrlSecret": "keyturn-failure-url",
    "settings": {"AWS_REGION": "eu-central-1"},
    "worker": {
        "kubernetesApi": True,
        "serviceAccountAnnotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/keyturn"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "priorityClassName": "high",
    },
    "serve": {"auditLogs": {"persistentVolumeClaim": {"claimName": "openbao-audit"}}, "auditGroup": 988},
    "onCall": {"spool": {"enabled": False}},
    "image": {"pullSecrets": [{"name": "registry"}]},
    "networkPolicy": {
        "witnesses": [{"to": [{"ipBlock": {"cidr": "203.0.113.0/29"}}], "ports": [{"protocol": "TCP", "port": 443}]}],
        "accessLogs": [{"to": [{"ipBlock": {"cidr": "203.0.113.8/29"}}], "ports": [{"protocol": "TCP", "port": 443}]}],
        "scrapers": [manifests.MONITORING],
        "posters": [{"podSelector": {"matchLabels": {"app": "trainer"}}}],
    },
}
"""All that the chart can be told, at once."""
ABSENT: Final = {
    **{name: {"enabled": False} for name in ("revoker", "notary", "serve", "follower", "onCall", "bootstrap")},
    "podDisruptionBudget": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "worker": {"autoscaling": {"enabled": False}},
}
REFUSED: Final[Mapping[str, tuple[dict[str, Any], str]]] = {
    "a tag": ({"image": {"digest": "0.2.0"}}, "/image/digest"),
    "no digest": ({"image": {"digest": ""}}, "/image/digest"),
    "a hub in clear": ({"hub": {"address": "http://vault:8200"}}, "/hub/address"),
    "a server in clear": ({"prefect": {"apiUrl": "http://prefect:4200/api"}}, "/prefect/apiUrl"),
    "a password in the ledger's address": ({"ledger": {"url": "postgresql://a:b@db/ledger"}}, "/ledger/url"),
    "a secret among the settings": (
        {"settings": {"AZURE_CLIENT_SECRET": "x"}},
        "invalid propertyName 'AZURE_CLIENT_SECRET'",
    ),
    "an access key among the settings": (
        {"settings": {"AWS_SECRET_ACCESS_KEY": "x"}},
        "invalid propertyName 'AWS_SECRET_ACCESS_KEY'",
    ),
    "root": ({"worker": {"user": 0}}, "/worker/user"),
    "no limit of memory": ({"notary": {"resources": {"limits": {"memory": None}}}}, "/notary/resources"),
    "a directory of the node": ({"catalogue": {"configMap": None, "hostPath": {"path": "/"}}}, "/catalogue"),
    "a recovery key in a directory of the node": ({"recoveryKey": {"hostPath": {"path": "/"}}}, "/recoveryKey"),
    "a rule that leads everywhere": ({"networkPolicy": {"hub": [{}]}}, "/networkPolicy/hub"),
    "no way to the hub": ({"networkPolicy": {"hub": []}}, "/networkPolicy"),
    "a word that nobody reads": ({"worker": {"replica": 3}}, "/worker"),
}
ENDPOINTS: Final = {"ServiceMonitor": "endpoints", "PodMonitor": "podMetricsEndpoints"}
ENDPOINT: Final = {"authorization", "port", "scheme", "path", "interval", "tlsConfig"}
RULE: Final = {"alert", "expr", "for", "labels", "annotations"}
"""Source: the API reference of prometheus-operator, monitoring.coreos.com/v1. Not in Kubernetes' own schemas."""
WORKLOADS: Final = ("Deployment", "StatefulSet", "Job", "CronJob")
SECRET: Final = re.compile(r"SECRET|PASSWORD|PASSFILE|TOKEN|AUTH_STRING|_KEY\b|CREDENTIAL|FAILURE_URL|DATABASE")

Document = dict[str, Any]


def guide() -> dict[str, Any]:
    """The values that docs/kubernetes.md shows."""
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    return dict(yaml.safe_load(text.partition("# values.yaml\n")[2].partition("```")[0]))


@pytest.fixture(scope="module")
def rendered() -> tuple[dict[str, Rendering], list[str]]:
    """Each case by Helm, and what ``helm lint`` has against the chart."""
    cases = {"example": {}, "everything": EVERYTHING, "absent": ABSENT} | {k: v for k, (v, _) in REFUSED.items()}
    releases = [Release(merged(GIVEN, more)) for more in cases.values()]
    releases.append(Release(GIVEN, name="second", namespace="elsewhere"))
    releases.append(Release(guide()))
    renderings, found = render(CHART, releases)
    return dict(zip([*cases, "second", "guide"], renderings, strict=True)), found


@pytest.fixture(scope="module")
def example(rendered: tuple[dict[str, Rendering], list[str]]) -> list[Document]:
    return documents(rendered[0]["example"])


@pytest.fixture(scope="module")
def everything(rendered: tuple[dict[str, Rendering], list[str]]) -> list[Document]:
    return documents(rendered[0]["everything"])


def kustomized(folder: Path) -> list[Document]:
    """What Kustomize builds from a folder."""
    if "bookworm" in release():
        pytest.skip("Debian 12's kubectl is older than Kustomize's components")
    kubectl = find_program("kubectl")
    environment = {**os.environ, **kubectl.environment}
    command = [str(kubectl.path), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return list(yaml.load_all(done.stdout, Loader=manifests.LOADER))


@pytest.fixture(scope="module")
def base() -> list[Document]:
    return kustomized(KUSTOMIZE / "base")


@pytest.fixture(scope="module")
def overlay() -> list[Document]:
    return kustomized(KUSTOMIZE / "overlays" / "example")


def pods(found: list[Document]) -> Iterator[tuple[str, Document]]:
    """The specification of each workload's pods, by the workload's name."""
    for each in found:
        if each["kind"] in WORKLOADS:
            spec = each["spec"]["jobTemplate"]["spec"] if each["kind"] == "CronJob" else each["spec"]
            yield each["metadata"]["name"], spec["template"]["spec"]


def variables(found: list[Document], pod: Document) -> dict[str, str]:
    """What the pod's container has in its environment."""
    (container,) = pod["containers"]
    maps = {each["metadata"]["name"]: each["data"] for each in found if each["kind"] == "ConfigMap"}
    taken = {name: value for each in container["envFrom"] for name, value in maps[each["configMapRef"]["name"]].items()}
    return taken | {each["name"]: each.get("value", "pod-1") for each in container["env"]}


def insist_on_schemas(found: list[Document]) -> None:
    """Each object is what Kubernetes' published schemas allow, and says nothing that they don't know."""
    for each in found:
        if endpoints := ENDPOINTS.get(each["kind"]):
            assert set(each["spec"]) == {"selector", endpoints}
            (endpoint,) = each["spec"][endpoints]
            assert set(endpoint) == ENDPOINT
            assert set(endpoint["tlsConfig"]) == {"ca", "serverName"}
        elif each["kind"] == "PrometheusRule":
            assert set(each["spec"]) == {"groups"}
            for group in each["spec"]["groups"]:
                assert set(group) == {"name", "rules"}
                assert all({"alert", "expr", "annotations"} <= set(rule) <= RULE for rule in group["rules"])
        else:
            assert problems(each) == [], identity(each)


def insist_on_confinement(found: list[Document]) -> None:
    """What Pod Security calls restricted, and more: nothing to write to, limits, an exact image, no secret at hand."""
    for name, pod in pods(found):
        assert pod["automountServiceAccountToken"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & set(pod), name
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert min(context["runAsUser"], context["runAsGroup"], context["fsGroup"]) >= 10001, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "privileged": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert {"cpu", "memory"} <= set(container["resources"]["limits"]), name
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
            assert re.fullmatch(r"[\w./-]+@sha256:[0-9a-f]{64}", container["image"]), name
            mounts = {each["mountPath"]: each.get("readOnly", False) for each in container["volumeMounts"]}
            for variable, value in variables(found, pod).items():
                file = re.match(r"(/run/keyturn|/var/run/secrets|/var/lib/keyturn|/etc/keyturn)/", value)
                assert not SECRET.search(variable) or file, f"{name}: {variable}"
            assert {place for place, read in mounts.items() if not read} <= {
                "/tmp",
                "/var/lib/keyturn/prefect",
                "/var/lib/keyturn/spool",
                "/var/lib/keyturn/watch",
            }, name
        for volume in pod["volumes"]:
            assert "hostPath" not in volume, name
            secret = volume.get("secret") or volume.get("projected")
            assert not secret or secret["defaultMode"] == 0o440, name
            assert "emptyDir" not in volume or volume["emptyDir"]["medium"] == "Memory", name


def test_helm_has_nothing_against_the_chart(rendered: tuple[dict[str, Rendering], list[str]]) -> None:
    assert rendered[1] == []


@pytest.mark.parametrize("name", ["example", "everything", "absent", "second", "guide"])
@pytest.mark.attack
def test_helms_output_is_valid_for_kubernetes(rendered: tuple[dict[str, Rendering], list[str]], name: str) -> None:
    found = documents(rendered[0][name])
    insist_on_schemas(found)
    insist_on_confinement(found)
    assert len({identity(each) for each in found}) == len(found)
    assert not {"Secret", "ClusterRole", "Role"} & {each["kind"] for each in found}


@pytest.mark.parametrize("folder", ["base", "overlay"])
def test_what_kustomize_makes_is_what_kubernetes_takes(folder: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(folder)
    insist_on_schemas(found)
    insist_on_confinement(found)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.attack
def test_values_that_would_do_harm_are_refused_with_their_place(
    rendered: tuple[dict[str, Rendering], list[str]], name: str
) -> None:
    refusal = rendered[0][name].refusal
    assert REFUSED[name][1] in refusal
    with pytest.raises(Invalid, match="don't meet the specifications"):
        documents(rendered[0][name])


def test_the_policy_checks_see_what_is_not_confined(example: list[Document]) -> None:
    for break_it in (
        lambda pod: pod["securityContext"].update(runAsUser=0),
        lambda pod: pod["containers"][0]["securityContext"].update(readOnlyRootFilesystem=False),
        lambda pod: pod["containers"][0].update(image="keyturn:latest"),
        lambda pod: pod["containers"][0]["env"].append({"name": "PREFECT_API_AUTH_STRING", "value": "admin:secret"}),
    ):
        found = copy.deepcopy(example)
        break_it(dict(pods(found))["keyturn-worker"])
        with pytest.raises(AssertionError):
            insist_on_confinement(found)


def test_a_field_that_kubernetes_does_not_know_is_seen(example: list[Document]) -> None:
    (worker,) = [each for each in example if identity(each) == ("Deployment", "keyturn-worker")]
    wrong = copy.deepcopy(worker)
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}
    assert {problem.partition(": ")[0] for problem in problems(wrong)} == set(VERSIONS)
    assert "livenessProb" in problems(wrong)[0]


def test_the_files_for_kustomize_are_made_from_the_chart() -> None:
    files = (path for path in KUSTOMIZE.rglob("*.*") if "overlays" not in path.parts)
    there = {str(path.relative_to(KUSTOMIZE)): path.read_text() for path in files}
    assert there == manifests.manifests(), "make manifests"


def plain(found: list[Document]) -> dict[tuple[str, str], Document]:
    """Objects without what one of the two tools adds: Helm's own labels, and the hash in a generated name."""
    hashed = re.compile(r"(keyturn-(?:environment|prefect))-[a-z0-9]{10}\b")
    text = hashed.sub(r"\1", json.dumps(found))
    objects = [without_helm(each) for each in json.loads(text) if each["kind"] != "Namespace"]
    for each in objects:
        each["metadata"].pop("namespace", None)
        if each["kind"] == "ConfigMap":
            each["metadata"].pop("labels", None)
    return {identity(each): each for each in objects}


def test_helm_and_kustomize_make_the_same(example: list[Document], base: list[Document]) -> None:
    by_helm, by_kustomize = plain(example), plain(base)
    assert set(by_helm) == set(by_kustomize)
    for name, each in by_helm.items():
        assert each == by_kustomize[name], name


def test_an_overlay_changes_the_image_the_servers_and_who_a_worker_is(overlay: list[Document]) -> None:
    found = plain(overlay)
    assert {pod["containers"][0]["image"] for _, pod in pods(overlay)} == {
        f"registry.example.org/platform/keyturn@sha256:{'1' * 64}"
    }
    worker = dict(pods(overlay))["keyturn-worker"]
    assert variables(overlay, worker)["VAULT_ADDR"] == "https://openbao.example.org:8200"
    assert variables(overlay, worker)["PREFECT_API_URL"] == "https://prefect.example.org/api"
    assert "192.0.2." not in json.dumps(overlay)
    annotations = found["ServiceAccount", "keyturn-worker"]["metadata"]["annotations"]
    assert list(annotations) == ["eks.amazonaws.com/role-arn"]
    assert ("Deployment", "keyturn-granter") in found
    assert {("ServiceMonitor", "keyturn-serve"), ("PodMonitor", "keyturn-worker")} < set(found)
    assert ("PrometheusRule", "keyturn-alerts") in found


def test_each_component_is_somebody_of_its_own_at_the_hub(everything: list[Document]) -> None:
    roles = {}
    for name, pod in pods(everything):
        roles[name] = variables(everything, pod).get("KEYTURN_HUB_AUTH_ROLE")
        assert pod["serviceAccountName"] == name
        if roles[name]:
            settings = HubSettings.from_environment(variables(everything, pod))
            assert settings.address == GIVEN["hub"]["address"]
            assert "Kubernetes" in type(settings.login).__name__
            (token,) = [v for v in pod["volumes"] if v["name"] == "hub-login"]
            (source,) = token["projected"]["sources"]
            assert source["serviceAccountToken"]["audience"] == "vault"
    assert roles == {
        "keyturn-worker": "keyturn-worker",
        "keyturn-revoker": "keyturn-revoker",
        "keyturn-notary": "keyturn-notary",
        "keyturn-serve": "keyturn-monitor",
        "keyturn-follower": "keyturn-worker",
        "keyturn-granter": "keyturn-granter",
        "keyturn-backup": "keyturn-backup",
        "keyturn-on-call": "keyturn-revoker",
        "keyturn-bootstrap": None,
    }
    accounts = {each["metadata"]["name"] for each in everything if each["kind"] == "ServiceAccount"}
    assert accounts == set(roles)


@pytest.mark.attack
def test_only_a_store_in_the_cluster_brings_the_clusters_own_token(everything: list[Document]) -> None:
    tokens = {
        name: [volume["name"] for volume in pod["volumes"] if volume["name"] == "kubernetes-api"]
        for name, pod in pods(everything)
    }
    assert {name for name, found in tokens.items() if found} == {"keyturn-worker"}


def test_what_serves_knows_no_password_of_prefect(everything: list[Document]) -> None:
    for name, pod in pods(everything):
        knows = any("PREFECT" in variable for variable in variables(everything, pod) if "KEYTURN" not in variable)
        assert knows == (name not in {"keyturn-serve", "keyturn-follower", "keyturn-granter", "keyturn-backup"}), name


def test_each_container_is_started_as_its_command_takes_it(everything: list[Document]) -> None:
    group: Any = typer.main.get_command(app)
    queues = {}
    for name, pod in pods(everything):
        program_name, command, *words = pod["containers"][0]["args"]
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        if program_name == "prefect":
            given = dict(word.removeprefix("--").partition("=")[::2] for word in words[1:])
            assert WorkspaceNames.of_pool(given["pool"]) == WorkspaceNames("physics")
            assert options <= {"--pool", "--work-queue", "--type", "--name", "--with-healthcheck", "--limit"}
            assert "--with-healthcheck" in options
            queues[name] = given["work-queue"]
        else:
            found = group.commands[command]
            found = getattr(found, "commands", {}).get(words[0], found) if words else found
            known = {option for each in found.params for option in each.opts}
            assert options <= known, name
    assert queues == {"keyturn-worker": "default", "keyturn-revoker": "emergency", "keyturn-notary": "notary"}


def test_a_probe_asks_what_listens(everything: list[Document]) -> None:
    for name, pod in pods(everything):
        (container,) = pod["containers"]
        probes = [container.get(kind) for kind in ("startupProbe", "livenessProbe", "readinessProbe")]
        assert all(probes) == (name not in {"keyturn-on-call", "keyturn-bootstrap"}), name
        for probe in filter(None, probes):
            port = container["ports"][0]
            assert probe["httpGet"]["port"] == port["name"]
            serves = f"--listen=0.0.0.0:{port['containerPort']}" in container["args"]
            web = variables(everything, pod).get("PREFECT_WORKER_WEBSERVER_PORT") == str(port["containerPort"])
            assert serves != web, name


@pytest.mark.attack
def test_metrics_are_scraped_over_tls(everything: list[Document]) -> None:
    served = {}
    for name, pod in pods(everything):
        (container,) = pod["containers"]
        told, ports = variables(everything, pod), {p["name"]: p["containerPort"] for p in container.get("ports", ())}
        for port in ports.keys() & {"https", "metrics"}:
            served[name] = port
            options = dict(word.partition("=")[::2] for word in container["args"])
            at = told["KEYTURN_WORKER_METRICS"] if port == "metrics" else options["--listen"]
            assert at == f"0.0.0.0:{ports[port]}"
            cert = told["KEYTURN_WORKER_METRICS_CERT"] if port == "metrics" else options["--cert"]
            assert {"name": "tls", "mountPath": cert.rpartition("/")[0], "readOnly": True} in container["volumeMounts"]
            (login,) = [volume["projected"] for volume in pod["volumes"] if volume["name"] == "login"]
            (token,) = [each["secret"] for each in login["sources"] if "metrics" in each["secret"]["name"]]
            path = f"/run/keyturn/login/{token['items'][0]['path']}"
            assert (told["KEYTURN_METRICS_TOKEN_FILE"], token["optional"]) == (path, True)
    asked = {
        each["metadata"]["name"]: each["spec"][ENDPOINTS[each["kind"]]][0]
        for each in everything
        if each["kind"] in ENDPOINTS
    }
    assert {name: endpoint["port"] for name, endpoint in asked.items()} == served
    assert {endpoint["scheme"] for endpoint in asked.values()} == {"https"}
    for name, endpoint in asked.items():
        assert endpoint["authorization"] == {"credentials": {"name": "keyturn-metrics-token", "key": "token"}}
        assert endpoint["tlsConfig"]["serverName"] == f"{name}.keyturn.svc"
    (rule,) = [e["spec"] for e in everything if e["metadata"]["name"] == "keyturn-from-scrapers"]
    assert {port["port"] for port in rule["ingress"][0]["ports"]} == set(served.values())


def test_the_alerts_are_those_of_the_file_with_runbooks_where_people_read_them(everything: list[Document]) -> None:
    assert manifests.CHARTS_RULES.read_text() == manifests.RULES.read_text(), "make manifests"
    (made,) = [each["spec"] for each in everything if each["kind"] == "PrometheusRule"]
    text = manifests.RULES.read_text().replace(" docs/", " https://wiki.example.com/keyturn/docs/")
    assert made == yaml.safe_load(text)


def test_what_alerts_ask_for_is_looked_at(everything: list[Document]) -> None:
    parts = [word for _, pod in pods(everything) for word in pod["containers"][0]["args"] if word.startswith("--only=")]
    assert {f"--only={part}" for part in ("follow", "numbers", "access/*", "merge/*", "grants", "backup")} == set(parts)


def test_who_makes_backups_has_the_public_half_of_the_recovery_key(
    example: list[Document], everything: list[Document]
) -> None:
    for found, holders in ((example, set[str]()), (everything, {"keyturn-worker", "keyturn-backup"})):
        mounted = {
            name: [volume["configMap"]["name"] for volume in pod["volumes"] if volume["name"] == mount["name"]]
            for name, pod in pods(found)
            for mount in pod["containers"][0]["volumeMounts"]
            if mount["mountPath"] == "/etc/keyturn/recovery" and mount["readOnly"]
        }
        assert mounted == {name: ["keyturn-recovery-key"] for name in holders}


@pytest.mark.attack
def test_network_policies_allow_only_needed_connections(everything: list[Document]) -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in everything if each["kind"] == "NetworkPolicy"}
    deny = policies.pop("keyturn-deny")
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & set(deny)
    reach: dict[str, set[str]] = {}
    for name, spec in policies.items():
        (expression,) = spec["podSelector"]["matchExpressions"]
        for component in expression["values"]:
            reach.setdefault(component, set()).add(name.removeprefix("keyturn-"))
        for rule in (*spec.get("egress", ()), *spec.get("ingress", ())):
            assert rule["ports"]
            assert rule.get("to") or rule.get("from")
    every = {"to-dns", "to-hub", "to-ledger"}
    assert reach == {
        "worker": every | {"to-prefect", "to-outside", "from-scrapers"},
        "revoker": every | {"to-prefect", "to-outside", "from-scrapers"},
        "on-call": every | {"to-prefect", "to-outside"},
        "notary": every | {"to-prefect", "to-witnesses", "from-scrapers"},
        "follower": every | {"to-outside", "from-scrapers"},
        "serve": every | {"to-access-logs", "from-scrapers", "from-posters"},
        "granter": every | {"from-scrapers"},
        "backup": every | {"to-outside", "from-scrapers"},
        "bootstrap": {"to-dns", "to-prefect"},
    }


def test_selectors_of_budgets_scalers_and_services_find_their_pods(everything: list[Document]) -> None:
    labels = {}
    for each in everything:
        if each["kind"] in ("Deployment", "StatefulSet"):
            labels[each["metadata"]["name"]] = each["spec"]["template"]["metadata"]["labels"]
            assert each["spec"]["selector"]["matchLabels"].items() <= labels[each["metadata"]["name"]].items()
            assert "0.2.0" not in each["spec"]["selector"]["matchLabels"].values()
    assert len(labels) == 7
    for each in everything:
        name = each["metadata"]["name"]
        if each["kind"] == "PodDisruptionBudget":
            assert each["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
        if each["kind"] == "Service":
            assert each["spec"]["selector"].items() <= labels[name].items()
        if each["kind"] == "ServiceMonitor":
            (service,) = [e for e in everything if identity(e) == ("Service", name)]
            assert each["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        if each["kind"] == "PodMonitor":
            assert each["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
        if each["kind"] == "HorizontalPodAutoscaler":
            reference = each["spec"]["scaleTargetRef"]
            (scaled,) = [e for e in everything if identity(e) == (reference["kind"], reference["name"])]
            assert "replicas" not in scaled["spec"]


def test_the_job_for_emergencies_never_starts_by_itself_and_never_twice(everything: list[Document]) -> None:
    (job,) = [each for each in everything if each["kind"] == "CronJob"]
    assert job["spec"]["suspend"] is True
    assert job["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert dict(pods([job]))["keyturn-on-call"]["restartPolicy"] == "Never"


def test_registering_comes_after_each_install_and_upgrade(example: list[Document]) -> None:
    (job,) = [each for each in example if each["kind"] == "Job"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "post-install,post-upgrade"


def test_a_change_of_what_pods_are_told_begins_them_anew(example: list[Document], everything: list[Document]) -> None:
    sums = []
    for found in (example, everything):
        (worker,) = [each for each in found if identity(each) == ("Deployment", "keyturn-worker")]
        sums.append(worker["spec"]["template"]["metadata"]["annotations"]["checksum/environment"])
    assert sums[0] != sums[1]


def test_a_second_release_shares_no_name_with_the_first(rendered: tuple[dict[str, Rendering], list[str]]) -> None:
    second = documents(rendered[0]["second"])
    assert {each["metadata"]["namespace"] for each in second} == {"elsewhere"}
    assert all(each["metadata"]["name"].startswith("second-keyturn-") for each in second)


@pytest.mark.parametrize("mode", [0o440, 0o600])
def test_libpq_gets_a_password_file_that_it_reads(tmp_path: Path, mode: int) -> None:
    """Kubernetes mounts a Secret as root's, for the pod's group."""
    given = tmp_path / "pgpass"
    given.write_text("db:5432:ledger:keyturn:pa\\:ss\n")
    given.chmod(mode)
    if mode == 0o440 and os.geteuid() == 0:
        os.chown(given, 12345, os.getegid())
    entrypoint = str(ROOT / "deployments" / "entrypoint.sh")
    environment = {"PATH": os.environ["PATH"], "PGPASSFILE": str(given), "TMPDIR": str(tmp_path)}
    command = ["sh", entrypoint, "printenv", "PGPASSFILE"]
    used = Path(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip())
    assert used.read_text() == given.read_text()
    if mode == 0o600 or os.geteuid() == 0:
        assert stat.S_IMODE(used.stat().st_mode) == 0o600
        assert used.stat().st_uid == os.geteuid()
        assert (used == given) == (mode == 0o600)


def test_the_charts_version_is_the_projects() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'(?m)^version = "(.*)"$', (ROOT / "pyproject.toml").read_text())
    assert version
    assert chart["version"] == chart["appVersion"] == version[1]


def test_each_component_of_kustomize_adds_to_the_base(base: list[Document]) -> None:
    plain_names = {identity(each) for each in base}
    for name in COMPONENTS:
        text = (KUSTOMIZE / "components" / name / f"{name}.yaml").read_text()
        added = [identity(each) for each in yaml.safe_load_all(text)]
        assert added
        assert not set(added) & plain_names
