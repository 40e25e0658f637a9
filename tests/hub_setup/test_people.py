"""OIDC and LDAP users get exactly the rights of their catalogue groups."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import yaml
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner

from keyturn.catalogue import load_catalogue
from keyturn.cli.app import app
from keyturn.core.errors import Invalid, Missing, UnsupportedOperation
from keyturn.core.rights.hub_setup import Kind, SetupVerdict
from keyturn.rights.hub_apply import apply_setup, remove_left_over
from keyturn.rights.hub_check import summarized
from keyturn.rights.hub_plan import plan_setup
from keyturn.rights.hub_record import SetupRecord, read_record
from local.support.serving import server_context
from local.support.tls import certificate_in
from tests.hub_setup.recorded import TOKENS, Recorded, WithoutState, recorded_hub
from tests.hub_setup.site import Empty, applied, as_environment, planned, verdicts, wanted
from tests.manual.lines import lines_of
from tests.support.issuers import CLIENT, Provider

pytestmark = pytest.mark.sampled(8, of="file")

BACK = "http://localhost:8250/oidc/callback"
VARIABLE = "KEYTURN_SETUP_CLIENT_SECRET"


@dataclass(frozen=True)
class Company:
    """An OIDC provider over TLS, and the entries of `hub:` by which its people log in."""

    provider: Provider
    authority: Path

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        """Everybody may log in; who is in `oncall` may ask for access, who is in `leads` may approve."""
        return {
            "people": {
                "kind": "oidc",
                "discovery_url": self.provider.url,
                "client_id": CLIENT,
                "client_secret_variable": VARIABLE,
                "default_role": "staff",
                "ca_certificate": self.authority.read_text(),
            },
            "staff": {
                "kind": "oidc-role",
                "method": "people",
                "allowed_redirect_uris": [BACK],
                "groups_claim": "groups",
                "token_ttl": "30m",
            },
            "ml-oncall": {"kind": "group", "method": "people", "group": "oncall", "logins": ["requester"]},
            "ml-leads": {"kind": "group", "method": "people", "group": "leads", "logins": ["approver", "planner"]},
        }

    def logs_in(self, empty: Empty) -> list[str]:
        """The policies of a login with the browser. Raises requests.HTTPError where the provider gives none."""
        method, nonce = f"{empty.server.address}/v1/auth/people/oidc", secrets.token_hex(8)
        hub = {"X-Vault-Namespace": empty.namespace}
        asked = {"redirect_uri": BACK, "client_nonce": nonce}
        begun = requests.post(f"{method}/auth_url", json=asked, headers=hub, timeout=10).json()
        page = begun["data"]["auth_url"]
        back = requests.get(page, verify=str(self.authority), allow_redirects=False, timeout=10).headers["Location"]
        query = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
        shown = {**query, "client_nonce": nonce}
        answer = requests.get(f"{method}/callback", params=shown, headers=hub, timeout=10)
        answer.raise_for_status()
        return sorted(answer.json()["auth"]["policies"])


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    made = certificate_in(tmp_path_factory.mktemp("provider"))
    with HTTPServer("localhost", ssl_context=server_context(made.certificate, made.key)) as server:
        yield Company(Provider(server, "ana"), made.authority)


@pytest.fixture
def people(empty: Empty, company: Company, monkeypatch: pytest.MonkeyPatch) -> Empty:
    """A hub that was set up for them."""
    monkeypatch.setenv(VARIABLE, company.provider.secret)
    plan = applied(empty.port, wanted(company.entries))
    for trace in (repr(plan), repr(read_record(empty.port))):
        assert company.provider.secret not in trace
    return empty


def test_people_may_do_what_their_groups_may_and_a_second_run_does_nothing(people: Empty, company: Company) -> None:
    assert verdicts(applied(people.port, wanted(company.entries))) == {}
    company.provider.groups = []
    assert company.logs_in(people) == ["default"]
    company.provider.groups = ["oncall", "guests"]
    assert company.logs_in(people) == ["default", "keyturn-requester"]
    company.provider.groups = ["leads"]
    assert company.logs_in(people) == ["default", "keyturn-approver", "keyturn-planner"]


@pytest.mark.attack
def test_changes_to_a_method_role_or_group_are_found_and_reverted(people: Empty, company: Company) -> None:
    root, everything = people.root, wanted(company.entries)
    config = people.read("auth/people/config")
    other = {**config, "default_role": "", "oidc_client_secret": company.provider.secret}
    root.write_data("auth/people/config", data={name: value for name, value in other.items() if value is not None})
    role = people.read("auth/people/role/staff")
    root.write_data("auth/people/role/staff", data={**role, "token_policies": ["root"]})
    group = people.read("identity/group/name/ml-oncall")
    root.write_data("identity/group/name/ml-oncall", data={"type": "external", "policies": ["keyturn-revoker"]})
    accessor = group["alias"]["mount_accessor"]
    alias = {"name": "everybody", "canonical_id": group["id"], "mount_accessor": accessor}
    root.write_data("identity/group-alias", data=alias)

    hub = people.as_token(people.token("keyturn-planner"))
    drifted = {
        (item.resource.key, each.field): (each.present, each.wanted)
        for item in planned(hub.setup(), everything).of(SetupVerdict.DRIFT)
        for each in item.differences
    }
    assert drifted == {
        ("oidc-config:people", "default_role"): ("", "staff"),
        ("oidc-role:people/staff", "token_policies"): (["root"], []),
        ("group:ml-oncall", "policies"): (["keyturn-revoker"], ["keyturn-requester"]),
        ("group-alias:people/ml-oncall", "name"): ("everybody", "oncall"),
    }
    applied(people.port, everything)
    company.provider.groups = ["oncall"]
    assert company.logs_in(people) == ["default", "keyturn-requester"]


def test_a_group_that_is_declared_no_more_is_told_and_goes_where_it_is_named(people: Empty, company: Company) -> None:
    fewer = {name: entry for name, entry in company.entries.items() if name != "ml-oncall"}
    plan = planned(people.port, wanted(fewer))
    keys = ["group-alias:people/ml-oncall", "group:ml-oncall"]
    assert verdicts(plan) == dict.fromkeys(keys, "left over")
    remove_left_over(people.port, plan, read_record(people.port), keys[:1])
    company.provider.groups = ["oncall"]
    assert company.logs_in(people) == ["default"]
    remove_left_over(people.port, planned(people.port, wanted(fewer)), read_record(people.port), keys[1:])
    assert people.root.read("identity/group/name/ml-oncall") is None
    assert verdicts(planned(people.port, wanted(fewer))) == {}


@pytest.mark.attack
def test_a_client_secret_is_never_reported_as_correct_and_rewritten_on_request(
    people: Empty, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, everything = people.read("auth/people/config"), wanted(company.entries)
    assert company.provider.secret not in str(config)
    forged = {**config, "oidc_client_secret": "another"}
    people.root.write_data("auth/people/config", data={k: v for k, v in forged.items() if v is not None})
    with pytest.raises(requests.HTTPError):
        company.logs_in(people)

    plan = planned(people.port, everything)
    (item,) = (item for item in plan.items if item.resource.key == "oidc-config:people")
    assert (item.verdict, item.uncompared) == (SetupVerdict.IN_PLACE, ("oidc_client_secret",))
    words = summarized(plan, people.hub.now()).words
    assert words.endswith("secrets that can't be compared: oidc-config:people (oidc_client_secret)")

    monkeypatch.delenv(VARIABLE)
    again = plan_setup(people.port, everything, read_record(people.port), rewrite=["oidc-config:people"])
    assert verdicts(again) == {"oidc-config:people": "change"}
    with pytest.raises(Missing, match=f"{VARIABLE} is not set"):
        apply_setup(people.port, "keyturn", again, read_record(people.port))
    monkeypatch.setenv(VARIABLE, company.provider.secret)
    apply_setup(people.port, "keyturn", again, read_record(people.port))
    company.provider.groups = []
    assert company.logs_in(people) == ["default"]


def test_the_command_shows_what_nobody_can_compare_and_takes_it_for_no_difference(
    people: Empty, company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "catalogue").mkdir()
    as_environment(people, tmp_path, monkeypatch)
    (tmp_path / "secret").write_text(f"{company.provider.secret}\n")
    role, method = (
        company.entries["staff"],
        {**company.entries["people"], "client_secret_file": str(tmp_path / "secret")},
    )
    del method["client_secret_variable"]
    declared = {"hub": {"people": method, "staff": role}}
    (tmp_path / "catalogue" / "all.yaml").write_text(yaml.safe_dump(declared))
    run = CliRunner().invoke
    assert run(app, ["setup", "hub", "--apply", "--yes"]).exit_code == 1  # the groups are left over
    shown = run(app, ["setup", "hub"])
    assert "oidc_client_secret: the hub never returns it" in " ".join(shown.output.split())
    people.root.write_data("auth/people/config", data=forged_config(people))
    (line,) = lines_of("hub.md", "keyturn setup hub --apply --write-secrets")
    done = run(app, [*line.split()[1:], "--yes"])
    assert "change: oidc-config:people" in done.output
    company.provider.groups = []
    assert company.logs_in(people) == ["default"]
    strange = run(app, ["setup", "hub", "--apply", "--yes", "--write-secrets", "oidc-role:people/staff"])
    assert strange.exit_code == 1
    assert "has none that Keyturn writes" in strange.output


def forged_config(people: Empty) -> dict[str, Any]:
    config = {**people.read("auth/people/config"), "oidc_client_secret": "another"}
    return {name: value for name, value in config.items() if value is not None}


BASE = "dc=example,dc=com"
LDAP: dict[str, dict[str, Any]] = {
    "corp": {
        "kind": "ldap",
        "url": "ldaps://ldap.example.com",
        "user_dn": f"ou=people,{BASE}",
        "user_attribute": "uid",
        "group_dn": f"ou=groups,{BASE}",
        "group_filter": "(&(objectClass=groupOfNames)(member={{.UserDN}}))",
        "bind_dn": f"cn=hub,{BASE}",
        "bind_password_variable": "KEYTURN_SETUP_BIND",
        "logins": ["monitor"],
    },
    "ml-oncall": {"kind": "group", "method": "corp", "group": "oncall", "logins": ["requester"]},
}
READ: dict[str, Any] = {
    **TOKENS,
    "token_policies": ["keyturn-monitor"],
    "anonymous_group_search": False,
    "binddn": f"cn=hub,{BASE}",
    "case_sensitive_names": False,
    "certificate": "",
    "deny_null_bind": True,
    "discoverdn": False,
    "groupattr": "cn",
    "groupdn": f"ou=groups,{BASE}",
    "groupfilter": "(&(objectClass=groupOfNames)(member={{.UserDN}}))",
    "insecure_tls": False,
    "request_timeout": 90,
    "starttls": False,
    "tls_max_version": "tls12",
    "tls_min_version": "tls12",
    "upndomain": "",
    "url": "ldaps://ldap.example.com",
    "use_token_groups": False,
    "userattr": "uid",
    "userdn": f"ou=people,{BASE}",
    "userfilter": "({{.UserAttr}}={{.Username}})",
    "username_as_alias": False,
}
"""The answer to "Read LDAP configuration", with the fields of Vault's documentation, "LDAP auth method (API)"."""


