"""A catalogue change reaches no credential, file or host that the operator did not allow."""

import ipaddress
import json
import os
import re
import socket
import sysconfig
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

import keyturn
from keyturn.catalogue import CatalogueInvalid, find_problems, load_catalogue
from keyturn.catalogue.files.index import WORTH
from keyturn.catalogue.files.policy_file import load_policy
from keyturn.catalogue.operator.policy import VARIABLE, OperatorsPolicy, never_named
from keyturn.core import hosts
from keyturn.core.errors import Invalid
from keyturn.core.sensitive import SecretFields
from keyturn.core.text import templates
from keyturn.core.text.references import Unfit
from keyturn.providers.answers import objection
from keyturn.providers.http.api_target import RequestValues
from keyturn.providers.outbound import keep_to
from keyturn.providers.vault.mounts import insist_on_apart
from keyturn.settings.directories import cache_directory, state_directory
from keyturn.settings.hub_login import SERVICE_ACCOUNT_TOKEN
from tests.test_architecture import sources

ELSEWHERE = "evil.example.com"
TARGETS = {
    "postgresql": "host: evil.example.com, database: app",
    "mysql": "host: evil.example.com, database: app",
    "redis": "host: evil.example.com",
    "ldap": "host: evil.example.com, account_dn: 'uid={{account}},dc=x'",
    "http-api": 'url: "https://evil.example.com", headers: { authorization: "Bearer {{admin.password}}" }',
}
"""Of each kind of target that has an admin credential, one at a host of the attacker's."""


def make(directory: Path) -> Path:
    """The directory, which is there then."""
    directory.mkdir(exist_ok=True)
    return directory


def operators_file(directory: Path, **policy: Any) -> Path:
    """What the operator of a machine has written, as JSON is YAML."""
    file = directory / "policy"
    file.write_text(json.dumps(policy))
    return file


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
def test_the_login_of_another_target_is_not_sent_to_the_authors_host(kind: str, path: str, tmp_path: Path) -> None:
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


def test_a_name_can_not_claim_another_secrets_path(tmp_path: Path) -> None:
    text = "targets:\n  main/x: { kind: redis, host: evil.example.com, admin: targets/main/x }\n"
    assert "targets.main/x: this name can't be used" in problems(tmp_path, text)[0]


# --- variables

NEVER = [
    "VAULT_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AZURE_CLIENT_SECRET",
    "PREFECT_API_KEY",
    "PREFECT_SERVER_API_AUTH_STRING",
    "PGPASSWORD",
    "GITHUB_TOKEN",
    "KEYTURN_FAILURE_URL",
    "KEYTURN_HUB_SECRET_ID_FILE",
    "KEYTURN_FORWARD_HTTP_TOKEN_FILE",
    "KEYTURN_SMTP_PASSWORD",
    "KEYTURN_POLICY",
]
"""What no catalogue may ask for, whatever the operator's file says."""


@pytest.mark.parametrize("name", [*NEVER[:-1], "HOME", "PATH", "DB_HOST"])
def test_a_variable_that_was_not_meant_for_the_catalogue_is_sent_nowhere(name: str, tmp_path: Path) -> None:
    text = f'consumers:\n  mine: {{ url: "https://evil.example.com/${{{name}}}", signing_key: webhooks/mine }}\n'
    told = problems(tmp_path, text, {name: "CANARY-value"})
    assert f"consumers.mine.url: the variable {name} may not be named here" in told[0]
    assert "CANARY" not in "".join(told)


@pytest.mark.parametrize("name", NEVER)
def test_not_even_the_operators_file_lets_the_catalogue_name_a_credential(name: str, tmp_path: Path) -> None:
    for listed in (name, f"{name[:4]}*"):
        policy = operators_file(tmp_path, variables=[listed])
        text = f'consumers:\n  mine: {{ url: "https://x.example.com/${{{name}}}", signing_key: webhooks/mine }}\n'
        told = problems(make(tmp_path / "catalogue"), text, {name: "v", VARIABLE: str(policy)})
        assert any("may not be named here" in flaw or "no catalogue may name" in flaw for flaw in told)


def test_a_variable_that_the_operator_lists_is_filled_in(tmp_path: Path) -> None:
    env = {"DB_HOST": "db.example.com", VARIABLE: str(operators_file(tmp_path, variables=["DB_*"]))}
    text = 'targets:\n  db: { kind: redis, host: "${DB_HOST}", admin: targets/db }\n'
    assert problems(make(tmp_path / "catalogue"), text, env) == []


# --- hosts

METADATA = [
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "169.254.43518",
    "0251.0376.0251.0376",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "METADATA.google.internal",
    "metadata.google.internal.",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",  # noqa: S104
    "169\u3002254.169.254",
]
"""Where clouds give out a machine's credentials, as somebody would write it who hopes to get past a list."""


