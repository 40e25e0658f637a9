"""What happens to leases and to the keys of APIs behind Keyturn's back."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from deployments.local.prepare import LEASE, REVOKER
from keyturn.core.policy import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.providers.registry import open_workspace
from keyturn.revocation import run
from keyturn.revocation.consent import Consent
from keyturn.revocation.incident import IncidentStatus, Mode
from keyturn.revocation.selector import Selection
from keyturn.rotation.context import Workspace
from keyturn.rotation.outcome import RunState
from keyturn.rotation.run import rotate
from tests.crash.kinds.apis import ApiKey
from tests.crash.site import Site
from tests.faults.doings import situation
from tests.faults.operators import opened
from tests.support.clock import Clock
from tests.support.engines import worker_hub
from tests.support.killed_hub import durable_server, kill_until_stale
from tests.support.lab import fresh
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


@situation("kills the hub while it ends tokens, and then revokes a secret that holds a lease")
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


@situation("puts a proxy before an API, which answers a deletion with 200 and its own page, and revokes")
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
