"""Events in the form of Prefect's assets, from which Prefect Cloud draws the lineage of secrets."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final

from prefect.events import emit_event

from keyturn.core.workspaces import SECRET
from keyturn.rotation.copies.push import CopyState, Pushed
from tasks.workspace import names

MATERIALIZED: Final = "prefect.asset.materialization.succeeded"
REFERENCED: Final = "prefect.asset.referenced"

COPY, TARGET = "copy", "target"

LONGEST: Final = 512
"""Prefect's limit of an asset's key, in characters."""

WRITTEN: Final = (CopyState.CREATED, CopyState.UPDATED)


def emit_turn(path: str, version: int, target: str) -> None:
    upstream = [related(asset(TARGET, target))] if target else []
    emit_event(
        MATERIALIZED, of_asset(asset(SECRET, path), path), related=[*upstream, by()], payload={"version": version}
    )


def emit_copies(path: str, copies: Sequence[Pushed], *, turned: bool) -> None:
    """Report written copies, and their source unless the same run ``turned`` it."""
    written = [copy for copy in copies if copy.state in WRITTEN]
    if written and not turned:
        emit_event(REFERENCED, of_asset(asset(SECRET, path), path))
    for copy in written:
        made = of_asset(asset(COPY, f"{copy.store}/{copy.name}"), f"{copy.store}:{copy.name}")
        emit_event(MATERIALIZED, made, related=[related(asset(SECRET, path)), by()], payload={"version": copy.version})


def asset(kind: str, name: str) -> str:
    """The unique key of an asset, such as ``keyturn://secret/ml-training/database``."""
    plain = re.sub(r"[^A-Za-z0-9._/:@+-]", lambda match: f"~{ord(match[0]):x}~", name)
    key = f"{names().own}://{kind}/{plain}"
    return key if len(key) <= LONGEST else f"{names().own}://{kind}/{hashlib.sha256(name.encode()).hexdigest()}"


def of_asset(key: str, name: str) -> dict[str, str]:
    return {"prefect.resource.id": key, "prefect.resource.name": name}


def related(key: str) -> dict[str, str]:
    return {"prefect.resource.id": key, "prefect.resource.role": "asset"}


def by() -> dict[str, Any]:
    return {"prefect.resource.id": names().own, "prefect.resource.role": "asset-materialized-by"}
