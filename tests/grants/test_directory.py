"""Directory groups decide who requests and who approves access.

The directory is a real OpenLDAP. The packaged OpenBao has no auth method of its own for it, so an issuer stands between
them as Dex and Keycloak do: it binds with the password, and its JWT has the groups, which the hub maps.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from keyturn.core.errors import Denied
from keyturn.grants import requests
from keyturn.grants.requests import RequestState
from local.prepare import POLICIES
from local.support.ports import free_port
from tests.support.access import HOUR, AccessSite, approver_of, site_of
from tests.support.issuers import Issuer
from tests.support.lab import Lab
from tests.support.openldap import OpenLdap
from tests.support.people import Person, person

pytestmark = pytest.mark.sampled(5, of="file")

MOUNT, AUDIENCE = "staff", "keyturn"
GROUPS = {"oncall": ("ana", "fay"), "leads": ("bea",), "guests": ("carl",)}
POLICY_OF = {"oncall": "keyturn-requester", "leads": "keyturn-approver"}


@dataclass(frozen=True)
class Colleague(Person):
    """Somebody whom the directory knows: they log in with the password that it has of them."""

    directory: OpenLdap | None = None
    issuer: Issuer | None = None

    def token(self) -> str:
        """What the hub gives for the issuer's JWT."""
        name = self.role
        assert self.directory
        assert self.issuer
        assert self.directory.accepts(name, self.secret)
        jwt = self.issuer.token(name, AUDIENCE, groups=self.directory.groups_of(name))
        answer = self.lab.root.auth.jwt.jwt_login("people", jwt, use_token=False, path=MOUNT)
        return str(answer["auth"]["client_token"])


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenLdap]:
    with OpenLdap(tmp_path_factory.mktemp("openldap"), free_port(), GROUPS) as server:
        yield server


@pytest.fixture(scope="module")
def mapped(lab: Lab) -> Iterator[tuple[Issuer, dict[str, str]]]:
    """The hub lets people of the issuer in, and maps two of the groups; their ids."""
    root, issuer = lab.root, Issuer("directory")
    if "transit/" not in root.sys.list_mounted_secrets_engines()["data"]:
        root.sys.enable_secrets_engine("transit")
    root.sys.enable_auth_method("jwt", path=MOUNT)
    root.auth.jwt.configure(jwt_validation_pubkeys=[issuer.public_key], bound_issuer="directory", path=MOUNT)
    role = {"role_type": "jwt", "bound_audiences": [AUDIENCE], "groups_claim": "groups", "token_ttl": "1h"}
    root.auth.jwt.create_role("people", "sub", allowed_redirect_uris=[], path=MOUNT, **role)
    accessor = root.sys.list_auth_methods()["data"][f"{MOUNT}/"]["accessor"]
    ids = {}
    for group, policy in POLICY_OF.items():
        root.sys.create_or_update_policy(policy, (POLICIES / f"{policy}.hcl").read_text())
        made = root.secrets.identity.create_or_update_group(f"ldap-{group}", group_type="external", policies=[policy])
        ids[group] = made["data"]["id"]
        root.secrets.identity.create_or_update_group_alias(group, mount_accessor=accessor, canonical_id=ids[group])
    yield issuer, ids
    root.sys.disable_auth_method(MOUNT)


@pytest.fixture(scope="module")
def colleagues(lab: Lab, directory: OpenLdap, mapped: tuple[Issuer, dict[str, str]]) -> dict[str, Person]:
    """Each is one entity of the hub, whom it knows by the directory's name."""
    accessor = lab.root.sys.list_auth_methods()["data"][f"{MOUNT}/"]["accessor"]
    people: dict[str, Person] = {}
    for name, password in directory.passwords.items():
        known = person(lab, name, rules="")
        identity = lab.root.secrets.identity
        identity.create_or_update_entity_alias(name=name, canonical_id=known.entity, mount_accessor=accessor)
        people[name] = Colleague(lab, known.name, known.entity, name, password, MOUNT, directory, mapped[0])
    return people


@pytest.fixture(scope="module")
def site(lab: Lab, colleagues: dict[str, Person], mapped: tuple[Issuer, dict[str, str]]) -> AccessSite:
    """The group oncall may ask, and bea, who leads, approves."""
    approvers = {"bea": approver_of(lab, colleagues["bea"])}
    made = site_of(lab, colleagues, approvers, conditions={"logins": [MOUNT], "login_within": "15m"})
    policy = {"subjects": {"groups": [mapped[1]["oncall"]]}, "approvers": ["bea"], "approvals": 1}
    settings = made.settings.model_copy(update={"people": (f"auth/{MOUNT}/login",)})
    return replace(made, policy={**made.policy, **policy}, settings=settings)


def test_one_of_a_group_of_the_directory_asks_and_one_of_another_approves(site: AccessSite) -> None:
    request = site.ask()
    signed = site.approve("bea", request)
    assert requests.status_of(site.as_person("bea"), signed).state is RequestState.APPROVED


def test_neither_does_what_the_others_group_does(site: AccessSite, colleagues: dict[str, Person]) -> None:
    request = site.ask()
    with pytest.raises(Denied, match="is not among the approvers"):
        site.approve("ana", request)
    workspace = site.as_person("bea")
    with pytest.raises(Denied, match="no policy covers this secret and requester"):
        requests.ask_for_access(workspace, site.secret.path, HOUR, "curious")


def test_whoever_is_in_neither_may_do_nothing(site: AccessSite) -> None:
    workspace = site.as_person("carl")
    with pytest.raises(Denied):
        requests.ask_for_access(workspace, site.secret.path, HOUR, "curious")


def test_a_wrong_password_is_nobodys_login(directory: OpenLdap) -> None:
    assert directory.accepts("ana", directory.passwords["ana"])
    assert not directory.accepts("ana", directory.passwords["bea"])
    assert not directory.accepts("nobody", directory.passwords["bea"])


@pytest.mark.attack
def test_a_person_who_left_the_group_can_not_request_after_the_next_login(
    site: AccessSite, directory: OpenLdap
) -> None:
    before = site.as_person("fay")
    assert requests.ask_for_access(before, site.secret.path, HOUR, "a query hangs").id
    directory.remove("fay", "oncall")
    after = site.as_person("fay")
    with pytest.raises(Denied):
        requests.ask_for_access(after, site.secret.path, HOUR, "a query hangs")
    with pytest.raises(Denied):
        requests.ask_for_access(before, site.secret.path, HOUR, "a query hangs")
