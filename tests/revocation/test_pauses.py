"""An incident that comes no further is tried less and less often, unless a credential may work still."""

from dataclasses import replace
from datetime import timedelta

from keyturn.revocation.incidents import resume
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.incident import IncidentStatus, Step
from tests.revocation.site import Site
from tests.support.lab import Lab

FIVE_MINUTES = timedelta(minutes=5)


def tried_in_vain(site: Site, hours: float) -> list[float]:
    """The minutes at which finish-incidents, which runs every five, tries what is left."""
    found = []
    for turn in range(int(hours * 12)):
        later = site.at(turn * FIVE_MINUTES)
        before = incident_store.load_status(later, site.incident)
        if resume.is_turn(before, later.clock()):
            found.append(turn * 5.0)
            resume.record_try(later, before, incident_store.load_status(later, site.incident))
    return found


def test_pauses_double_up_to_an_hour_and_begin_anew_once_it_comes_further(lab: Lab) -> None:
    site = Site.of(lab, lab.alternating())
    site.begin()
    minutes = tried_in_vain(site, hours=6)
    assert minutes == [0, 5, 10, 20, 40, 80, 140, 200, 260, 320]

    later = site.at(timedelta(hours=5, minutes=30))
    before = incident_store.load_status(later, site.incident)
    assert not resume.is_turn(before, later.clock())
    further = IncidentStatus(
        before.incident, tuple(replace(one, done=(*one.done, Step.PUSH)) for one in before.secrets)
    )
    resume.record_try(later, before, further)
    assert resume.is_turn(incident_store.load_status(later, site.incident), later.clock())


def test_while_a_credential_may_work_still_every_run_tries(lab: Lab) -> None:
    site = Site.of(lab, lab.alternating())
    incident = site.begin()
    incident_store.update_progress(site.workspace, incident, site.secret.path, lambda one: replace(one, done=()))
    assert tried_in_vain(site, hours=3) == [turn * 5.0 for turn in range(36)]