@pytest.mark.parametrize("host", METADATA)
def test_nothing_is_sent_to_a_clouds_metadata_service(host: str, tmp_path: Path) -> None:
    text = f'consumers:\n  mine: {{ url: "https://{host}/", signing_key: webhooks/mine }}\n'
    (flaw,) = problems(tmp_path, text)
    assert "consumers.mine.url: no catalogue may use this host" in flaw


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_resolves_to_a_metadata_service_is_sent_nothing(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine is taken for such a place: what listens here hears nothing."""
    monkeypatch.setattr(hosts, "METADATA_ADDRESSES", {ipaddress.ip_address("127.0.0.1")})
    monkeypatch.setattr(
        "socket.getaddrinfo",
        lambda _, port, *rest: [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))],
    )
    with closing(socket.create_server(("127.0.0.1", 0))) as server, requests.Session() as session:
        url = f"{scheme}://rebound.example.com:{server.getsockname()[1]}/latest"
        keep_to(session, url)
        with pytest.raises(requests.RequestException) as refused:
            session.get(url, timeout=5)
        assert "its name resolves to where a cloud gives out" in str(objection(refused.value))
        connection, _ = server.accept()
        with closing(connection):
            connection.settimeout(5)
            assert connection.recv(1) == b""


SIGNED_IN = 'kind: http-api, url: "https://ours.example.com", headers: { authorization: "Bearer {{login.token}}" }'
ENTRIES = {
    "stores": {
        "vault": 'kind: vault, address: "https://HOST", token_file: /etc/app/token',
        "azure": 'kind: azure-key-vault, vault_url: "https://HOST"',
        "authority": 'kind: azure-key-vault, vault_url: "https://ours.example.com", authority: "https://HOST"',
        "aws": 'kind: aws-secrets-manager, region: eu-central-1, endpoint_url: "https://HOST"',
        "github": 'kind: github-actions, repository: a/b, token_file: /etc/app/token, api_url: "https://HOST"',
        "cluster": 'kind: kubernetes, namespace: a, server: "https://HOST"',
    },
    "targets": {
        "db": "kind: postgresql, host: HOST, database: a, admin: targets/db",
        "my": "kind: mysql, host: HOST, database: a, admin: targets/my",
        "cache": "kind: redis, host: ours.example.com, nodes: ['HOST:6379'], admin: targets/cache",
        "api": 'kind: http-api, url: "https://HOST", admin: targets/api',
        "events": 'kind: http-api, url: "https://ours.example.com", test_url: "https://HOST", admin: targets/events',
        "oauth": f'{SIGNED_IN}, login: {{ kind: client-credentials, url: "https://HOST" }}, admin: targets/oauth',
        "jwt": f'{SIGNED_IN}, login: {{ kind: signed-jwt, claims: {{ a: b }}, exchange: {{ url: "https://HOST", '
        'form: { a: "{{jwt}}" } } }, admin: targets/jwt',
        "graph": 'kind: microsoft-graph, endpoint: "https://HOST"',
        "iam": 'kind: aws-iam, endpoint_url: "https://HOST"',
    },
    "consumers": {"app": 'url: "https://HOST", signing_key: webhooks/app'},
    "hub": {
        "cluster": 'kind: kubernetes, host: "https://HOST"',
        "ci": 'kind: jwt, discovery_url: "https://HOST"',
        "keys": 'kind: jwt, keys_url: "https://HOST"',
    },
}
"""An entry of each kind that names a host."""


@pytest.mark.parametrize(("section", "name"), [(section, name) for section, named in ENTRIES.items() for name in named])
def test_a_host_that_the_operators_file_leaves_out_is_spoken_to_by_no_entry(
    section: str, name: str, tmp_path: Path
) -> None:
    env = {VARIABLE: str(operators_file(tmp_path, hosts=["*.example.com", "10.1.0.0/16"], files=["/etc/app"]))}
    catalogue = make(tmp_path / "catalogue")
    for host in ("evil.example.org", "example.com.evil.org", "10.2.0.1", "evilexample.com", "10.1.0.1.evil.org"):
        text = f"{section}:\n  {name}: {{ {ENTRIES[section][name].replace('HOST', host)} }}\n"
        (flaw,) = problems(catalogue, text, env)
        assert "the operator's file does not allow this host" in flaw
        assert "all.yaml:2" in flaw
    for host in ("a.b.EXAMPLE.com", "10.1.2.3"):
        text = f"{section}:\n  {name}: {{ {ENTRIES[section][name].replace('HOST', host)} }}\n"
        assert problems(catalogue, text, env) == []


WITHOUT_TLS = {
    "postgresql": ("host: HOST, database: app, admin: targets/mine", "sslmode", ("disable", "allow", "prefer")),
    "mysql": ("host: HOST, database: app, admin: targets/mine", "tls", ("disable",)),
    "redis": ("host: HOST, admin: targets/mine", "tls", ("false",)),
    "ldap": ("host: HOST, account_dn: 'uid={{account}},dc=x', admin: targets/mine", "tls", ("disable",)),
}


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, (*_, values) in WITHOUT_TLS.items() for value in values]
)
def test_no_credential_goes_to_another_machine_without_tls(kind: str, value: str, tmp_path: Path) -> None:
    place = make(tmp_path / "catalogue")
    settings, key, _ = WITHOUT_TLS[kind]
    line = f"targets:\n  mine: {{ kind: {kind}, {settings}, {key}: {value} }}\n"
    (flaw,) = problems(place, line.replace("HOST", "db.example.com"))
    assert f"targets.mine.{key}: credentials may go to db.example.com without TLS" in flaw
    assert problems(place, line.replace("HOST", "127.0.0.1")) == []
    env = {VARIABLE: str(operators_file(tmp_path, unencrypted=["db.example.com"]))}
    assert problems(place, line.replace("HOST", "db.example.com"), env) == []
    assert problems(place, line.replace("HOST", "db2.example.com"), env) != []


@pytest.mark.parametrize(("tls", "port"), [("ldaps", 636), ("starttls", 389)])
def test_a_directory_without_a_port_is_spoken_to_at_its_usual_one_alone(tls: str, port: int, tmp_path: Path) -> None:
    place = make(tmp_path / "catalogue")
    directory = "kind: ldap, host: ldap.example.com, account_dn: 'uid={{account}},dc=x', admin: targets/mine"
    line = f"targets:\n  mine: {{ {directory}, tls: {tls} }}\n"
    for allowed in (636, 389):
        env = {VARIABLE: str(operators_file(tmp_path, hosts=[f"ldap.example.com:{allowed}"]))}
        assert (problems(place, line, env) == []) == (allowed == port)


@pytest.mark.parametrize("mark", ["userPassword", "USERPASSWORD", "unicodePwd", "userAccountControl", "member"])
def test_a_rotation_mark_is_never_written_where_it_grants_access(mark: str, tmp_path: Path) -> None:
    directory = "kind: ldap, host: ldap.example.com, account_dn: 'uid={{account}},dc=x', admin: targets/mine"
    (flaw,) = problems(tmp_path, f"targets:\n  mine: {{ {directory}, mark: {mark} }}\n")
    assert "this attribute decides who may log in" in flaw


IN_CLEAR = {
    "targets.mine": "kind: http-api, url: 'http://HOST', admin: targets/mine",
    "stores.mine": "kind: aws-secrets-manager, region: eu-central-1, endpoint_url: 'http://HOST'",
    "stores.other": "kind: aws-parameter-store, region: eu-central-1, endpoint_url: 'http://HOST:4566'",
}


@pytest.mark.parametrize("entry", IN_CLEAR)
def test_nothing_goes_to_another_machine_by_plain_http_without_the_operators_consent(
    entry: str, tmp_path: Path
) -> None:
    place, (section, name) = make(tmp_path / "catalogue"), entry.split(".")
    line = f"{section}:\n  {name}: {{ {IN_CLEAR[entry]}, insecure_http: true }}\n"
    (flaw,) = problems(place, line.replace("HOST", "api.example.com"))
    assert f"{entry}.insecure_http: credentials may go to api.example.com without TLS" in flaw
    assert problems(place, line.replace("HOST", "127.0.0.1")) == []
    assert problems(place, line.replace("http://HOST", "https://api.example.com")) == []
    env = {VARIABLE: str(operators_file(tmp_path, unencrypted=["api.example.com"]))}
    assert problems(place, line.replace("HOST", "api.example.com"), env) == []


def test_every_node_that_is_reached_without_tls_needs_the_operators_consent(tmp_path: Path) -> None:
    entry = "kind: redis, host: 127.0.0.1, nodes: [redis-2.example.com:6379], tls: false, admin: targets/mine"
    assert "redis-2.example.com without TLS" in problems(tmp_path, f"targets:\n  mine: {{ {entry} }}\n")[0]
    entry = "kind: redis, host: redis.example.com, tls: false, channel: news, signing_key: webhooks/mine"
    found = problems(tmp_path, f"consumers:\n  mine: {{ {entry}, login: webhooks/mine/login }}\n")
    assert "redis.example.com without TLS" in found[0]


def test_a_pattern_with_a_port_allows_that_port_alone(tmp_path: Path) -> None:
    env = {VARIABLE: str(operators_file(tmp_path, hosts=["db.example.com:5432", "app.example.com:443"]))}
    catalogue = make(tmp_path / "catalogue")
    entry = "targets:\n  db: { kind: postgresql, host: db.example.com, port: PORT, database: a, admin: targets/db }\n"
    assert problems(catalogue, entry.replace("PORT", "5432"), env) == []
    assert len(problems(catalogue, entry.replace("PORT", "22"), env)) == 1
    told = problems(
        catalogue, 'consumers:\n  app: { url: "https://app.example.com:8443", signing_key: webhooks/app }', env
    )
    assert len(told) == 1


@pytest.mark.parametrize(
    "entry",
    [
        'kind: aws-secrets-manager, region: eu-central-1, role_arn: "arn:aws:iam::666666666666:role/x"',
        'kind: aws-secrets-manager, regions: [eu-central-1], role_arns: ["arn:aws:iam::666666666666:role/x"]',
        "kind: gcp-secret-manager, project: evil",
        "kind: github-actions, repository: evil/repo, token_file: /etc/app/token",
    ],
)
def test_a_foreign_cloud_account_gets_no_copy(entry: str, tmp_path: Path) -> None:
    env = {VARIABLE: str(operators_file(tmp_path, accounts=["111122223333", "ml-*", "octo/*"], files=["/etc/app"]))}
    (flaw,) = problems(make(tmp_path / "catalogue"), f"stores:\n  mine: {{ {entry} }}\n", env)
    assert "the operator's file does not allow the account" in flaw
    ours = entry.replace("666666666666", "111122223333").replace("project: evil", "project: ml-a")
    ours = ours.replace("evil/repo", "octo/repo")
    assert problems(tmp_path / "catalogue", f"stores:\n  mine: {{ {ours} }}\n", env) == []


# --- files

EVERYWHERE = [str(place) for place in Path("/").iterdir() if place.is_dir()]
"""An operator's list that leaves nothing out."""
SENT = 'stores:\n  mine: {{ kind: vault, address: "https://evil.example.com", token_file: "{file}" }}\n'
WRITTEN = 'stores:\n  mine: {{ kind: file, directory: "{directory}" }}\n'
NOTICES = 'consumers:\n  mine: {{ kind: process, directory: "{directory}", signing_key: webhooks/mine }}\n'


@pytest.mark.parametrize(
    "file",
    [
        "/proc/self/environ",
        "/proc/1/../self/environ",
        "/dev/fd/3",
        "/sys/kernel/x",
        "~/.ssh/id_ed25519",
        "~/.aws/credentials",
        "~/.vault-token",
        "~/.kube/config",
        "//proc/self/environ",
    ],
)
def test_no_file_that_logs_this_machine_in_is_sent_as_a_token(file: str, tmp_path: Path) -> None:
    catalogue = make(tmp_path / "catalogue")
    for policy in ({}, {"files": EVERYWHERE}):
        (flaw,) = problems(catalogue, SENT.format(file=file), {VARIABLE: str(operators_file(tmp_path, **policy))})
        assert "stores.mine.token_file: no catalogue may name files there" in flaw


ROUTE = 'url: "https://api.example.com", allow: [{ paths: [/**] }], callers: [trainer]'
EXCHANGE = 'exchange: { url: "https://evil.example.com/token", form: { assertion: "{{identity}}" } }'


def test_a_workloads_token_goes_to_the_hosts_of_the_operators_file_alone(tmp_path: Path) -> None:
    catalogue, text = make(tmp_path / "catalogue"), f"{ROUTE}, identity: {{ token_file: /srv/ours/token, {EXCHANGE} }}"
    allowed = operators_file(tmp_path, hosts=["api.example.com:443"], files=["/srv/ours"])
    (flaw,) = problems(catalogue, f"routes:\n  mine: {{ {text} }}\n", {VARIABLE: str(allowed)})
    assert "routes.mine.identity.exchange.url: the operator's file does not allow this host" in flaw


def test_the_pods_own_token_is_no_workloads_token(tmp_path: Path) -> None:
    catalogue = make(tmp_path / "catalogue")
    text = f"{ROUTE}, identity: {{ token_file: {SERVICE_ACCOUNT_TOKEN}, {EXCHANGE} }}"
    env = {VARIABLE: str(operators_file(tmp_path, files=EVERYWHERE))}
    (flaw,) = problems(catalogue, f"routes:\n  mine: {{ {text} }}\n", env)
    assert "routes.mine.identity.token_file: it is one of Keyturn's own files" in flaw


def test_a_route_sends_a_key_to_the_hosts_of_the_operators_file_alone(tmp_path: Path) -> None:
    catalogue, env = (
        make(tmp_path / "catalogue"),
        {VARIABLE: str(operators_file(tmp_path, hosts=["api.example.com:443"]))},
    )
    for url, allowed in (
        ("https://api.example.com/v1", True),
        ("https://api.example.com:8443/v1", False),
        ("https://evil.example.com", False),
        ("https://169.254.169.254", False),
    ):
        route = f'secret: a/key, url: "{url}", allow: [{{ paths: [/**] }}], callers: [trainer]'
        secret = "owner: a, classification: internal, rotation: { strategy: manual }"
        text = f"secrets:\n  a/key: {{ {secret} }}\nroutes:\n  mine: {{ {route} }}\n"
        flaws = [flaw for flaw in problems(catalogue, text, env) if "routes.mine.url" in flaw]
        assert bool(flaws) is not allowed, flaws


@pytest.mark.parametrize("file", ["/etc/shadow", "~/.config/app/token", "/srv/anything", "token", "../token"])
@pytest.mark.parametrize(
    ("section", "entry"),
    [
        ("stores", 'kind: vault, address: "https://evil.example.com", token_file: FILE'),
        ("stores", 'kind: vault, address: "https://evil.example.com", role_id_file: FILE, secret_id_file: FILE'),
        ("stores", 'kind: vault, address: "https://evil.example.com", token_file: /srv/ours/token, ca_file: FILE'),
        ("stores", "kind: github-actions, repository: a/b, token_file: FILE"),
        ("stores", 'kind: kubernetes, namespace: a, server: "https://evil.example.com", token_file: FILE'),
        ("stores", "kind: kubernetes, namespace: a, kubeconfig: FILE"),
        ("stores", "kind: kubernetes, namespace: a, kubeconfig: '/srv/ours/config:FILE'"),
        ("targets", "kind: postgresql, host: evil.example.com, database: a, admin: targets/mine, ca_file: FILE"),
        ("consumers", 'url: "https://evil.example.com", signing_key: webhooks/mine, ca_file: FILE'),
        ("routes", f"{ROUTE}, identity: {{ token_file: FILE, {EXCHANGE} }}"),
        ("routes", f"{ROUTE}, identity: {{ token_file: /srv/ours/token, ca_file: FILE, {EXCHANGE} }}"),
        ("access_logs", "kind: hub-file, log_file: FILE"),
        ("access_logs", "kind: cloudtrail-files, directory: FILE"),
        ("hub", 'kind: oidc, discovery_url: "https://evil.example.com", client_id: a, client_secret_file: FILE'),
    ],
)
def test_a_file_is_opened_from_a_directory_of_the_operators_alone(
    file: str, section: str, entry: str, tmp_path: Path
) -> None:
    text, catalogue = f"{section}:\n  mine: {{ {entry} }}\n", make(tmp_path / "catalogue")
    if "ca_file: FILE" in entry and not file.startswith(("/", "~")):
        file = f"../{file}"  # in the catalogue's own folder it may be
    env = {VARIABLE: str(operators_file(tmp_path, files=["/srv/ours"]))}
    if file == "token" and "ca_file: FILE" in entry:
        # It is next to the catalogue's file.
        assert problems(catalogue, text.replace("FILE", file), env) == []
        return
    assert any("lists no directory under `files`" in flaw for flaw in problems(catalogue, text.replace("FILE", file)))
    assert any(
        "lists no directory under `files`" in flaw for flaw in problems(catalogue, text.replace("FILE", file), env)
    )
    assert problems(catalogue, text.replace("FILE", "/srv/ours/file"), env) == []


def test_a_certificate_of_an_authority_may_lie_in_the_catalogues_own_folder_and_nothing_else(tmp_path: Path) -> None:
    certificate = "targets:\n  mine: {{ kind: redis, host: a.example.com, admin: targets/mine, ca_file: '{file}' }}\n"
    outside = tmp_path / "outside.pem"
    (make(tmp_path / "catalogue") / "link.pem").symlink_to(outside)
    assert problems(tmp_path / "catalogue", certificate.format(file=tmp_path / "catalogue" / "ca.pem")) == []
    for file in (outside, tmp_path / "catalogue" / "link.pem", tmp_path / "catalogue" / ".." / "outside.pem"):
        (flaw,) = problems(tmp_path / "catalogue", certificate.format(file=file))
        assert "Keep it in the catalogue's folder, or let the operator's file" in flaw
    (flaw,) = problems(tmp_path / "catalogue", SENT.format(file=tmp_path / "catalogue" / "token"))
    assert "it is in the catalogue's directory" in flaw


def test_a_relative_ca_file_is_next_to_the_catalogues_file_wherever_keyturn_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    certificate = "targets:\n  mine: {{ kind: redis, host: a.example.com, admin: targets/mine, ca_file: {file} }}\n"
    catalogue = make(tmp_path / "catalogue")
    assert problems(catalogue, certificate.format(file="ca.pem")) == []
    made = load_catalogue(Path("../catalogue"), {}).target("mine")
    assert made.model_dump()["ca_file"] == str(catalogue / "ca.pem")
    (flaw,) = problems(catalogue, certificate.format(file="../outside.pem"))
    assert f"contains {tmp_path}/outside.pem" in flaw


OWN_FILES = [
    "KEYTURN_HUB_SECRET_ID_FILE",
    "KEYTURN_HUB_AUTH_TOKEN_PATH",
    "KEYTURN_PEER_SECRET_ID_FILE",
    "KEYTURN_REVOKER_SECRET_ID_FILE",
    "KEYTURN_FORWARD_HTTP_TOKEN_FILE",
    "KEYTURN_LEDGER",
    "KEYTURN_SETTINGS_FILE",
    "PREFECT_API_AUTH_STRING_FILE",
    "VAULT_CLIENT_KEY",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "PGPASSFILE",
    "A_VARIABLE_OF_SOMETHING_THAT_IS_NOT_KNOWN_YET",
]


@pytest.mark.parametrize("name", OWN_FILES)
def test_a_file_of_this_process_is_neither_sent_nor_written_over(name: str, tmp_path: Path) -> None:
    """The operator's file may even list its directory."""
    login = make(tmp_path / "login") / "file"
    login.write_text("CANARY")
    (tmp_path / "link").symlink_to(login)
    policy = operators_file(tmp_path, files=[str(tmp_path)], directories=[str(tmp_path)])
    env, catalogue = {name: str(login), VARIABLE: str(policy)}, make(tmp_path / "catalogue")
    for file in (login, tmp_path / "link", tmp_path / "login" / ".." / "link", f"${{{name}}}"):
        found = problems(catalogue, SENT.format(file=file), env)
        assert any("one of Keyturn's own files" in flaw or "may not be named here" in flaw for flaw in found)
    (flaw,) = problems(catalogue, WRITTEN.format(directory=login.parent), env)
    assert "it is one of Keyturn's own files, or next to one" in flaw


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://keyturn@db.example.com/ledger?sslmode=verify-full&sslkey=FILE",
        "https://siem.example.com, FILE",
        "--token-file=FILE",
        " FILE",
        "file://FILE",
        "RELATIVE",
    ],
)
def test_a_file_named_by_a_variable_is_not_sent(value: str, tmp_path: Path) -> None:
    login = make(tmp_path / "login") / "file"
    login.write_text("CANARY")
    env = {VARIABLE: str(operators_file(tmp_path, files=[str(tmp_path)]))}
    env["A_VARIABLE"] = value.replace("FILE", str(login)).replace("RELATIVE", os.path.relpath(login))
    (flaw,) = problems(make(tmp_path / "catalogue"), SENT.format(file=login), env)
    assert "one of Keyturn's own files" in flaw


