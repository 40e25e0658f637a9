"""Temporary accounts expire completely, and no other account is touched."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from keyturn.catalogue.grant_accounts import GrantAccountSettings
from keyturn.core.errors import Conflict, Denied, Rewritten, Unavailable
from keyturn.core.sensitive import Sensitive
from keyturn.grants import requests
from keyturn.grants.access_request import AccessRequest
from keyturn.grants.opening import OpenedAccess, open_access, return_access
from keyturn.grants.sweep import Sweeper, SweepResult
from keyturn.providers.postgresql.given_accounts import GivenAccounts
from keyturn.revocation import run
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import Mode
from keyturn.revocation.selector import Selection
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.grant_store import GRANTED, AccessGrant, GrantStage
from keyturn.wiring import registry
from tests.support.access import HOUR
from tests.support.given import GivenSite, deliver_access, given_site, people_with_least_rights
from tests.support.hooks import Hooked, Replaced
from tests.support.lab import Lab, fresh
from tests.support.people import Person, program

pytestmark = pytest.mark.sampled(3, of="file")

POLICY: dict[str, Any] = {"credential": None, "grant": "readers"}


@dataclass
class OwnSite:
    """Ana asks, bea approves, the granter makes accounts by an admin that has no other rights than for that."""

    given: GivenSite
    settings: GrantAccountSettings
    reader: str
    owner: str

    @property
    def lab(self) -> Lab:
        return self.given.lab

    def at_work(self, name: str) -> Workspace:
        """A workspace in which one of them is at work, whose catalogue says how accounts are made."""
        workspace = self.given.at_work(name, **POLICY)
        catalogue = workspace.catalogue.model_copy(update={"grants": {"readers": self.settings}})
        hub = workspace.hub
        made = registry.Cached(lambda entry: registry.open_maker(catalogue, entry, hub))
        return replace(workspace, catalogue=catalogue, open_maker=made)

    def approved(self, duration: timedelta = HOUR) -> AccessRequest:
        path = self.given.access.secret.path
        request = requests.ask_for_access(self.at_work("ana"), path, duration, "a query hangs")
        return requests.approve_access(self.at_work("bea"), request.id)

    def give(self, duration: timedelta = HOUR) -> AccessGrant:
        return deliver_access(self.at_work("granter"), self.approved(duration).id)

    def open(self, grant: AccessGrant) -> OpenedAccess:
        return open_access(self.at_work("ana"), grant.request, timedelta(seconds=1))

    def sweep(self) -> SweepResult:
        return Sweeper().sweep(self.at_work("granter"))

    def maker(self) -> GivenAccounts:
        made: Any = registry.open_maker(self.at_work("granter").catalogue, "readers", self.lab.hub)
        return made  # type: ignore[no-any-return]

    def is_there(self, account: str) -> bool:
        return bool(self.lab.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", account))

    @contextmanager
    def away(self) -> Iterator[None]:
        """The target takes nobody of the granter's meanwhile."""
        admin = self.lab.hub.read_state(self.settings.admin)
        assert admin is not None
        self.lab.sql(f"ALTER ROLE {admin.data['username']} NOLOGIN")
        try:
            yield
        finally:
            self.lab.sql(f"ALTER ROLE {admin.data['username']} LOGIN")


