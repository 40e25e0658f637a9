"""Rights for a store in Google Cloud: permissions, custom roles and conditions.

Listing and creating are project-wide; rights on a secret are bound under a condition on its name. Sources: "Access
control with IAM" of Secret Manager, "Attribute reference for IAM Conditions", "IAM quotas and limits" (12 logical
operators in a condition, 20 conditions for one role and account).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from keyturn.core.rights.hcl import comment
from keyturn.core.rights.rights import ANYTHING, AccountRights, CopyRights, Document

NAMES: Final = 6
"""Names per condition: each takes two terms, and 12 operators join 13."""
CONDITIONS: Final = 20
"""Conditions per role and account."""


@dataclass(frozen=True)
class GcpScope:
    """The secrets' location, and the treatment of old versions: keep, disable or destroy."""

    location: str = ""
    old_versions: str = "disable"

    @property
    def collection(self) -> str:
        """The resource name between the project and the secret's name."""
        return f"/locations/{self.location}/secrets/" if self.location else "/secrets/"


def on_project(copies: CopyRights) -> tuple[str, ...]:
    """The permissions that no condition on a name can grant."""
    departed = ("secrets.delete",) if copies.departed else ()
    return _permissions("secrets.create", "secrets.list", *departed) if copies.names else ()


def on_copies(scope: GcpScope, copies: CopyRights) -> tuple[str, ...]:
    """The everyday permissions on each copy."""
    listed = ("versions.list",) if scope.old_versions != "keep" or copies.merges else ()
    disabled = ("versions.disable",) if scope.old_versions != "keep" else ()
    destroyed = ("versions.destroy",) if scope.old_versions == "destroy" else ()
    deleted = ("secrets.delete",) if copies.deletes and not copies.departed else ()
    daily = ("secrets.get", "secrets.update", "versions.access", "versions.add", "versions.get")
    return _permissions(*daily, *listed, *disabled, *destroyed, *deleted) if copies.names else ()


def in_emergencies(scope: GcpScope, copies: CopyRights) -> tuple[str, ...]:
    """The additional permissions that revocation requires on each copy."""
    daily = {*on_copies(scope, copies), *on_project(copies)}
    needed = _permissions("secrets.delete", "versions.destroy", "versions.list") if copies.names else ()
    return tuple(permission for permission in needed if permission not in daily)


def conditions(scope: GcpScope, copies: CopyRights) -> tuple[str, ...]:
    """The conditions for permissions on copies; none if any name is allowed."""
    if ANYTHING in copies.names:
        return ()
    terms = [_terms(scope, name) for name in copies.names]
    return tuple(" || ".join(terms[start : start + NAMES]) for start in range(0, len(terms), NAMES))


def role_files(scope: GcpScope, copies: CopyRights) -> Iterator[Document]:
    """Yield the roles and the conditions, each in a file for gcloud."""
    bound = conditions(scope, copies)
    for part, about, permissions in (
        ("-project", "lists and creates secrets, which no condition narrows: bind it without one.", on_project(copies)),
        ("", "writes and compares its copies." + _under(copies.file, bound), on_copies(scope, copies)),
        (
            "-revoker",
            "removes copies and their versions in emergencies. Bind it as the everyday "
            "role, only to the identity that revokes, which has both.",
            in_emergencies(scope, copies),
        ),
    ):
        if permissions:
            yield Document(f"{copies.file}{part}.yaml", _role(about, permissions, copies.origin))
    for number, expression in enumerate(bound, 1):
        yield Document(f"{_condition_file(copies.file, number)}", _condition(number, expression, copies.origin))


def key_role(project: str, accounts: AccountRights) -> Iterator[Document]:
    """The roles that create and end the accounts' keys and read their use; none without accounts."""
    if not accounts.names:
        return
    bound = f"Bind it on each of these service accounts, and not on the project {project}: {', '.join(accounts.names)}."
    use = (
        "shows whether an old key is still in use. Bind it on the project "
        f"{project}; without it nothing is known of use."
    )
    for part, about, permissions in (
        ("", f"makes and ends keys. {bound}", ON_ACCOUNT),
        ("-project", use, ("monitoring.timeSeries.list",)),
    ):
        yield Document(f"{accounts.file}{part}.yaml", _role(about, permissions, accounts.origin, "Keyturn keys"))


ON_ACCOUNT: Final = (
    "iam.serviceAccountKeys.create",
    "iam.serviceAccountKeys.delete",
    "iam.serviceAccountKeys.disable",
    "iam.serviceAccountKeys.get",
    "iam.serviceAccountKeys.list",
    "iam.serviceAccounts.get",
)
"""Permissions on a service account whose keys are rotated; revocation requires the same."""


def notice_role(topic: str, file: str, origin: str) -> Iterator[Document]:
    """Yield the role that only publishes notices to a topic."""
    about = f"notifies a consumer. Bind it on {topic}, and not on the project."
    yield Document(f"{file}.yaml", _role(about, ("pubsub.topics.publish",), origin, "Keyturn notices"))


def _under(file: str, bound: Sequence[str]) -> str:
    if not bound:
        return ""
    last = f" to {_condition_file(file, len(bound))}" if len(bound) > 1 else ""
    many = f" A role takes {CONDITIONS} of them: make it again under another id." if len(bound) > CONDITIONS else ""
    return f" Bind it under the condition in {_condition_file(file, 1)}{last}.{many}"


def _condition_file(file: str, number: int) -> str:
    return f"{file}-condition-{number}.yaml"


def _terms(scope: GcpScope, name: str) -> str:
    """The term that matches this secret and its versions, or the text before a wildcard."""
    beginning, wildcard, _ = name.partition(ANYTHING)
    if wildcard:
        rest = json.dumps(f"{scope.collection}{{rest}}")
        return f"resource.name.extract({rest}).startsWith({json.dumps(beginning)})"
    versions = json.dumps(f"{scope.collection}{{name}}/versions/")
    own = f"resource.name.endsWith({json.dumps(scope.collection + name)})"
    return f"{own} || resource.name.extract({versions}) == {json.dumps(name)}"


def _role(about: str, permissions: Sequence[str], origin: str, title: str = "Keyturn copies") -> str:
    """Return a custom role for ``gcloud iam roles create --file``."""
    listed = "".join(f"- {permission}\n" for permission in permissions)
    head = "\n".join((comment(f"A role of Keyturn's that {about}"), comment(origin), ""))
    return f"{head}title: {title}\nstage: GA\nincludedPermissions:\n{listed}"


def _condition(number: int, expression: str, origin: str) -> str:
    """Return a condition for ``gcloud projects add-iam-policy-binding --condition-from-file``."""
    return f"{comment(origin)}\ntitle: keyturn-copies-{number}\nexpression: {json.dumps(expression)}\n"


def _permissions(*names: str) -> tuple[str, ...]:
    return tuple(sorted(f"secretmanager.{name}" for name in names))