def test_no_credential_of_the_unit_is_sent(tmp_path: Path) -> None:
    """What systemd gives a unit lies in one directory, whichever variable names a file of it."""
    given = make(tmp_path / "given")
    env = {VARIABLE: str(operators_file(tmp_path, files=[str(tmp_path)])), "CREDENTIALS_DIRECTORY": str(given)}
    (flaw,) = problems(make(tmp_path / "catalogue"), SENT.format(file=given / "hub.secret-id"), env)
    assert "no catalogue may name files there" in flaw


def test_the_token_of_a_pods_service_account_is_sent_nowhere(tmp_path: Path) -> None:
    env = {VARIABLE: str(operators_file(tmp_path, files=["/var/run/secrets"]))}
    (flaw,) = problems(make(tmp_path / "catalogue"), SENT.format(file=SERVICE_ACCOUNT_TOKEN), env)
    assert "it is one of Keyturn's own files, or next to one" in flaw


def test_no_variable_that_keyturn_reads_is_one_that_a_catalogue_may_name() -> None:
    """Of what stands in the code, an example of a message is the one that is not read."""
    code = (file.read_text() for folder in ("keyturn", "blocks", "flows", "tasks") for file in sources(folder))
    names = {name for text in code for name in re.findall(r"KEYTURN_[A-Z0-9_]+[A-Z0-9]", text)}
    assert {name for name in names if not never_named(name)} == {"KEYTURN_DB_HOST"}


