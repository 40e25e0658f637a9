"""How safely Secret Manager stores copies: locations, encryption keys, and public access.

Sources: "Replication", "IAMPolicy" and "Quotas and limits" in the documentation of Secret Manager.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from keyturn.core.errors import Denied, NotFound
from keyturn.core.rights.posture import MOST_COPIES, Posture, Safety, copies_named, could_not_look

SEE_POLICY: Final = "secretmanager.secrets.getIamPolicy"
ANYBODY: Final = frozenset({"allUsers", "allAuthenticatedUsers"})


def secret_manager_posture(
    secrets: Iterable[Any], remotes: Sequence[str], policy_of: Callable[[str], Any], location: str | None
) -> Iterator[Posture]:
    """``secrets`` are raw listed messages, ``policy_of`` returns a copy's IAM policy. Raises Unavailable."""
    ours = frozenset(remotes)
    mine = [(name, secret) for secret in secrets if (name := secret.name.rpartition("/")[2]) in ours]
    yield _replication(mine, location)
    yield _policies([name for name, _ in mine][:MOST_COPIES], policy_of)


def _replication(mine: Sequence[tuple[str, Any]], location: str | None) -> Posture:
    what = "replication"
    if location:
        return Posture(what, Safety.SOUND, f"regional secrets: in {location} alone, as the catalogue says")
    single = [name for name, secret in mine if len(secret.replication.user_managed.replicas) == 1]
    if single:
        remedy = "Name several locations in replication for new copies; Google changes it for none that is there"
        return Posture(what, Safety.WEAK, f"in one location alone: {copies_named(single)}", remedy)
    return Posture(what, Safety.SOUND, f"{len(mine)} secrets in several locations, which Google keeps in step")


def _policies(names: Sequence[str], policy_of: Callable[[str], Any]) -> Posture:
    what, public, count = "access by anybody", list[str](), 0
    for name in names:
        try:
            policy = policy_of(name)
        except Denied:
            return could_not_look(what, SEE_POLICY)
        except NotFound:
            continue
        count += 1
        if any(ANYBODY & set(binding.members) for binding in policy.bindings):
            public.append(name)
    if public:
        remedy = "Remove allUsers and allAuthenticatedUsers: `gcloud secrets remove-iam-policy-binding`"
        return Posture(what, Safety.BROKEN, f"anybody is let in to {copies_named(public)}", remedy)
    return Posture(what, Safety.SOUND, f"none of {count} secrets lets anybody in by itself")
