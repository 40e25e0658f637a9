"""For two hubs: whether both agree on the writable one, and are the right ones."""

from collections.abc import Iterator
from typing import Final

from keyturn.core.errors import Invalid, KeyturnError
from keyturn.core.ports.failover import EPOCH, read_epoch
from keyturn.core.ports.hub import Hub
from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Grade, unseen
from keyturn.recovery.failover import Pair, Side, pair_of, split, standing

AREA: Final = "failover"
VARIABLES: Final = "KEYTURN_HUB_NAME, KEYTURN_PEER_NAME and KEYTURN_PEER_ADDR"


def check_two_hubs(patient: Patient) -> Iterator[CheckResult]:
    """Check a pair of hubs; nothing where only one is known."""
    hub = patient.workspace.hub
    if hub.peer is None:
        yield from _unfenced(hub)
        return
    pair = pair_of(hub, hub.peer)
    mine, theirs = pair.look()
    if theirs.error:
        yield unseen(AREA, pair.other, theirs.error)
    else:
        yield _apart(pair)
    yield from _names(pair, mine, theirs)
    yield _written(mine, theirs)


def _unfenced(hub: Hub) -> Iterator[CheckResult]:
    """Report a pair's hub without a peer here: such a process writes without a fence."""
    try:
        epoch = read_epoch(hub.read_state(EPOCH))
    except ValueError as error:
        epoch_error = Invalid("read", EPOCH, str(error), "Use the newest Keyturn that works with this hub")
        yield unseen(AREA, "the other hub", epoch_error)
        return
    if epoch is None:
        return
    addresses = ", ".join(f"{name} at {address}" for name, address in sorted(epoch.addresses.items()))
    words = (
        f"the hub is one of two, and {epoch.writable} is written since epoch {epoch.number}; the environment here names"
        " one alone, so what this process writes is not stopped where the other one has taken over"
    )
    last = f": the last hand-over knew {addresses}" if addresses else ""
    remedy = f"Set {VARIABLES}, as all other processes have them{last}"
    yield CheckResult(AREA, "the other hub", Grade.FAILED, words, remedy)


def _apart(pair: Pair) -> CheckResult:
    """Check that the addresses are two different hubs, because otherwise no hand-over works."""
    try:
        same_hub = pair.leads_to_one()
    except KeyturnError as error:
        return unseen(AREA, pair.other, error)
    if same_hub:
        words = f"the addresses of {pair.own} and {pair.other} reach the same hub: there is nothing to fence"
        return CheckResult(AREA, pair.other, Grade.FAILED, words, "Correct KEYTURN_PEER_ADDR on every side")
    if same_hub is None:
        words = (
            f"{pair.own} and {pair.other} are the same cluster by its id, as where one was made from the other's"
            " snapshot, and this login may not try whether they are one hub"
        )
        return CheckResult(AREA, pair.other, Grade.ADVICE, words, "Run `keyturn failover status` as an administrator")
    return CheckResult(AREA, pair.other, Grade.WELL, "it can be asked, and is another hub")


def _names(pair: Pair, mine: Side, theirs: Side) -> Iterator[CheckResult]:
    """Check that the hubs' entries match the environment."""
    name = "names"
    named = {side.epoch.writable for side in (mine, theirs) if side.epoch} - {pair.own, pair.other}
    if named:
        words = f"{', '.join(sorted(named))} is written by their word, and the environment has {pair.own}, {pair.other}"
        yield CheckResult(AREA, name, Grade.FAILED, words, "Correct KEYTURN_HUB_NAME and KEYTURN_PEER_NAME")
    if mine.epoch and theirs.epoch is None and theirs.error is None:
        words = f"{pair.other} says nothing of two hubs: it is empty, or KEYTURN_PEER_ADDR points to a third one"
        yield CheckResult(AREA, name, Grade.ADVICE, words, "Restore a backup into it; see that its address is right")
    address = pair.addresses.get(pair.other, "").rstrip("/")
    recorded = mine.epoch.addresses.get(pair.other, "").rstrip("/") if mine.epoch else ""
    if recorded and address and recorded != address:
        words = f"{pair.other} is at {address} by the environment, and was at {recorded} when it was last handed over"
        yield CheckResult(AREA, name, Grade.ADVICE, words, "Check that both name the same server")


def _written(mine: Side, theirs: Side) -> CheckResult:
    """Report the writable hub. A standby is reported as advice."""
    name, epoch, other = "epoch", mine.epoch, theirs.epoch
    promote = "Decide which one it is, and run there: keyturn failover promote"
    if split(mine, theirs) and epoch and other:
        words = f"{mine.name} names itself in epoch {epoch.number}, and {theirs.name} itself in {other.number}"
        remedy = "Decide which one it is, and run on the other: keyturn failover demote"
        return CheckResult(AREA, name, Grade.FAILED, f"the two disagree: {words}", remedy)
    why = standing(mine, theirs)
    if not why and epoch:
        words = f"{mine.name} is written since epoch {epoch.number}"
        return CheckResult(AREA, name, Grade.WELL, words)
    if epoch is None or (other and other.number == epoch.number and other.writable != epoch.writable):
        return CheckResult(AREA, name, Grade.FAILED, f"neither is written: {why}", promote)
    return CheckResult(AREA, name, Grade.ADVICE, f"it is not written: {why}", f"Work at {theirs.name}")