CODE = [
    "/etc/cron.d",
    "/etc/keyturn",
    "/etc/systemd/system",
    "/usr/local/bin",
    "/usr/lib/python3/dist-packages",
    "/lib/systemd/system",
    "/run/systemd/system",
    "/var/spool/cron",
    "~/.ssh",
    "~/.config/systemd/user",
    "~/.local/lib/python3.13/site-packages",
    "~/.local/bin",
    "/srv/venv/lib/python3.13/site-packages",
    "/srv/venv/lib/python3.13/site-packages/app",
    "/srv/app/.git/hooks",
    "/srv/app/bin",
    "/srv/app/cgi-bin",
    "/srv/app/lib/python3.13",
    "/srv/home/app/.ssh",
    "/srv/home/app/.bashrc.d",
    "/srv/home/app/.config/autostart",
    "/srv/chroot/cron.d",
    "/srv/chroot/init.d",
    os.getcwd(),
    "/proc/self",
    "/dev/shm/../fd",
    sysconfig.get_path("purelib"),
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("scripts"),
    str(Path(keyturn.__file__).parent),
]
"""Where Python, a shell, cron, systemd or ssh load what they run or believe."""


@pytest.mark.parametrize("place", CODE)
def test_no_copy_is_written_where_programs_are_loaded_from(place: str, tmp_path: Path) -> None:
    """Not even where the operator's file lists everything, nor by a link."""
    env = {VARIABLE: str(operators_file(tmp_path, directories=EVERYWHERE))}
    (make(tmp_path / "copies") / "link").symlink_to(Path(place).expanduser())
    for directory in (place, tmp_path / "copies" / "link", f"{tmp_path}/copies/../copies/link/."):
        for text in (WRITTEN, NOTICES):
            (flaw,) = problems(make(tmp_path / "catalogue"), text.format(directory=directory), env)
            assert "programs are loaded from there" in flaw or "no catalogue may name files there" in flaw