def test_a_directory_is_configured_as_vault_documents_it_and_a_change_there_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYTURN_SETUP_BIND", "a-password")
    answers = Recorded({"auth/corp/config": READ})
    config = [resource for resource in wanted(LDAP) if resource.kind is Kind.LDAP_CONFIG]
    with recorded_hub(answers, tmp_path) as hub:
        port = WithoutState(hub)
        record = apply_setup(port, "keyturn", plan_setup(port, config, SetupRecord()), SetupRecord())
        sent = answers.made["auth/corp/config"]
        assert sent.pop("bindpass") == "a-password"
        assert {name: READ[name] for name in sent} == sent
        (item,) = plan_setup(port, config, record).items
        assert (item.verdict, item.uncompared) == (SetupVerdict.IN_PLACE, ("bindpass",))

        answers.answers["auth/corp/config"] = {**READ, "insecure_tls": True, "userfilter": "(uid=*)"}
        (item,) = plan_setup(port, config, record).of(SetupVerdict.DRIFT)
        assert {each.field for each in item.differences} == {"insecure_tls", "userfilter"}


def test_a_hub_without_the_method_says_so(empty: Empty) -> None:
    with pytest.raises(UnsupportedOperation, match="the hub has no plugin for it"):
        applied(empty.port, wanted(LDAP))


