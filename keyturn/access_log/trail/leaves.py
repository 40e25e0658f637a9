"""The canonical bytes of a record, for hashing, storing and proving.

They are compact JSON in UTF-8, with the keys of SourceRecord and Access in field order. Defaults are left out, so that
a new field changes no older leaf. Times are RFC 3339 in UTC, with microseconds if not 0. The digest is base64.
"""

from collections.abc import Sequence
from datetime import UTC
from typing import Final

import msgspec

from keyturn.core.errors import Invalid
from keyturn.core.ports.access import READ, Access
from keyturn.core.ports.access_source import SourceRecord

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(SourceRecord)


def encode_leaves(records: Sequence[SourceRecord]) -> list[bytes]:
    """The canonical bytes of each record."""
    return encode_lines(records).split(b"\n")[:-1]


def encode_lines(records: Sequence[SourceRecord]) -> bytes:
    """The canonical bytes with a line feed after each."""
    # msgspec recognises defaults by identity, which an equal text may not have. A call per record would cost a fifth of
    # the time.
    odd = any(
        access.at.tzinfo is not UTC or (access.action is not READ and access.action == READ)
        for access in [record.access for record in records]
    )
    try:
        return _ENCODER.encode_lines([_writable(record) for record in records] if odd else records)
    except UnicodeEncodeError:
        return _ENCODER.encode_lines([_writable(record) for record in records])


def decode_leaf(leaf: bytes) -> SourceRecord:
    """Decode canonical bytes. Raises Invalid for any others."""
    try:
        record = _DECODER.decode(leaf)
        if encode_leaves([record]) == [leaf]:
            return record
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError):
        pass
    raise Invalid("read", "an event of the access trail", "it is not spelled as Keyturn writes it", "Verify the trail")


def _writable(record: SourceRecord) -> SourceRecord:
    """Return the record in UTC, with identical defaults and valid UTF-8."""
    access, position = record.access, record.position.encode(errors="replace").decode()
    fields = {name: getattr(access, name) for name in Access.__struct_fields__}
    texts = {name: value.encode(errors="replace").decode() for name, value in fields.items() if isinstance(value, str)}
    texts["action"] = READ if access.action == READ else texts["action"]
    at = access.at.astimezone(UTC) if access.at.tzinfo else access.at.replace(tzinfo=UTC)
    return SourceRecord(Access(**{**fields, **texts, "at": at}), record.digest, position)
