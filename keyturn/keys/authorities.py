"""Compare the hub's PKI engines with the catalogue's authorities, and apply the difference."""

from collections.abc import Callable, Sequence
from typing import Final

from keyturn.catalogue.pki import wanted_authorities
from keyturn.core.errors import Contended, NotFound
from keyturn.core.ports.authorities import Issuer, PkiEngine, PkiStep, StepKind, WantedAuthority, plan_authority
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action

ROUNDS: Final = 5
"""Maximum looks at one authority: issuer, promotion, a clean one, and two spare."""
ACTION: Final = "pki"
"""The name of a step in the ledger."""


def plan_pki(workspace: Workspace) -> list[PkiStep]:
    """The steps of all authorities, signers first."""
    return [step for wanted in wanted_authorities(workspace.catalogue.pki) for step in _steps(workspace, wanted)]


def apply_pki(workspace: Workspace, progress: Callable[[PkiStep], None]) -> list[PkiStep]:
    """Apply the steps in order and report each. Returns the waiting and blocked ones.

    Reads each authority until no step is left, to notice concurrent changes.
    """
    every = wanted_authorities(workspace.catalogue.pki)
    return [left for wanted in every for left in apply_authority(workspace, wanted, progress)]


def apply_authority(
    workspace: Workspace, wanted: WantedAuthority, progress: Callable[[PkiStep], None]
) -> Sequence[PkiStep]:
    """Apply the steps of one authority."""
    for _ in range(ROUNDS):
        steps = _steps(workspace, wanted)
        if not (doing := [step for step in steps if step.does]):
            return steps
        for step in doing:
            with record_action(workspace, ACTION, place=step.place, note=f"{step.kind}: {step.why}"):
                _do(workspace, wanted, step)
            progress(step)
    raise Contended("apply", wanted.name, "something else changes it at the same time", "Find out who, then plan again")


def _steps(workspace: Workspace, wanted: WantedAuthority) -> list[PkiStep]:
    state = workspace.hub.pki(wanted.mount).look(tuple(wanted.configured))
    signer = _signer(workspace, wanted)
    return plan_authority(wanted, state, signer.look(()) if signer else None, workspace.hub_now())


def _signer(workspace: Workspace, wanted: WantedAuthority) -> PkiEngine | None:
    return workspace.hub.pki(workspace.catalogue.pki[wanted.signer].mount) if wanted.signer else None


def _do(workspace: Workspace, wanted: WantedAuthority, step: PkiStep) -> None:
    engine = workspace.hub.pki(wanted.mount)
    name = step.place.removeprefix(f"{wanted.mount}/")
    if step.kind is StepKind.CONFIGURE:
        engine.configure(name, wanted.configured[name])
    elif step.kind is StepKind.PROMOTE:
        engine.promote(_named(engine, name))
    elif signer := _signer(workspace, wanted):
        engine.install(name, signer.sign(engine.request(name, wanted), wanted))
    else:
        engine.make_root(name, wanted)


def _named(engine: PkiEngine, name: str) -> Issuer:
    state = engine.look(())
    made = [issuer for issuer in state.issuers if issuer.key_name == name] if state else []
    if not made:
        raise NotFound("put in force", f"{engine.mount}/{name}", "it was removed in the meantime", "Plan again")
    return made[0]
