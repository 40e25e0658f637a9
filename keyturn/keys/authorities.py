"""The authorities of the catalogue: what differs in the hub's PKI engines, and bringing it to what is declared."""

from collections.abc import Callable, Sequence
from typing import Final

from keyturn.catalogue.pki import wanted_authorities
from keyturn.core.errors import Contended, NotFound
from keyturn.core.ports.authorities import Issuer, PkiEngine, PkiStep, StepKind, WantedAuthority, plan_authority
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action

ROUNDS: Final = 5
"""The most looks at one authority: for what is configured and a new issuer, for that to be put in force, and one more
that finds nothing left; two spare.
"""
ACTION: Final = "pki"
"""What the ledger calls a step."""


def plan_pki(workspace: Workspace) -> list[PkiStep]:
    """Every step of all authorities, those first that sign others; nothing is changed. Raises what hinders a look."""
    return [step for wanted in wanted_authorities(workspace.catalogue.pki) for step in _steps(workspace, wanted)]


def apply_pki(workspace: Workspace, progress: Callable[[PkiStep], None]) -> list[PkiStep]:
    """Do what differs, one step after the other, and tell each that is done; what waits or is blocked is left.

    Each authority is looked at anew until nothing is left of it, so that what another run or a person does meanwhile is
    noticed. Raises what keeps a step from being done: a later run goes on from there.
    """
    every = wanted_authorities(workspace.catalogue.pki)
    return [left for wanted in every for left in apply_authority(workspace, wanted, progress)]


def apply_authority(
    workspace: Workspace, wanted: WantedAuthority, progress: Callable[[PkiStep], None]
) -> Sequence[PkiStep]:
    """The same for one authority."""
    for _ in range(ROUNDS):
        steps = _steps(workspace, wanted)
        if not (doing := [step for step in steps if step.does]):
            return steps
        for step in doing:
            with record_action(workspace, ACTION, place=step.place, note=f"{step.kind}: {step.why}"):
                _do(workspace, wanted, step)
            progress(step)
    raise Contended("apply", wanted.name, "somebody else changes it at the same time", "Find out who, then plan again")


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
        raise NotFound("put in force", f"{engine.mount}/{name}", "somebody has removed it meanwhile", "Plan again")
    return made[0]
