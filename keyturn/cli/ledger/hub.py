"""``keyturn ledger verify --against-hub``: what is in the hub and in no entry, and the reverse."""

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from keyturn.cli.environment import opened_workspace
from keyturn.cli.output import note
from keyturn.core.errors import KeyturnError

if TYPE_CHECKING:
    from keyturn.core.issued_tokens import IssuedToken
    from keyturn.ledger.ports import LedgerSource
    from keyturn.ledger.verify import Problem
    from keyturn.rotation.state.context import Workspace

WAITING_HINT = "keep-ledger appends them within 15 minutes, where the ledger takes entries"
UNSEEN_HINT = "Use a login that may read it: nothing is known of it, and nothing is said to be in order"


def differences(source: "LedgerSource", catalogue: Path | None, now: datetime) -> "list[Problem]":
    """All differences, and what could not be checked. Raises the errors of opening the hub."""
    from keyturn.ledger.against_hub import HubToCompare, compare_with_hub
    from keyturn.ledger.naming import read_name
    from keyturn.ledger.storage.waiting import waiting_in_hub
    from keyturn.ledger.verify import Problem
    from keyturn.revocation.incidents.store import list_incidents

    with opened_workspace(catalogue) as workspace:
        name, _ = read_name(workspace.hub)
        ledgers = [name.origin, *(earlier.origin for earlier in name.before)] if name else []
        by_hand = [path for path, secret in workspace.catalogue.secrets.items() if secret.rotation.strategy == "manual"]
        paths = list(workspace.catalogue.secrets)
        incidents = list_incidents(workspace)
        opened = {incident.id: incident.opened_at for incident in incidents if not incident.unread}
        tokens, unlisted = issued_tokens(workspace)
        there = HubToCompare(
            workspace.hub, paths, workspace.fingerprint, ledgers, now, by_hand, opened=opened, tokens=tokens
        )
        comparison = compare_with_hub(source, there)
        waiting = Counter(place.split("/")[1] for place in waiting_in_hub(workspace.hub))
    unread = [f"the incident {incident.id}: {incident.unread}" for incident in incidents if incident.unread]
    hidden = (*comparison.unseen, *unread, *unlisted)
    unseen = [Problem(f"could not look at {text}", hint=UNSEEN_HINT) for text in hidden]
    late = [
        Problem(f"{count} events of {incident} wait in the hub, and are not in the ledger yet", hint=WAITING_HINT)
        for incident, count in waiting.items()
    ]
    if not comparison.problems and not unseen and not late:
        note(f"held against the hub: {comparison.secrets} secrets, and nothing was done without an entry")
    return [*comparison.problems, *late, *unseen]


def issued_tokens(workspace: "Workspace") -> "tuple[list[IssuedToken], list[str]]":
    """The issued tokens of the credential roles, and the roles whose tokens could not be listed, with the reason."""
    from keyturn.cli.setup.policy import hub_scope
    from keyturn.doctor.token_roles import roles_of

    tokens, unlisted = list["IssuedToken"](), list[str]()
    for role in roles_of(workspace.catalogue, hub_scope(workspace.catalogue, [], []), "worker"):
        try:
            tokens += workspace.hub.issued_tokens(role.name)
        except KeyturnError as error:
            unlisted.append(f"the tokens of {role.name}: {error.problem}")
    return tokens, unlisted
