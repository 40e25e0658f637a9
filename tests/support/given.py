"""A site where access is given in earnest: by the hub's engine, with the least rights that each of them needs."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from keyturn.grants import requests
from keyturn.grants.access_request import AccessRequest
from keyturn.grants.delivery import deliver_request
from keyturn.grants.opening import OpenedAccess, open_access
from keyturn.grants.sweep import Sweeper, SweepResult
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.grant_store import GRANTED, AccessGrant, read_grant
from local.prepare import END_ACCOUNT, OWNER
from tests.support.access import HOUR, AccessSite, approver_of, people_of, site_of
from tests.support.lab import Lab, fresh
from tests.support.people import Person, person, program


def deliver_access(workspace: Workspace, name: str) -> AccessGrant:
    """Deliver a request at most once, with the granter's rights."""
    return deliver_request(workspace, requests.find_request(workspace, name))


def people_with_least_rights(lab: Lab) -> dict[str, Person]:
    """Ana asks, bea approves, and the granter is a program."""
    policies = {"ana": "keyturn-requester", "bea": "keyturn-approver"}
    least = {name: person(lab, name, policies=[policy], rules="") for name, policy in policies.items()}
    return {**people_of(lab), **least, "granter": program(lab, "granter", policies=["keyturn-granter"], rules="")}


def reader_role(lab: Lab) -> str:
    """A role of the engine, whose accounts end with their sessions."""
    role = fresh()
    lab.engine_role(role, OWNER, "24h", end=END_ACCOUNT)
    return role


@dataclass
class GivenSite:
    """Ana asks, bea approves, the granter gives and sweeps."""

    access: AccessSite
    sweeper: Sweeper = field(default_factory=Sweeper)

    @property
    def lab(self) -> Lab:
        """Its servers."""
        return self.access.lab

    def at_work(self, name: str, **changes: Any) -> Workspace:
        """A workspace in which one of them is at work, by the hub's own clock; ``changes`` are to the policy."""
        return replace(self.access.as_person(name, **changes), hub_clock=None)

    def ask(self, duration: timedelta = HOUR, **changes: Any) -> AccessRequest:
        """What ana asks for."""
        path = self.access.secret.path
        return requests.ask_for_access(self.at_work("ana", **changes), path, duration, "a query hangs")

    def approved(self, duration: timedelta = HOUR, **changes: Any) -> AccessRequest:
        """What bea has approved."""
        request = self.ask(duration, **changes)
        return requests.approve_access(self.at_work("bea", **changes), request.id)

    def given(self, duration: timedelta = HOUR, **changes: Any) -> AccessGrant:
        """What the granter has given."""
        return deliver_access(self.at_work("granter", **changes), self.approved(duration, **changes).id)

    def open(self, name: str, **changes: Any) -> OpenedAccess:
        """What ana finds in it."""
        return open_access(self.at_work("ana", **changes), name, timedelta(seconds=1))

    def sweep(self, **changes: Any) -> SweepResult:
        """One sweep of the granter's. All tests have one hub, so it looks at others' grants, too."""
        return self.sweeper.sweep(self.at_work("granter", **changes))

    def why(self, grant: AccessGrant) -> str:
        """Why it has ended; empty where it has not."""
        stored = read_grant(self.at_work("granter"), grant.place)
        return stored.grant.because if stored else "it is gone"

    def grant_of(self, request: AccessRequest) -> AccessGrant | None:
        """What the hub has of what was given."""
        stored = read_grant(self.at_work("granter"), request.grant_place)
        return stored.grant if stored else None


def given_site(lab: Lab, people: dict[str, Person], role: str, **policy: Any) -> GivenSite:
    """One secret, to which ana has access by the engine's role once bea has approved it."""
    approvers = {"bea": approver_of(lab, people["bea"])}
    site = site_of(lab, people, approvers)
    about = {"credential": f"database/creds/{role}", "approvers": ["bea"], "approvals": 1}
    return GivenSite(replace(site, policy={**site.policy, **about, **policy}))


def forget_grants(lab: Lab) -> None:
    """What other tests have been given: by a catalogue without its policy it would end."""
    for place in lab.hub.list_state(GRANTED):
        lab.root.secrets.kv.v2.delete_metadata_and_all_versions(place, mount_point=lab.hub.state_mount)
