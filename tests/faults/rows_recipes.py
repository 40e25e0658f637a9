"""What happens to leases and to the keys of APIs behind Keyturn's back."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from deployments.local.prepare import LEASE, REVOKER
from keyturn.core.policy import Trigger
from keyturn.providers.registry import open_workspace
from keyturn.revocation import run
from keyturn.revocation.consent import Consent
from keyturn.revocation.incident import IncidentStatus, Mode
from keyturn.revocation.selector import Selection
from keyturn.rotation.context import Workspace
from keyturn.rotation.outcome import RunState
from keyturn.rotation.run import rotate
from tests.crash.site import Site
from tests.faults.doings import situation
from tests.support.engines import worker_hub
from tests.support.killed_hub import durable_server, kill_until_stale
from tests.support.lab import fresh
from tests.support.own_lab import own_lab


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