@pytest.mark.attack
def test_a_login_comes_back_to_no_host_that_the_operators_file_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "policy.yaml").write_text("hosts: [login.example.com, vault.example.com]\nfiles: [/run]\n")

    def load(page: str) -> None:
        method = "{kind: oidc, discovery_url: 'https://login.example.com', client_id: hub, client_secret_file: /run/s}"
        role = f"{{kind: oidc-role, method: people, allowed_redirect_uris: ['{BACK}', '{page}']}}"
        (tmp_path / "catalogue" / "all.yaml").write_text(f"hub:\n  people: {method}\n  staff: {role}\n")
        load_catalogue(tmp_path / "catalogue", {"KEYTURN_POLICY": str(tmp_path / "policy.yaml")})

    load("https://vault.example.com/ui/vault/auth/oidc/oidc/callback")
    with pytest.raises(Invalid, match="the operator's file does not allow this host"):
        load("https://elsewhere.example.org/oidc/callback")
    with pytest.raises(Invalid, match="plain http to another machine"):
        load("http://vault.example.com/oidc/callback")


REFUSED = (
    ("client_secret_variable: VAULT_TOKEN", "Name one that begins with KEYTURN_SETUP_"),
    ("client_secret_file: ~/.ssh/id_rsa", "no catalogue may name files there"),
    ("default_role: staff", "its secret is read from one place"),
    ("client_secret_file: /run/s, default_role: stuff", "no oidc-role of hub is called stuff"),
)


@pytest.mark.parametrize(("more", "words"), REFUSED, ids=["variable", "file", "none", "role"])
@pytest.mark.attack
def test_a_line_of_the_catalogue_sends_no_other_secret_to_a_provider(tmp_path: Path, more: str, words: str) -> None:
    method = f"{{kind: oidc, discovery_url: 'https://login.example.com', client_id: hub, {more}}}"
    role = "{kind: oidc-role, method: people, allowed_redirect_uris: ['http://localhost:8250/oidc/callback']}"
    (tmp_path / "all.yaml").write_text(f"hub:\n  people: {method}\n  staff: {role}\n")
    with pytest.raises(Invalid, match=words):
        load_catalogue(tmp_path, {})
