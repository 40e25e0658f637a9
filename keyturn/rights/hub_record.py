"""The record of Keyturn's resources in a hub, stored there: it protects other resources and reveals changes.

Only logins that set up the hub may write it. Without the record, a resource that differs counts as not made by Keyturn.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from keyturn.core.errors import Invalid
from keyturn.core.ports.hub import State
from keyturn.core.rights.hub_setup import SETUP, Fields, HubResource, Kind, plain_value
from keyturn.rights.hub_claims import Claim

SHORT: Final = 400
"""The maximum length in characters of a stored value; a longer value is stored as its digest."""
DIGEST: Final = "sha256:"


class RecordPort(Protocol):
    def read_state(self, path: str) -> State | None:
        """Return an entry of Keyturn's own mount; None where there is none."""
        ...

    def write_state(self, path: str, data: Mapping[str, Any], *, cas: int) -> int:
        """Write an entry and return its version. Raises Conflict when ``cas`` is not the newest."""
        ...


@dataclass(frozen=True)
class MadeEntry:
    """A resource that Keyturn made, or is about to make; long fields are digests."""

    resource: HubResource
    fields: Fields


@dataclass(frozen=True)
class SetupRecord:
    """The resources that were made or are intended, by key, and the version of the record."""

    made: Mapping[str, MadeEntry] = field(default_factory=dict)
    intended: Mapping[str, MadeEntry] = field(default_factory=dict)
    version: int = 0
    claims: Mapping[str, Claim] = field(default_factory=dict)
    """The catalogue of the setup, by the prefix of the workspace's names."""

    def intending(self, entries: Mapping[str, MadeEntry]) -> "SetupRecord":
        """Return the record with these intended too; earlier intentions stay, because they may have come about."""
        return replace(self, intended={**self.intended, **entries})

    def after(self, made: Mapping[str, MadeEntry], gone: frozenset[str] = frozenset()) -> "SetupRecord":
        left = {key: entry for key, entry in self.made.items() if key not in gone}
        intended = {key: entry for key, entry in self.intended.items() if key not in made and key not in gone}
        return replace(self, made={**left, **made}, intended=intended)


def read_record(hub: RecordPort) -> SetupRecord:
    """Return the record, empty where nothing was made yet. Raises Denied, and Invalid for an unreadable one."""
    state = hub.read_state(SETUP)
    if state is None:
        return SetupRecord()
    try:
        claims = {house: Claim.from_data(claim) for house, claim in state.data.get("claims", {}).items()}
        return SetupRecord(_entries(state.data["made"]), _entries(state.data["intended"]), state.version, claims)
    except (KeyError, TypeError, ValueError, AttributeError):
        hint = "Put back an older version of it, or delete it: then what differs counts as not Keyturn's"
        raise Invalid("read", f"the hub's entry {SETUP}", "it is no record of what Keyturn has made", hint) from None


def write_record(hub: RecordPort, record: SetupRecord) -> SetupRecord:
    """Write the record and return it with its version. Raises Conflict where it was written since."""
    claims = {house: claim.to_data() for house, claim in record.claims.items()}
    data = {"made": _data(record.made), "intended": _data(record.intended), "claims": claims}
    return replace(record, version=hub.write_state(SETUP, data, cas=record.version))


def entry_of(resource: HubResource, fields: Fields) -> MadeEntry:
    bare = replace(resource, fields={}, values={})
    return MadeEntry(bare, {name: kept_value(name, value) for name, value in fields.items()})


def kept_value(name: str, value: Any) -> Any:
    plain = plain_value(name, value)
    text = json.dumps(plain, sort_keys=True, default=str)
    return plain if len(text) <= SHORT else DIGEST + hashlib.sha256(text.encode()).hexdigest()


def _data(entries: Mapping[str, MadeEntry]) -> dict[str, Any]:
    return {
        key: {
            "kind": str(entry.resource.kind),
            "mount": entry.resource.mount,
            "name": entry.resource.name,
            "fields": dict(entry.fields),
        }
        for key, entry in entries.items()
    }


def _entries(data: Mapping[str, Any]) -> dict[str, MadeEntry]:
    entries = (
        MadeEntry(HubResource(Kind(each["kind"]), each["name"], mount=each["mount"]), dict(each["fields"]))
        for each in data.values()
    )
    return {entry.resource.key: entry for entry in entries}
