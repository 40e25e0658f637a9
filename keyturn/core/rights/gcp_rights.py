"""What a store in Google Cloud needs: permissions, and the custom roles and conditions that say them.

What is about the whole project, listing and creating, can't be narrowed to names; what is about one secret is bound
under a condition on its name. Sources: "Access control with IAM" of Secret Manager, "Attribute reference for IAM
Conditions", "IAM quotas and limits" (12 logical operators in a condition, 20 conditions for one role and account).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from keyturn.core.rights.hcl import comment
from keyturn.core.rights.rights import ANYTHING, AccountRights, CopyRights, Document

NAMES: Final = 6
"""So many names stand in one condition: each takes two terms, and 12 operators join 13."""
CONDITIONS: Final = 20
"""So many conditions one role takes for one account."""


@dataclass(frozen=True)
class GcpScope:
    """Where the secrets are, and what becomes of their old versions: keep, disable or destroy."""

    location: str = ""
    old_versions: str = "disable"

    @property
    def collection(self) -> str:
        """What stands before a secret's name in the name of its resource, after the project."""
        return f"/locations/{self.location}/secrets/" if self.location else "/secrets/"


def on_project(copies: CopyRights) -> tuple[str, ...]:
    """The permissions that no condition on a name can hold."""
    departed = ("secrets.delete",) if copies.departed else ()
    return _permissions("secrets.create", "secrets.list", *departed) if copies.names else ()


def on_copies(scope: GcpScope, copies: CopyRights) -> tuple[str, ...]:
    """The permissions on each copy, every day."""
    listed = ("versions.list",) if scope.old_versions != "keep" or copies.merges else ()
    disabled = ("versions.disable",) if scope.old_versions != "keep" else ()
    destroyed = ("versions.destroy",) if scope.old_versions == "destroy" else ()
    deleted = ("secrets.delete",) if copies.deletes and not copies.departed else ()
    daily = ("secrets.get", "secrets.update", "versions.access", "versions.add", "versions.get")
    return _permissions(*daily, *listed, *disabled, *destroyed, *deleted) if copies.names else ()


def in_emergencies(scope: GcpScope, copies: CopyRights) -> tuple[str, ...]:
    """The permissions on each copy that whoever revokes needs besides."""
    daily = {*on_copies(scope, copies), *on_project(copies)}
    needed = _permissions("secrets.delete", "versions.destroy", "versions.list") if copies.names else ()
    return tuple(permission for permission in needed if permission not in daily)


def conditions(scope: GcpScope, copies: CopyRights) -> tuple[str, ...]:
    """The conditions under which the permissions on copies are bound; none where these may have any name."""
    if ANYTHING in copies.names:
        return ()
    terms = [_terms(scope, name) for name in copies.names]
    return tuple(" || ".join(terms[start : start + NAMES]) for start in range(0, len(terms), NAMES))


def role_files(scope: GcpScope, copies: CopyRights) -> Iterator[Document]:
    """The roles and the conditions, each in a file as gcloud takes it."""
    bound = conditions(scope, copies)
    for part, about, permissions in (
        ("-project", "lists and creates secrets, which no condition narrows: bind it without one.", on_project(copies)),
        ("", "writes and compares its copies." + _under(copies.file, bound), on_copies(scope, copies)),
        (
            "-revoker",
            "takes copies and their versions away in emergencies. Bind it as the role for every day, and to nobody"
            " but whoever revokes, who has both.",
            in_emergencies(scope, copies),
        ),
    ):
        if permissions:
            yield Document(f"{copies.file}{part}.yaml", _role(about, permissions, copies.origin))
    for number, expression in enumerate(bound, 1):
        yield Document(f"{_condition_file(copies.file, number)}", _condition(number, expression, copies.origin))


def key_role(project: str, accounts: AccountRights) -> Iterator[Document]:
    """The role that makes and ends keys of the accounts, and the one that tells of their use; nothing without any."""
    if not accounts.names:
        return
    bound = f"Bind it on each of these service accounts, and not on the project {project}: {', '.join(accounts.names)}."
    use = (
        f"tells whether an old key is used still. Bind it on the project {project}; without it nothing is known of use."
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
"""What is needed on a service account whose keys are rotated; whoever revokes needs the same."""


def notice_role(topic: str, file: str, origin: str) -> Iterator[Document]:
    """The role that lets notices be published to a topic, and nothing else."""
    about = f"tells a consumer. Bind it on {topic}, and not on the project."
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
    """Whether a resource is this secret or a version of it; of a name with a wildcard, by what stands before that."""
    beginning, wildcard, _ = name.partition(ANYTHING)
    if wildcard:
        rest = json.dumps(f"{scope.collection}{{rest}}")
        return f"resource.name.extract({rest}).startsWith({json.dumps(beginning)})"
    versions = json.dumps(f"{scope.collection}{{name}}/versions/")
    own = f"resource.name.endsWith({json.dumps(scope.collection + name)})"
    return f"{own} || resource.name.extract({versions}) == {json.dumps(name)}"


def _role(about: str, permissions: Sequence[str], origin: str, title: str = "Keyturn copies") -> str:
    """A custom role as ``gcloud iam roles create --file`` reads it."""
    listed = "".join(f"- {permission}\n" for permission in permissions)
    head = "\n".join((comment(f"A role of Keyturn's that {about}"), comment(origin), ""))
    return f"{head}title: {title}\nstage: GA\nincludedPermissions:\n{listed}"


def _condition(number: int, expression: str, origin: str) -> str:
    """A condition as ``gcloud projects add-iam-policy-binding --condition-from-file`` reads it."""
    return f"{comment(origin)}\ntitle: keyturn-copies-{number}\nexpression: {json.dumps(expression)}\n"


def _permissions(*names: str) -> tuple[str, ...]:
    return tuple(sorted(f"secretmanager.{name}" for name in names))
