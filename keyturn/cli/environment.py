"""The hub, catalogue and Prefect server of a command: those of the environment, or the local stack's."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keyturn.cli.failures import say_last
from keyturn.cli.local_stack import FOREIGN, LocalStack, load_local
from keyturn.cli.output import note, note_error
from keyturn.core.clocks import clock_warning
from keyturn.core.errors import Denied, Invalid, KeyturnError, Unavailable
from keyturn.core.workspaces import CATALOGUE_VARIABLE

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue, Problem
    from keyturn.core.ports.hub import Hub
    from keyturn.core.ports.ledger import Entry
    from keyturn.ledger.storage.spool import Spooled
    from keyturn.providers.vault.hub import VaultHub
    from keyturn.rotation.state.context import Workspace
    from keyturn.settings.hub import HubSettings

Tell = Callable[[str], None]

HOME_VARIABLE: Final = "KEYTURN_HOME"
DEFAULT_HOME: Final = ".keyturn"
DEFAULT_CATALOGUE: Final = Path("deployments/catalogue")


def stack_in_use(*, revoking: bool = False, signing: bool = False, tell: Tell = note) -> LocalStack | None:
    """Set the local stack's environment and report it, if the stack runs and VAULT_ADDR is not set.

    The login is the worker's, or the revoker's, which may do more, or the notary's, which may sign.
    """
    if os.environ.get("VAULT_ADDR"):
        return None
    stack = known_stack()
    if stack is None or stack.hub.process.pid is None:
        return None
    variables = stack_environment(stack, revoking=revoking, signing=signing)
    for name in leading_elsewhere():
        del os.environ[name]
    os.environ.update(variables)
    tell(f"using the local stack in {stack.home}: hub {stack.hub.address}")
    return stack


def home_directory() -> Path:
    """Return KEYTURN_HOME, or ``.keyturn`` in the current directory."""
    return Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME).absolute()


def known_stack() -> LocalStack | None:
    home = home_directory()
    if not (home / "stack.json").exists():
        return None
    stack: LocalStack = load_local("home").opened(home)
    return stack


def stack_environment(stack: LocalStack, *, revoking: bool = False, signing: bool = False) -> dict[str, str]:
    settle_catalogue(None)
    login = "revoker" if revoking else "notary" if signing else "worker"
    variables: dict[str, str] = getattr(load_local("environment"), login)(stack)
    return variables


def settle_catalogue(directory: Path | None) -> None:
    """Set KEYTURN_CATALOGUE to the given catalogue, or else to the one here. The stack also has an example."""
    if directory is None and CATALOGUE_VARIABLE in os.environ:
        directory = Path(os.environ[CATALOGUE_VARIABLE])
    if directory is None and DEFAULT_CATALOGUE.is_dir():
        directory = DEFAULT_CATALOGUE
    if directory is not None:
        os.environ[CATALOGUE_VARIABLE] = str(directory.absolute())


def leading_elsewhere() -> list[str]:
    own = tuple(name for name in os.environ if name.startswith("KEYTURN_") and not name.startswith("KEYTURN_HUB_"))
    return sorted(name for name in os.environ if name.startswith(FOREIGN) and name not in own)


def insist_on_hub(*, revoking: bool = False, signing: bool = False, tell: Tell = note) -> None:
    """Report the hub in use: that of VAULT_ADDR, or the local stack's. Raises Unavailable or Invalid."""
    if stack_in_use(revoking=revoking, signing=signing, tell=tell) is not None:
        return None
    if address := os.environ.get("VAULT_ADDR"):
        return tell(f"using the hub {address}")
    if stopped := known_stack():
        problem = f"the local stack in {stopped.home} does not run"
        raise Unavailable("find", "the hub", problem, "Run `keyturn up`, or set VAULT_ADDR to another hub")
    remedy = "Set it to the hub's address, or start a local stack with `keyturn up`"
    raise Invalid("find", "the hub", "VAULT_ADDR is not set, and there is no local stack", remedy)


def catalogue_directory(directory: Path | None) -> Path:
    """Return the given catalogue, or else the one here. Raises Invalid."""
    if directory is None and (named := os.environ.get(CATALOGUE_VARIABLE)):
        return Path(named)
    if directory is not None or DEFAULT_CATALOGUE.is_dir():
        return directory or DEFAULT_CATALOGUE
    remedy = f"Give --catalogue DIR, or set {CATALOGUE_VARIABLE}"
    raise Invalid("find", "the catalogue", f"there is no directory {DEFAULT_CATALOGUE} here", remedy)


def load_catalogue(directory: Path | None, *, despite_policy: bool = False, lenient: bool = False) -> "Catalogue":
    """Load and check the catalogue. Raises Invalid.

    ``despite_policy`` accepts what the operator's policy refuses. ``lenient`` leaves out broken parts and reports
    them.
    """
    from keyturn.catalogue import load_catalogue as load

    loaded = load(catalogue_directory(directory), os.environ, despite_policy=despite_policy, lenient=lenient)
    if loaded.left_out:
        note_left_out(loaded.left_out)
    return loaded


