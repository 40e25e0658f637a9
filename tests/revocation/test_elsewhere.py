"""What the hub knows and the catalogue at hand lacks or contradicts: such an incident never closes by itself."""

from dataclasses import replace

from keyturn.core.schedule.due import Trigger
from keyturn.revocation import run
from keyturn.revocation.incidents.give_up import give_up_incident
from keyturn.revocation.incidents.incident import IncidentStatus, Mode, Step
from keyturn.revocation.preview import preview_revocation
from keyturn.revocation.proof import CheckAnswer, CheckSubject, IncidentVerdict
from keyturn.revocation.selector import Selection
from keyturn.rotation.run import rotate
from keyturn.sync.apply import Applier
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from tests.revocation.site import CONSUMERS, Site
from tests.support.lab import Declared, Lab, Opened


def without_store(site: Site) -> Opened:
    """An older checkout: its catalogue has neither the store nor the destination."""
    opened = site.lab.open(site.secret.having(destinations=[]), consumers=CONSUMERS)
    catalogue = opened.workspace.catalogue.model_copy(update={"stores": {}})
    return replace(opened, workspace=replace(opened.workspace, catalogue=catalogue))


def elsewhere(status: IncidentStatus) -> dict[str, CheckAnswer]:
    return {check.place: check.answer for _, check in status.checks if check.subject is CheckSubject.ELSEWHERE}


def revoked_with(site: Site, opened: Opened) -> IncidentStatus:
    """Revoked from that catalogue."""
    site.begin(workspace=opened.workspace)
    return run.finish(replace(opened.workspace, sleep=lambda seconds: None), site.incident)


def test_a_store_of_the_last_rotation_that_the_catalogue_lacks_keeps_it_open(lab: Lab) -> None:
    site = Site.of(lab, lab.alternating())
    site.rotated()
    leaked = site.store.read(site.secret.path).reveal()
    status = revoked_with(site, without_store(site))
    assert (status.verdict, elsewhere(status)["memory"]) == (IncidentVerdict.OPEN, CheckAnswer.REMAINING)
    assert site.store.read(site.secret.path).reveal() == leaked
    status = run.finish(site.impatient(), site.incident)
    assert status.unproven == ()
    assert (status.verdict, status.left) == (IncidentVerdict.PROVEN, ())
    assert site.store.read(site.secret.path).reveal() != leaked


def test_a_store_that_only_a_sync_has_filled_keeps_it_open_too(lab: Lab) -> None:
    site = Site.of(lab, lab.generated())
    carry_out(site.workspace, plan(site.workspace, [site.secret.path]), local_executor(Applier(site.workspace)))
    status = revoked_with(site, without_store(site))
    assert (status.verdict, elsewhere(status)["memory"]) == (IncidentVerdict.OPEN, CheckAnswer.REMAINING)
    given_up = give_up_incident(site.workspace, site.incident, "the store was emptied by hand, ticket 4711")
    assert given_up.verdict is IncidentVerdict.GIVEN_UP


def other_strategy(secret: Declared) -> Declared:
    """The same path in another catalogue, which takes its password for a generated value."""
    rotation = {"strategy": "generated", "field": "password", "interval": "30d", "grace": "1h"}
    return replace(secret, data={**secret.data, "rotation": rotation})


def test_another_strategy_than_the_last_rotations_ends_nothing_and_destroys_nothing(lab: Lab) -> None:
    site = Site.of(lab, lab.single())
    site.rotated()
    leaked = lab.current(site.secret)
    other = lab.open(other_strategy(site.secret), consumers=CONSUMERS, stores=lambda name: site.store)
    (shown,) = preview_revocation(other.workspace, Selection((site.secret.path,)), Mode.REPLACE).secrets
    assert any("its last rotation was by single-user" in words for words in shown.warnings)
    status = revoked_with(site, other)
    assert (status.verdict, Step.CUT in status.secrets[0].done) == (IncidentVerdict.OPEN, False)
    assert any("its last rotation was by single-user" in words for words in status.left)
    assert lab.logs_in(leaked)
    assert lab.current(site.secret) == leaked
    status = run.finish(site.impatient(), site.incident)
    assert status.unproven == ()
    assert (status.verdict, status.left) == (IncidentVerdict.PROVEN, ())
    assert not lab.logs_in(leaked)
    assert lab.logs_in(lab.current(site.secret))
    assert rotate(site.workspace, site.secret.path, Trigger.FORCE).version