def make_admin(lab: Lab, reader: str, owner: str) -> str:
    """An admin for accounts of grants alone, in Keyturn's own mount; where it is there."""
    name, password, place = fresh(), secrets.token_urlsafe(24), f"grant-admins/{fresh()}"
    lab.sql(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD '{password}'")
    lab.sql(f"GRANT pg_signal_backend TO {name}")
    lab.sql(f"GRANT {reader} TO {name} WITH ADMIN OPTION")
    lab.sql(f"GRANT {owner} TO {name}")
    lab.keep(place, {"username": name, "password": password})
    return place


@pytest.fixture(scope="module")
def people(lab: Lab) -> dict[str, Person]:
    rex = program(lab, "rex", policies=["keyturn-worker", "keyturn-revoker"], rules="")
    return {**people_with_least_rights(lab), "rex": rex}


@pytest.fixture
def site(lab: Lab, people: dict[str, Person]) -> OwnSite:
    reader, owner = fresh(), fresh()
    for role in (reader, owner):
        lab.sql(f"CREATE ROLE {role} NOLOGIN")
    lab.sql(f"GRANT CREATE, USAGE ON SCHEMA public TO {reader}, {owner}")
    settings = GrantAccountSettings(target="pg", admin=make_admin(lab, reader, owner), roles=(reader,), owner=owner)
    return OwnSite(given_site(lab, people, "none", **POLICY), settings, reader, owner)


def test_it_opens_once_acts_as_its_roles_and_ends_with_its_sessions_and_what_it_left(site: OwnSite) -> None:
    grant = site.give()
    opened, table = site.open(grant), fresh()
    with pytest.raises(Exception, match="opens once"):
        site.open(grant)
    with site.lab.opened(opened.fields) as works:
        with site.lab.connect(opened.fields.reveal()) as session, session.cursor() as cursor:
            cursor.execute(f"CREATE TABLE public.{table} ()")
        assert (grant.place in site.sweep().ended) is False
        return_access(site.at_work("ana"), grant.request)
        assert site.sweep().ended[grant.place] == "it was given back"
        assert not works()
    assert not site.lab.logs_in(opened.fields)
    assert not site.is_there(grant.account)
    owner = site.lab.sql("SELECT tableowner FROM pg_tables WHERE tablename = %s", table)
    assert owner == [(site.owner,)]


@pytest.mark.attack
def test_the_server_refuses_an_expired_account_although_keyturn_does_not_run(site: OwnSite) -> None:
    grant = site.give(timedelta(minutes=30))
    ((left,),) = site.lab.sql(
        "SELECT extract(epoch FROM rolvaliduntil - now()) FROM pg_roles WHERE rolname = %s", grant.account
    )
    assert 29 * 60 < left <= 30 * 60 + 5
    opened = site.open(grant)
    assert site.lab.logs_in(opened.fields)
    # As it is in half an hour.
    site.lab.sql(f"ALTER ROLE {grant.account} VALID UNTIL '{'2020-01-01'}'")
    assert not site.lab.logs_in(opened.fields)


def test_where_the_target_is_away_at_its_end_the_next_sweep_ends_it(site: OwnSite) -> None:
    grant = site.give()
    return_access(site.at_work("ana"), grant.request)
    with site.away():
        result = site.sweep()
        assert grant.place in result.troubles
        assert "grants/readers" in result.troubles
    assert site.is_there(grant.account)
    assert site.sweep().ended[grant.place] == "it was given back"
    assert not site.is_there(grant.account)


@pytest.mark.attack
def test_leftover_accounts_are_found_by_their_mark_and_others_never_touched(site: OwnSite) -> None:
    maker, password = site.maker(), Sensitive(secrets.token_urlsafe(24))
    lost, theirs, plain = fresh(), fresh(), fresh()
    maker.make(lost, "e-1/AR-00000000dead", password, HOUR)
    others = GivenAccounts(maker._server, [site.reader], site.owner, "another-workspace")
    others.make(theirs, "e-1/AR-00000000beef", password, HOUR)
    site.lab.sql(f"CREATE ROLE {plain} LOGIN")
    assert site.sweep().ended[f"{GRANTED}/e-1/AR-00000000dead"] == f"{lost} was left over"
    assert [site.is_there(account) for account in (lost, theirs, plain)] == [False, True, True]
    for account in (theirs, plain):
        with pytest.raises(Denied, match="bears another mark, or none"):
            maker.end(account, "e-1/AR-00000000dead")
    with pytest.raises(Conflict):
        maker.make(plain, "e-1/AR-1", password, HOUR)
    assert maker.end(lost, "e-1/AR-00000000dead") == 0
    assert others.end(theirs, "e-1/AR-00000000beef") == 0


@pytest.mark.parametrize("step", ["wrap", "publish", "complete"])
def test_a_granter_that_dies_after_making_it_leaves_nothing_that_opens_twice(site: OwnSite, step: str) -> None:
    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    request, granter = site.approved(), site.at_work("granter")
    hub: Any = granter.hub
    if step == "wrap":
        port = Hooked(hub.grants(), wrap=die)
        broken: Any = Replaced(hub, grants=lambda: port)
    else:
        places = {"publish": "deliveries/", "complete": "granted/"}
        broken = Hooked(hub, write_state=lambda place, data, cas: places_die(place, data, places[step], die))
    with pytest.raises(Died):
        deliver_access(replace(granter, hub=broken), request.id)
    assert site.is_there(f"keyturn_{request.id.lower().replace('-', '_')}")
    grant = deliver_access(granter, request.id)
    assert grant.stage == GrantStage.ACTIVE
    assert site.lab.logs_in(site.open(grant).fields)
    assert list(site.maker().own().values()).count(grant.mark) == 1


def places_die(place: str, data: Any, prefix: str, die: Any) -> None:
    """Die where that is written, and not where it is said that it begins."""
    if place.startswith(prefix) and '"issuing"' not in str(data):
        die()


@pytest.mark.attack
def test_a_replaced_wrapping_is_not_opened(site: OwnSite) -> None:
    grant = site.give()
    state = site.lab.hub.read_state(grant.delivery_place)
    assert state is not None
    opened = site.lab.hub.grants().open_wrapped(Sensitive(state.data["token"]), grant.request)
    assert opened is not None
    anew = site.lab.hub.grants().wrap(opened.fields, HOUR)
    site.lab.keep(grant.delivery_place, {**state.data, "token": anew.token.reveal()})
    with pytest.raises(Rewritten, match="rewrapped by someone else"):
        site.open(grant)
    assert grant.place in site.sweep().ended
    assert not site.is_there(grant.account)


def test_a_revocation_ends_it_and_proves_that_the_account_is_gone(site: OwnSite) -> None:
    grant, workspace = site.give(), replace(site.at_work("rex"), clock=site.lab.hub.now, sleep=lambda _: None)
    opened, path, incident = site.open(grant), site.given.access.secret.path, fresh()
    with site.away():
        begin(workspace, path, incident)
        status = run.finish(workspace, incident)
        assert status.open
        assert any(grant.request in words for words in status.incident.left)
    with site.lab.opened(opened.fields) as works:
        status = run.finish(workspace, incident)
        assert not status.open, status.left
        assert not works()
    assert not site.is_there(grant.account)


def begin(workspace: Workspace, path: str, incident: str) -> None:
    run.begin(
        workspace,
        Selection((path,)),
        incident=incident,
        reason="leaked",
        mode=Mode.REPLACE,
        selector=path,
        triggered_at=workspace.clock(),
        consent=Consent(1),
    )


def test_a_target_that_is_away_is_no_account(site: OwnSite) -> None:
    request = site.approved()
    with site.away(), pytest.raises((Denied, Unavailable)):
        deliver_access(site.at_work("granter"), request.id)
    assert deliver_access(site.at_work("granter"), request.id).account