@pytest.mark.parametrize("variable", ["PATH", "PYTHONPATH"])
def test_no_copy_is_written_to_a_directory_of_this_process_s_own_path(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make(tmp_path / "programs")
    monkeypatch.syspath_prepend(str(place) if variable == "PYTHONPATH" else "/nowhere")
    policy = operators_file(tmp_path, directories=[str(tmp_path)])
    env = {VARIABLE: str(policy), "PATH": f"/usr/bin:{place}" if variable == "PATH" else ""}
    (flaw,) = problems(make(tmp_path / "catalogue"), WRITTEN.format(directory=place), env)
    assert "programs are loaded from there" in flaw or "one of Keyturn's own files" in flaw


def test_a_copy_is_written_below_a_directory_of_the_operators_alone(tmp_path: Path) -> None:
    ours, theirs = make(tmp_path / "ours"), make(tmp_path / "theirs")
    (ours / "link").symlink_to(theirs)
    env = {VARIABLE: str(operators_file(make(tmp_path / "etc"), directories=[str(ours)]))}
    catalogue = make(tmp_path / "catalogue")
    for text in (WRITTEN, NOTICES):
        assert problems(catalogue, text.format(directory=ours / "copies"), env) == []
        for directory in (theirs, ours / "link", ours / "..", f"{ours}-not", "/srv/copies"):
            (flaw,) = problems(catalogue, text.format(directory=directory), env)
            assert "lists no directory under `directories`" in flaw


def test_no_copy_is_written_to_the_access_trail(tmp_path: Path) -> None:
    catalogue, policy = make(tmp_path / "catalogue"), operators_file(tmp_path, directories=[str(tmp_path)])
    env = {VARIABLE: str(policy), "KEYTURN_TRAIL": str(tmp_path / "reads"), "KEYTURN_ACCESS_LOGS": f"{tmp_path}/got"}
    for place in ("reads/spool", "got/apps"):
        (flaw,) = problems(catalogue, WRITTEN.format(directory=tmp_path / place), env)
        assert "no catalogue may name files there" in flaw
    ledger = {VARIABLE: str(policy), "KEYTURN_LEDGER": str(tmp_path / "ledger.db")}
    assert len(problems(catalogue, WRITTEN.format(directory=tmp_path / "trail"), ledger)) == 1


def test_no_copy_is_written_to_keyturns_state_its_cache_or_the_catalogue(tmp_path: Path) -> None:
    env, catalogue = {VARIABLE: str(operators_file(tmp_path, directories=EVERYWHERE))}, make(tmp_path / "catalogue")
    for place in (cache_directory(), state_directory() / "incidents", catalogue, catalogue / "copies"):
        assert len(problems(catalogue, WRITTEN.format(directory=place), env)) == 1


@pytest.mark.parametrize("key", ["kubeconfig", "token_file"])
def test_a_file_that_a_copy_was_written_to_is_not_used_as_a_kubeconfig(key: str, tmp_path: Path) -> None:
    """A kubeconfig may name a program to run: one that the catalogue could write itself would run it here."""
    server = ", server: 'https://k8s.example.com'" if key == "token_file" else ""
    text = f"""
stores:
  files: {{ kind: file, directory: {tmp_path}/out }}
  cluster: {{ kind: kubernetes, namespace: a, {key}: {tmp_path}/out/copy{server} }}
"""
    both = {"files": [str(tmp_path)], "directories": [str(tmp_path)]}
    env = {VARIABLE: str(operators_file(tmp_path, **both))}
    (flaw,) = problems(make(tmp_path / "catalogue"), text, env)
    assert f"stores.cluster.{key}: this catalogue has files written there" in flaw
    beside = f"stores:\n  cluster: {{ kind: kubernetes, namespace: a, {key}: {tmp_path}/catalogue/x{server} }}\n"
    assert "it is in the catalogue's directory" in problems(tmp_path / "catalogue", beside, env)[0]


def test_files_are_only_in_the_operators_directories_also_through_links(tmp_path: Path) -> None:
    ours, theirs = make(tmp_path / "ours"), make(tmp_path / "theirs")
    (ours / "link").symlink_to(theirs / "token")
    env = {VARIABLE: str(operators_file(tmp_path, files=[str(ours)]))}
    catalogue = make(tmp_path / "catalogue")
    assert problems(catalogue, SENT.format(file=ours / "token"), env) == []
    for file in (theirs / "token", ours / "link", ours / ".." / "theirs" / "token", f"{ours}-not/token"):
        (flaw,) = problems(catalogue, SENT.format(file=file), env)
        assert "lists no directory under `files`" in flaw


# --- the operator's file itself


def test_a_file_that_others_could_have_written_is_not_relied_on(tmp_path: Path) -> None:
    catalogue, policy = make(tmp_path / "catalogue"), operators_file(make(tmp_path / "etc"))
    env = {VARIABLE: str(policy)}
    assert problems(catalogue, "stores: {}\n", env) == []
    for path, mode in ((policy, 0o664), (policy, 0o646), (policy.parent, 0o777)):
        before = path.stat().st_mode
        path.chmod(mode)
        (flaw,) = problems(catalogue, "stores: {}\n", env)
        assert "others may write it" in flaw or f"others may write {policy.parent}" in flaw
        path.chmod(before)


def test_a_file_of_another_user_is_not_relied_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = operators_file(tmp_path)
    if os.geteuid() == 0:
        os.chown(policy, 12345, -1)
    else:
        monkeypatch.setattr("keyturn.catalogue.files.policy_file.os.geteuid", lambda: os.getuid() + 1)
    assert "others may write" in problems(make(tmp_path / "catalogue"), "stores: {}\n", {VARIABLE: str(policy)})[0]


def test_the_catalogue_brings_no_policy_of_its_own(tmp_path: Path) -> None:
    catalogue = make(tmp_path / "catalogue")
    (tmp_path / "link.yaml").symlink_to(operators_file(catalogue, hosts=["*"]))
    for named in (catalogue / "policy", tmp_path / "link.yaml"):
        (flaw,) = problems(catalogue, "stores: {}\n", {VARIABLE: str(named)})
        assert "it is in the catalogue's directory" in flaw


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        (None, "it can't be read (No such file or directory)"),
        ("hosts: [", "is not closed"),
        ("host: [a]", "unknown key"),
        ("hosts: ['https://a']", "is no pattern of hosts"),
        ("hosts: {}", "must be a list"),
        ("directories: [etc]", "is no whole path of a directory"),
        ("- hosts", "must be a mapping"),
    ],
)
def test_a_policy_that_can_not_be_understood_allows_nothing(text: str | None, flaw: str, tmp_path: Path) -> None:
    file = tmp_path / "policy"
    if text is not None:
        file.write_text(text)
    told = problems(make(tmp_path / "catalogue"), "stores: {}\n", {VARIABLE: str(file)})
    assert flaw in told[0]
    assert str(file) in told[0]


