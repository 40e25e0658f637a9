"""Fields that the catalogue declares as the credential, and that the hub's secret does not have."""

from collections.abc import Collection, Sequence
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.context import Workspace, side_by_side

AT_ONCE: Final = 16


def missing_fields(workspace: Workspace, path: str, serving: SecretFields) -> tuple[str, ...]:
    """The declared fields that a version lacks."""
    return tuple(sorted(workspace.secret(path).rotation.declared_fields - {name for name, _ in serving.items()}))


def describe_missing_fields(missing: Collection[str], serving: SecretFields) -> str:
    """The difference in words."""
    has = ", ".join(sorted(name for name, _ in serving.items()))
    several = "s" if len(missing) > 1 else ""
    return f"the catalogue declares the field{several} {', '.join(missing)}, and the secret in the hub has {has}"


def find_missing_fields(workspace: Workspace, paths: Sequence[str]) -> dict[str, str]:
    """The secrets that lack a declared field, each with the difference in words.

    A secret that can't be read now is left out: other checks report it.
    """

    def look(path: str) -> str:
        try:
            current = workspace.hub.read(path)
        except KeyturnError:
            return ""
        missing = missing_fields(workspace, path, current.fields) if current else ()
        return describe_missing_fields(missing, current.fields) if current and missing else ""

    declaring = [path for path in paths if workspace.secret(path).rotation.declared_fields]
    lines = side_by_side(look, declaring, AT_ONCE)
    return {path: words for path, words in zip(declaring, lines, strict=True) if words}
