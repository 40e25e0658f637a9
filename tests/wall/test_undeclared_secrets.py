"""A sync pattern copies no undeclared secret unless the operator lists it."""

import dataclasses

import hvac
import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.plan import Action
from keyturn.core.rights.hcl import policy
from keyturn.rights import hub_policies
from keyturn.rights.copies import store_documents
from keyturn.rights.hub_policies import sections
from keyturn.rights.scope import places_of, scope_of
from keyturn.rotation.state.context import Workspace
from keyturn.settings.hub import HubSettings
from tests.support.lab import Lab, fresh
from tests.sync.site import Site

pytestmark = pytest.mark.attack

STORE = {"kind": "aws-secrets-manager", "region": "eu-central-1"}
GENERATED = {
    "owner": "a@example.com",
    "classification": "internal",
    "rotation": {"strategy": "generated", "interval": "30d", "grace": "1h"},
}


class Unlisted(Site):
    """A folder with one declared secret and another team's, both of which a sync's pattern fits."""

    listed: tuple[str, ...] = ()

    @property
    def workspace(self) -> Workspace:
        """With what the operator's file lists, and no more."""
        made = super().workspace
        operators = made.catalogue.policy.model_copy(update={"undeclared": self.listed})
        return dataclasses.replace(made, catalogue=made.catalogue.model_copy(update={"policy": operators}))


@pytest.fixture
def site(lab: Lab) -> Unlisted:
    site = Unlisted(lab)
    mine = site.path("mine")
    places = [{"store": store, "name": mine} for store in site.stores]
    site.secrets = {mine: {**GENERATED, "path": mine, "destinations": places}}
    for name in ("mine", "theirs"):
        site.write(name, value=f"value of {name}")
    return site


def test_a_pattern_copies_declared_secrets_and_lists_those_left_out(site: Unlisted) -> None:
    assert site.actions() == {f"{store}:{site.path('mine')}": Action.CREATE for store in ("one", "two")}
    (remark,) = (remark for remark in site.plan().remarks if "NOT COPIED" in remark)
    assert site.path("theirs") in remark
    assert "`undeclared`" in remark
    site.run()
    assert set(site.served("one")) == {site.path("mine")}


@pytest.mark.parametrize("listed", ["theirs", "th*", "*"])
def test_secrets_that_the_operator_lists_are_copied(site: Unlisted, listed: str) -> None:
    site.listed = (site.path(listed),)
    site.run()
    assert set(site.served("one")) == {site.path("mine"), site.path("theirs")}
    assert not any("NOT COPIED" in remark for remark in site.plan().remarks)


def test_a_sync_may_spell_a_path_out_as_a_declaration_may(site: Unlisted) -> None:
    site.syncs["all"]["paths"] = [site.path("theirs")]
    site.run()
    assert set(site.served("one")) == {site.path("mine"), site.path("theirs")}


def test_a_copy_stays_when_the_operator_stops_listing_its_secret(site: Unlisted) -> None:
    site.settings = {name: {"deletion": "delete", "delete_after": "0s"} for name in site.stores}
    site.listed = (site.path("*"),)
    site.run()
    site.listed = ()
    site.run()
    assert site.path("theirs") in site.served("one")
    site.syncs["all"]["paths"] = [site.path("mine")]
    site.run()
    assert site.path("theirs") not in site.served("one")


def declared(*, syncs: list[str], listed: list[str]) -> Catalogue:
    """A catalogue whose one sync has these paths, under an operator's file that lists these."""
    return Catalogue.model_validate(
        {
            "stores": {"aws": STORE},
            "syncs": {"all": {"paths": syncs, "stores": ["aws"], "separator": "-"}},
            "policy": {"undeclared": listed},
        }
    )


def rendered(catalogue: Catalogue) -> str:
    """Every rule of every login, and every document of the store."""
    scope = scope_of(catalogue, places_of(catalogue, HubSettings("https://hub.example.com")))
    rules = [rule.path for role in hub_policies.ROLES for section in sections(scope, role) for rule in section.rules]
    return "\n".join([*rules, *(document.text for document in store_documents(catalogue, "a test"))])


@pytest.mark.parametrize("pattern", ["**", "*", "zz/*", "zz/**", "zz*/db", "*:**", "*/zz"])
def test_no_rendered_right_has_a_pattern_of_the_catalogues(pattern: str) -> None:
    without = Catalogue.model_validate({"stores": {"aws": STORE}})
    assert rendered(declared(syncs=[pattern], listed=[])) == rendered(without)


def test_the_rendered_pattern_is_the_operators() -> None:
    text = rendered(declared(syncs=["zz/**"], listed=["zz/shared/*", "other/*"]))
    assert "secret/data/zz/shared/*" in text
    assert "secret:zz-shared-*" in text
    assert "secret/data/zz/*" not in text
    assert "other" not in text


def test_the_hub_refuses_a_worker_what_only_a_pattern_names(site: Unlisted, lab: Lab) -> None:
    scope = scope_of(site.workspace.catalogue, places_of(site.workspace.catalogue, HubSettings(lab.world.hub_address)))
    lab.root.sys.create_or_update_policy(name := fresh(), policy(sections(scope, hub_policies.WORKER)))
    token = lab.root.auth.token.create(policies=[name], ttl="1h")["auth"]["client_token"]
    secrets = hvac.Client(url=lab.world.hub_address, token=token).secrets.kv.v2
    assert secrets.read_secret_version(site.path("mine"), raise_on_deleted_version=True)
    with pytest.raises(hvac.exceptions.Forbidden):
        secrets.read_secret_version(site.path("theirs"), raise_on_deleted_version=True)