def test_a_catalogue_that_was_kept_as_sound_is_asked_again_under_another_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    catalogue = make(tmp_path / "catalogue")
    text = "stores:\n  mine: { kind: azure-key-vault, vault_url: 'https://${WORD:-a}.example.com' }\n"
    (catalogue / "all.yaml").write_text(text + f"# {'x' * WORTH}\n")
    env = {VARIABLE: str(operators_file(tmp_path, variables=["WORD"])), "WORD": "a"}
    for _ in range(2):
        assert load_catalogue(catalogue, env).stores
    assert list((tmp_path / "cache").glob("keyturn/*.json"))
    for change in ({"variables": ["WORD"], "hosts": ["b.example.com"]}, {"hosts": ["*"]}):
        operators_file(tmp_path, **change)
        with pytest.raises(CatalogueInvalid, match=r"all\.yaml:2.*(allow this host|may not be named)"):
            load_catalogue(catalogue, env)


# --- templates


@pytest.mark.parametrize(
    "template",
    [
        "{key.__class__}",
        "{key.__init__.__globals__}",
        "{key[0]}",
        "{key!r}",
        "{key:>100000000}",
        "{0}",
        "{}",
        "{self}",
        "{hub}",
    ],
)
def test_a_copys_template_reaches_the_secrets_fields_and_no_part_of_the_program(template: str, tmp_path: Path) -> None:
    text = f"""
stores: {{ files: {{ kind: file, directory: /srv/copies }} }}
secrets:
  app/key:
    owner: a@example.com
    classification: internal
    rotation: {{ strategy: generated, field: key, interval: 30d, grace: 1h }}
    destinations: [{{ store: files, name: copy, template: "{template}" }}]
"""
    (tmp_path / "all.yaml").write_text(text)
    try:
        (place,) = load_catalogue(tmp_path, {}).secrets["app/key"].destinations
    except CatalogueInvalid:
        return
    with pytest.raises(Unfit):
        place.shape.render(SecretFields({"key": "CANARY"}))  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["admin.__class__", "admin.password.__doc__", "current.__class__", "path.__class__"])