def note_left_out(left_out: "Sequence[Problem]") -> None:
    from keyturn.catalogue.files.problems import SHOWN

    more = [f"and {len(left_out) - SHOWN:,} more: run `keyturn catalogue validate`"] if len(left_out) > SHOWN else []
    lines = [f"THE CATALOGUE IS BROKEN ({len(left_out):,}). Continuing without:", *map(str, left_out[:SHOWN]), *more]
    note("\n  ".join(lines))


@contextmanager
def opened_workspace(
    catalogue: Path | None,
    *,
    revoking: bool = False,
    signing: bool = False,
    despite_policy: bool = False,
    lenient: bool = False,
    looking: bool = False,
) -> Iterator["Workspace"]:
    """Open everything that a rotation needs, in this process.

    ``revoking`` uses the revoker's login and does not wait for an unwritable ledger; ``signing`` uses the notary's.
    ``lenient`` leaves out broken parts of the catalogue. With ``looking`` an auditor's login suffices.
    """
    lines: list[str] = []
    insist_on_hub(revoking=revoking, signing=signing, tell=lines.append if revoking else note)
    declared = None if revoking else load_catalogue(catalogue, despite_policy=despite_policy, lenient=lenient)

    from keyturn.providers.opentelemetry.opening import told_in_spans
    from keyturn.settings.hub import HubSettings
    from keyturn.wiring.registry import open_workspace

    settings = HubSettings.from_environment()
    if revoking and settings.failover:
        settings = replace(settings, failover=settings.failover.without_lease())
    with connected_hub(settings) as hub:
        ledger = spooled(hub) if revoking else None
        auditor = naming_auditor(hub) if looking else nullcontext()
        with auditor, unrecorded_said(ledger, hub, lines), told_in_spans(os.environ, note):
            declared = declared or load_catalogue(catalogue, despite_policy=despite_policy, lenient=lenient)
            yield open_workspace(declared, hub, ledger)


@contextmanager
def naming_auditor(hub: "VaultHub") -> Iterator[None]:
    """Suggest the auditor's login if the hub denies the current one reading rotation records."""
    from keyturn.core.ports.hub import Right
    from keyturn.core.rights.rights import PROBE
    from keyturn.rotation.candidates import ROTATIONS

    try:
        yield
    except Denied as error:
        record = Right("read", f"{hub.state_mount}/data/{ROTATIONS}/{PROBE}")
        with suppress(Denied):  # some logins may not ask what they may do
            if not hub.missing_capabilities([record]):
                raise
        hint = (
            "This login may not look at rotations. Use one with the policy keyturn-auditor, or a worker's. If the "
            "catalogue has changed, an administrator runs `keyturn setup hub --apply` first"
        )
        raise Denied(error.doing, error.name, error.problem, hint) from None


@contextmanager
def connected_hub(settings: "HubSettings") -> Iterator["VaultHub"]:
    """Open the hub of these settings. On exit, warn if its clock and this machine's differ."""
    from keyturn.providers.vault.hub import VaultHub

    hub = VaultHub(settings)
    try:
        yield hub
    finally:
        hub.close()
        if warning := clock_warning(hub.clock_ahead()):
            note_error(warning)


@contextmanager
def unrecorded_said(ledger: "Spooled | None", hub: "Hub", lines: list[str]) -> Iterator[None]:
    if ledger and (why := why_unrecorded(ledger, hub)):
        note_error(f"NOT RECORDED: {why}. What is done is kept in the hub until a process can write it to the ledger")
    for line in lines:
        note(line)
    try:
        yield
    finally:
        if ledger and (why := why_waiting(ledger)):
            say_last(f"NOT RECORDED: {why}. The entries are kept in the hub, and keep-ledger writes them to the ledger")


def why_unrecorded(ledger: "Spooled", hub: "Hub") -> str:
    """Return why the ledger accepts no entries. Empty if it does, or if the hub can't be asked."""
    from keyturn.ledger.naming import read_name

    try:
        read_name(hub)
    except KeyturnError:
        return ""
    return ledger.why_refused()


def why_waiting(ledger: "Spooled") -> str:
    """Write the waiting entries again. Return why any still wait, or an empty string."""
    if not ledger.waits:
        return ""
    try:
        ledger.drain()
    except KeyturnError as error:
        return str(error)
    return ""


def spooled(hub: "Hub") -> "Spooled":
    """Open a ledger that queues what it does not accept. Entries that cannot be kept are reported."""
    from keyturn.wiring.ledger import spooled_ledger

    def lost(entries: "Sequence[Entry]", why: str) -> None:
        actions = ", ".join(dict.fromkeys(entry.action for entry in entries))
        note_error(f"LOST, neither in the ledger nor in the hub nor on this disk: {actions or 'torn lines'}: {why}")

    return spooled_ledger(os.environ, hub, lost)
