"""Offboarding a project removes everything it has, with proof, and resumes after a crash."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from keyturn.cli.organisations.offboard import show_project
from keyturn.cli.secrets.copies import look_at_copies
from keyturn.cli.secrets.secret_status import secret_statuses
from keyturn.core.errors import Invalid, NotFound, Rewritten
from keyturn.core.sensitive import SecretFields
from keyturn.grants.access_request import AccessRequest
from keyturn.grants.requests import RequestState, find_request, status_of
from keyturn.organisations import offboarding
from keyturn.organisations.offboarding import offboard_project, plan_offboarding
from keyturn.organisations.offboarding_proof import OffboardingProof, check_offboarding, prove_offboarding
from keyturn.organisations.offboarding_store import Offboarding, find_offboarding
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.revocation.incidents.consent import Consent
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record
from tests.hub_setup.site import Empty
from tests.organisations.site import BAKERY, HARVEST, PROJECT, Organisation, declared, organisation, secret
from tests.support.hooks import Hooked

pytestmark = pytest.mark.sampled(5, of="file")

REQUEST = "AR-0123456789ab"
ROLE, POLICY = "approle:approle/reaper", "policy:consumer-reaper"


@pytest.fixture
def site(empty: Empty, tmp_path: Path) -> Iterator[Organisation]:
    with organisation(empty, tmp_path) as made:
        yield made


def asked(site: Organisation, path: str) -> AccessRequest:
    """A request for access that waits."""
    at = "2026-11-27T12:00:00+00:00"
    request = AccessRequest(
        REQUEST, path, 60, "a look", "", "p", "d", 1, "e-1", "ana", at, "2036-01-01T00:00:00+00:00", "n"
    )
    site.workspace.hub.claim_state(request.place, {"request": json.dumps(asdict(request))})
    return request


def end(site: Organisation, workspace: Workspace | None = None, setup: Any = None, *shared: str) -> Offboarding:
    return offboard_project(
        workspace or site.workspace, setup or site.empty.port, PROJECT, "it is over", shared, Consent(len(HARVEST))
    )[0]


def test_all_that_a_project_has_is_ended_and_proven_and_nothing_of_another(site: Organisation) -> None:
    asked(site, HARVEST[1])
    plan = plan_offboarding(site.workspace, site.empty.port, PROJECT)
    assert [blast.path for blast in plan.secrets.secrets] == list(HARVEST)
    assert (plan.hub, plan.shared, plan.unseen) == ((POLICY, ROLE), (), ())
    assert site.served() == sorted((*BAKERY, *HARVEST))

    ended = end(site)
    assert ended.unproven == ()
    assert (ended.requests, ended.removed) == ((REQUEST,), (POLICY, ROLE))
    assert ended.remains == ("the webhook key of reaper (keyturn/webhooks/reaper)",)
    assert site.served() == list(BAKERY)
    assert site.store.describe("harvest") is None
    shown = {status.path: status for status in secret_statuses(site.workspace, look_at_copies)[0]}
    for path in HARVEST:
        assert shown[path].lines() == [f"offboarded ({ended.incident}): it serves no more"]
        assert shown[path].copies == (), "a copy that is to be nowhere is not lacking"
    assert [load_record(site.workspace, path).rest for path in HARVEST] == [None, None]
    request = find_request(site.workspace, REQUEST)
    assert status_of(site.workspace, request).state is RequestState.ENDED
    assert not site.there("auth/approle/role/reaper")
    assert not site.there("sys/policies/acl/consumer-reaper")
    assert site.there("auth/approle/role/baker")

    with pytest.raises(NotFound, match="no checkpoint"):
        prove_offboarding(site.ledger, ended)
    keys = site.checkpoint()
    proof = OffboardingProof.from_json(prove_offboarding(site.ledger, ended).to_json())
    proven = check_offboarding(proof, keys, verify_ed25519)
    assert set(proven.ended) == {*HARVEST, REQUEST, POLICY, ROLE}
    assert "canary" not in proof.to_json()


def test_the_same_again_does_nothing_unless_something_has_come_since(site: Organisation) -> None:
    ended = end(site)
    assert end(site) == ended
    version = site.workspace.hub.describe(HARVEST[1])
    assert version is not None
    site.empty.hub.write(HARVEST[1], SecretFields({"value": "again"}), cas=version.version)
    again = end(site)
    assert again.incident != ended.incident
    assert site.served() == list(BAKERY)


def test_with_the_revokers_rights_all_ends_but_the_logins_which_are_not_proven(site: Organisation) -> None:
    asked(site, HARVEST[1])
    with closing(site.empty.as_token(site.empty.token("keyturn-worker", "keyturn-revoker"))) as hub:
        ended = end(site, replace(site.workspace, hub=hub), hub.setup())
    assert (ended.requests, site.served()) == ((REQUEST,), list(BAKERY))
    assert ended.unproven == (f"{POLICY}: the hub denies it", f"{ROLE}: the hub denies it")
    keys = site.checkpoint()
    proven = check_offboarding(prove_offboarding(site.ledger, ended), keys, verify_ed25519)
    assert (set(proven.ended), proven.unproven) == ({*HARVEST, REQUEST}, ended.unproven)
    assert site.there("auth/approle/role/reaper")


def test_what_somebody_has_changed_by_hand_stays_and_is_not_proven(site: Organisation) -> None:
    site.empty.root.auth.approle.create_or_update_approle("reaper", token_policies=["consumer-reaper", "other"])
    ended = end(site)
    assert ended.unproven == (f"{ROLE}: it was changed since Keyturn made it",)
    assert site.there("auth/approle/role/reaper")


def test_a_process_that_dies_at_any_write_leaves_what_the_next_one_finishes(site: Organisation) -> None:
    asked(site, HARVEST[1])
    begun = offboarding.begin_offboarding(site.workspace, PROJECT, "it is over", (), Consent(len(HARVEST)))
    deaths = 0
    for last in range(60):
        left = [last]

        def die(*_: object, left: list[int] = left, **__: object) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt

        hub: Any = Hooked(site.workspace.hub, write_state=die)
        ledger: Any = Hooked(site.workspace.ledger, append=die)
        dying = replace(site.workspace, hub=hub, ledger=ledger)
        try:
            ended = end(site, dying, Hooked(site.empty.port, remove=die, write_state=die))
            break
        except KeyboardInterrupt:
            deaths += 1
    assert deaths > 5
    assert (ended.incident, ended.unproven) == (begun.incident, ())
    keys = site.checkpoint()
    proven = check_offboarding(prove_offboarding(site.ledger, ended), keys, verify_ed25519)
    assert set(proven.ended) == {*HARVEST, REQUEST, POLICY, ROLE}


def test_a_secret_that_others_use_ends_where_it_is_named_alone(
    empty: Empty, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets = {**declared()["secrets"], BAKERY[0]: secret("bakery", "baker", "reaper")}
    with organisation(empty, tmp_path, secrets=secrets) as site:
        show_project(site.workspace, site.empty.port, PROJECT, as_json=False)
        assert f"--expect {len(HARVEST)} --shared {HARVEST[0]}\n" in capsys.readouterr().err
        with pytest.raises(Invalid, match=f"{HARVEST[0]}: reaper uses it, and {BAKERY[0]}"):
            end(site)
        assert site.served() == sorted((*BAKERY, *HARVEST))
        assert find_offboarding(site.workspace, PROJECT) is None
        ended = end(site, None, None, HARVEST[0])
        assert (ended.shared, ended.removed) == ((HARVEST[0],), ())
        assert site.there("auth/approle/role/reaper")


def test_a_project_that_nobody_has_or_that_leads_elsewhere_is_refused(site: Organisation) -> None:
    with pytest.raises(NotFound, match="no secret has the label project: harvst"):
        plan_offboarding(site.workspace, site.empty.port, "harvst")
    for name in ("../incidents", "a/b", "", "-"):
        with pytest.raises(Invalid, match="it is no name of a project"):
            plan_offboarding(site.workspace, site.empty.port, name)
    with pytest.raises(Invalid, match="how many was not said"):
        offboard_project(site.workspace, site.empty.port, PROJECT, "over", (), Consent())
    assert site.served() == sorted((*BAKERY, *HARVEST))
    assert end(site).unproven == ()


@pytest.mark.attack
def test_a_proof_that_was_changed_or_is_silent_does_not_hold(site: Organisation) -> None:
    ended = end(site)
    keys = site.checkpoint()
    proof = prove_offboarding(site.ledger, ended)
    changed = replace(ended, paths=ended.paths[:1])
    for forged in (
        replace(proof, offboarding=changed),
        replace(proof, offboarding=replace(ended, project="bakery")),
        replace(proof, offboarding=replace(ended, unproven=())) if ended.unproven else replace(proof, entries=()),
        replace(proof, entries=proof.entries[1:]),
        replace(proof, entries=proof.entries[:-1]),
    ):
        with pytest.raises(Rewritten):
            check_offboarding(forged, keys, verify_ed25519)