def test_a_requests_template_is_given_fields_alone(name: str) -> None:
    values = RequestValues("api", lambda: SecretFields({"password": "x"}), SecretFields({"current.key": "y"}), "call")
    with pytest.raises(Invalid, match="which is not there"):
        values(name)


def test_a_request_that_names_a_value_many_times_is_not_made() -> None:
    values = RequestValues("api", None, SecretFields({"note": "x" * 1_000}), "call")
    with pytest.raises(Invalid, match="more than 1,048,576 characters"):
        templates.fill_all(["{{note}}" * 1_000] * 1_000, values)


def test_the_test_of_a_new_key_gets_no_admin_credential(tmp_path: Path) -> None:
    text = """
targets: { api: { kind: http-api, url: "https://api.example.com", admin: targets/api } }
secrets:
  app/key:
    owner: a@example.com
    classification: internal
    rotation:
      strategy: http-api-key
      target: api
      interval: 30d
      grace: 1h
      create: { path: /keys }
      answer: { id: /id, key: /key }
      test: { path: /me, headers: { x-api-key: "{{key}}", x-more: "{{admin.token}}" } }
      delete: { path: "/keys/{{id}}" }
"""
    (flaw,) = problems(tmp_path, text)
    assert "asks for {{admin.token}}, which is not known there" in flaw


def test_no_mount_of_the_catalogue_is_the_one_that_holds_keyturns_own_entries() -> None:
    for mount in ("keyturn", "secret"):
        with pytest.raises(Invalid):
            insist_on_apart("secret", "keyturn", {"mine": mount})


def test_the_guides_example_of_the_operators_file_is_understood_and_allows_what_it_says(tmp_path: Path) -> None:
    page = (Path(keyturn.__file__).parents[1] / "docs" / "operators-policy.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "policy.yaml"
    file.write_text(example)
    policy = load_policy({VARIABLE: str(file)}, make(tmp_path / "catalogue"))
    assert set(policy.model_fields_set) == set(OperatorsPolicy.model_fields)
    assert policy.allows_host("ml.db.example.com", 5432)
    assert not policy.allows_host("ml.db.example.com", 22)
    assert policy.allows_host("10.20.255.1", 1)
    assert (policy.allows_account("octo/hello"), policy.allows_account("octopus/hello")) == (True, False)
    assert (policy.allows_variable("DB_HOST"), policy.allows_variable("DB_PASSWORD")) == (True, False)
