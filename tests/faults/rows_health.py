"""Rows of the operators' table: clocks, and a target that moved."""

from dataclasses import replace
from datetime import UTC, datetime

from keyturn.cli.secrets.due import prospects
from keyturn.cli.secrets.secret_status import statuses_without_copies
from keyturn.core.errors import Invalid
from keyturn.core.schedule.due import Trigger
from keyturn.rotation.run import rotate
from keyturn.rotation.state.record_store import load_record, save
from tests.crash.site import Site
from tests.faults.doings import situation
from tests.strategies.revoking import revoked

FAR = datetime(9999, 12, 31, tzinfo=UTC)


@situation("write a rotation record with a clock at the year 9999")
def record_from_the_year_9999(site: Site) -> None:
    lab = site.lab
    odd, other = lab.alternating(grace="1h"), lab.alternating()
    workspace = lab.open(odd, other).workspace
    rotate(workspace, odd.path, Trigger.FORCE)
    record = load_record(workspace, odd.path)
    assert record.rotation
    save(workspace, odd.path, record, replace(record.rotation, in_force_at=FAR, grace_from=FAR))
    outcomes = statuses_without_copies(workspace)
    assert not isinstance(outcomes[other.path], Exception)
    assert isinstance(outcomes[odd.path], Invalid)
    assert "the year 9999" in str(outcomes[odd.path])
    errors = {row.path: row.error for row in prospects(workspace, [odd.path, other.path])}
    assert errors[other.path] == ""
    assert f"rotations/{odd.path}" in errors[odd.path]
    leaked = lab.current(odd)
    revoked(replace(workspace, sleep=lambda seconds: None), odd.path)
    assert not lab.logs_in(leaked), "bookkeeping holds up no revocation"
    assert lab.logs_in(lab.current(odd))
