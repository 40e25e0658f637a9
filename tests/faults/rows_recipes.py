"""What happens to leases and to the keys of APIs behind Keyturn's back."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from flows.support.duties import late_lease_tokens
from flows.support.starting import FINISHER, Wanted
from keyturn.core.errors import Invalid
from keyturn.core.overrides import Waive
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.revocation import run
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import IncidentStatus, Mode
from keyturn.revocation.preview import preview_revocation
from keyturn.revocation.selector import Selection
from keyturn.rotation.lease_tokens import end_left_tokens, may_be_left
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.registry import open_workspace
from local.prepare import LEASE, REVOKER
from tests.crash.kinds.apis import ApiKey
from tests.crash.site import Site
from tests.faults.doings import situation
from tests.faults.operators import opened
from tests.support.clock import Clock
from tests.support.engines import worker_hub
from tests.support.hooks import eventually
from tests.support.killed_hub import durable_server, kill_until_stale
from tests.support.lab import Declared, fresh
from tests.support.own_lab import own_lab
from tests.support.rest_api import Said


def revoked(workspace: Workspace, path: str) -> IncidentStatus:
    """An incident over one secret, carried as far as it goes."""
    impatient = replace(workspace, sleep=lambda seconds: None)
    begun = run.begin(
        impatient,
        Selection((path,)),
        incident=f"INC-{fresh()}",
        reason="leaked in a log",
        mode=Mode.REPLACE,
        selector=path,
        triggered_at=workspace.clock(),
        consent=Consent(1),
    )
    return run.finish(impatient, begun.id)


@situation("kill the hub while it ends tokens, then revoke a secret with a lease")
def killed_while_it_ends_tokens(_: Site) -> None:
    with TemporaryDirectory() as temporary, own_lab(Path(temporary), on_disk=True) as lab:
        kill_until_stale(durable_server(lab, Path(temporary)))
        secret = lab.dynamic()
        with worker_hub(lab, Path(temporary), LEASE, REVOKER) as hub:
            opened = lab.open(secret).workspace
            workspace = replace(opened, hub=hub, open_strategy=open_workspace(opened.catalogue, hub).open_strategy)
            assert rotate(workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
            leaked = lab.current(secret)
            assert not revoked(workspace, secret.path).open
        assert not lab.logs_in(leaked)
        assert not lab.logs_in(secret.first)
        assert lab.logs_in(lab.current(secret))
        assert len(lab.database.leases(secret.role)) == 1


@situation("put an API behind a proxy that answers deletions with 200 and its own page, then revoke")
def proxy_answers_for_the_api(site: Site) -> None:
    kind = ApiKey()
    kind.prepare(site)
    secret = kind.make(site)
    workspace = replace(opened(site, Clock(), secret), sleep=lambda seconds: None)
    leaked, page = SecretFields(secret.first), Said(200, b"<html>Please sign in</html>")
    kind.api.instead["DELETE"] = [page] * 20
    status = revoked(workspace, secret.path)
    assert status.open
    assert kind.works(site, leaked)
    kind.api.instead.clear()
    assert not run.finish(workspace, status.incident.id).open
    assert not kind.works(site, leaked)


@contextmanager
def with_leases(site: Site, *declared: Declared) -> Iterator[Workspace]:
    """A Keyturn with an emergency worker's login, which asks for leases by tokens."""
    with TemporaryDirectory() as temporary, worker_hub(site.lab, Path(temporary), LEASE, REVOKER) as hub:
        opened = site.lab.open(*declared).workspace
        yield replace(opened, hub=hub, open_strategy=open_workspace(opened.catalogue, hub).open_strategy)


def with_role(secret: Declared, role: str, **more: Any) -> Declared:
    """The same secret, whose leases are another role's."""
    rotation = {**secret.data["rotation"], "role": role, **more}
    return replace(secret, data={**secret.data, "rotation": rotation}, role=role)


def rotated(workspace: Workspace, secret: Declared) -> None:
    assert rotate(workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED


@situation("give a secret with leases another role of the engine, then rotate")
def role_renamed_and_rotated(site: Site) -> None:
    secret, other = site.lab.dynamic(), site.lab.dynamic()
    before = site.lab.current(secret)
    with with_leases(site, with_role(secret, other.role)) as workspace, pytest.raises(Invalid, match="former_roles"):
        rotate(workspace, secret.path, Trigger.FORCE)
    assert site.lab.logs_in(before)
    with with_leases(site, with_role(secret, other.role, former_roles=[secret.role])) as workspace:
        rotated(workspace, secret)
        retire(workspace, secret.path, Waive.EVERYTHING)
        assert not site.lab.logs_in(before)
        assert site.lab.logs_in(site.lab.current(secret))
        assert site.lab.database.leases(secret.role) == []


@situation("give a secret with leases another role of the engine, then revoke")
def role_renamed_and_revoked(site: Site) -> None:
    secret, other = site.lab.dynamic(), site.lab.dynamic()
    site.lab.database.revoke(other.first["lease_id"])
    with with_leases(site, secret) as workspace:
        rotated(workspace, secret)
        retire(workspace, secret.path, Waive.EVERYTHING)
    leaked = site.lab.current(secret)
    with with_leases(site, with_role(secret, other.role)) as workspace:
        status = revoked(workspace, secret.path)
        for _ in range(10):
            if not status.open:
                break
            time.sleep(1)  # the hub ends a token's leases after the token
            status = run.finish(workspace, status.incident.id)
        assert not status.open, status
        assert not site.lab.logs_in(leaked)
        assert site.lab.logs_in(site.lab.current(secret))
        assert site.lab.database.leases(secret.role) == []


@situation("resume a suspended worker, which asks for a lease after its rotation is over, and kill it")
def late_worker_dies_with_a_lease(site: Site) -> None:
    secret = site.lab.dynamic()
    with with_leases(site, secret) as workspace:
        rotated(workspace, secret)
        retire(workspace, secret.path, Waive.EVERYTHING)
        lease = workspace.hub.database("database").issue(secret.role, secret.path)
        assert site.lab.logs_in(lease.fields)
        days_later = replace(workspace, clock=lambda: datetime.now(UTC) + timedelta(days=3))
        assert not may_be_left(days_later, days_later.clock() - timedelta(hours=3))
        assert asyncio.run(late_lease_tokens(days_later)) == [Wanted(FINISHER)]
        assert end_left_tokens(days_later) == {secret.path: [lease.accessor]}
        assert eventually(lambda: not site.lab.logs_in(lease.fields), 30)
        assert site.lab.logs_in(site.lab.current(secret))


@situation("let a job take a lease of the secret's role, then preview a revocation")
def preview_beside_a_jobs_lease(site: Site) -> None:
    secret = site.lab.dynamic()
    with with_leases(site, secret) as workspace:
        rotated(workspace, secret)
        retire(workspace, secret.path, Waive.EVERYTHING)
        job = site.lab.database.issue(secret.role)
        (preview,) = preview_revocation(workspace, Selection((secret.path,)), Mode.REPLACE).secrets
        assert [name for name in preview.names if job.lease_id in name] == [f"{job.lease_id}, which no version holds"]
        assert site.lab.logs_in(job.fields)
        assert not revoked(workspace, secret.path).open
        assert not site.lab.logs_in(job.fields)
