"""What Keyturn has made in a hub, kept in the hub: so that nobody else's things are touched, and changes are noticed.

Nobody but who sets the hub up may write it. Where it is lost, whatever is not as it shall be is somebody else's.
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
"""Characters of a value that is kept as it is; of a longer one its digest is."""
DIGEST: Final = "sha256:"


class RecordPort(Protocol):
    """Where the record lies."""

    def read_state(self, path: str) -> State | None:
        """An entry of Keyturn's own mount; None where there is none."""
        ...

    def write_state(self, path: str, data: Mapping[str, Any], *, cas: int) -> int:
        """Write it, and return its version. Raises Conflict when ``cas`` is not the newest."""
        ...


@dataclass(frozen=True)
class MadeEntry:
    """One thing that Keyturn has made, or is about to: its fields, long ones as digests."""

    resource: HubResource
    fields: Fields


@dataclass(frozen=True)
class SetupRecord:
    """What was made by key, what is about to be, for which catalogues, and the version that says so."""

    made: Mapping[str, MadeEntry] = field(default_factory=dict)
    intended: Mapping[str, MadeEntry] = field(default_factory=dict)
    version: int = 0
    claims: Mapping[str, Claim] = field(default_factory=dict)
    """The catalogue that it was made for, by what the names of the workspace begin with."""

    def intending(self, entries: Mapping[str, MadeEntry]) -> "SetupRecord":
        """The same, with these about to be made; what was about to be and may have come about stays so."""
        return replace(self, intended={**self.intended, **entries})

    def after(self, made: Mapping[str, MadeEntry], gone: frozenset[str] = frozenset()) -> "SetupRecord":
        """The same once these are made, and those are gone."""
        left = {key: entry for key, entry in self.made.items() if key not in gone}
        intended = {key: entry for key, entry in self.intended.items() if key not in made and key not in gone}
        return replace(self, made={**left, **made}, intended=intended)


def read_record(hub: RecordPort) -> SetupRecord:
    """The record; empty where nothing was made yet. Raises Denied, and Invalid for one that can't be read."""
    state = hub.read_state(SETUP)
    if state is None:
        return SetupRecord()
    try:
        claims = {house: Claim.from_data(claim) for house, claim in state.data.get("claims", {}).items()}
        return SetupRecord(_entries(state.data["made"]), _entries(state.data["intended"]), state.version, claims)
    except (KeyError, TypeError, ValueError, AttributeError):
        hint = "Put back an older version of it, or delete it: then what differs counts as somebody else's"
        raise Invalid("read", f"the hub's entry {SETUP}", "it is no record of what Keyturn has made", hint) from None


def write_record(hub: RecordPort, record: SetupRecord) -> SetupRecord:
    """Write it, and return it as it is there. Raises Conflict where somebody else has written it since."""
    claims = {house: claim.to_data() for house, claim in record.claims.items()}
    data = {"made": _data(record.made), "intended": _data(record.intended), "claims": claims}
    return replace(record, version=hub.write_state(SETUP, data, cas=record.version))


def entry_of(resource: HubResource, fields: Fields) -> MadeEntry:
    """What is kept of a thing that has these fields."""
    bare = replace(resource, fields={}, values={})
    return MadeEntry(bare, {name: kept_value(name, value) for name, value in fields.items()})


def kept_value(name: str, value: Any) -> Any:
    """A field as the record keeps it."""
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
