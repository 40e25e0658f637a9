"""A segment's events, converted from its spool to a Parquet file."""

from pathlib import Path
from typing import Final

from keyturn.access_log.trail.files import telling
from keyturn.access_log.trail.layout import Segment, StoredFile, source_directory
from keyturn.access_log.trail.parquet import ACCESS_COLUMNS, connected, literal, write_file
from keyturn.access_log.trail.segments import SegmentHead
from keyturn.access_log.trail.spool import Spool

LONGEST: Final = 128 * 1024 * 1024
"""The longest line of an event in bytes. Requests have at most 32 MiB."""

MEMBERS: Final = {
    "at": "TIMESTAMP",
    **dict.fromkeys(("system", "path", "principal", "source", "login", "action", "agent", "granted"), "VARCHAR"),
    "version": "BIGINT",
    "denied": "BOOLEAN",
    "root": "BOOLEAN",
}
DEFAULTS: Final = {
    **dict.fromkeys(("login", "agent", "granted"), "''"),
    **dict.fromkeys(("denied", "root"), "false"),
    "action": "'read'",
}
"""Values that a leaf omits."""


def write_events(directory: Path, spool: Spool, head: SegmentHead) -> StoredFile:
    """Write a spool's events durably, and delete unsealed files of that number. Raises Unavailable."""
    discard_events(directory, head.source, head.number)
    segment = Segment(
        number=head.number,
        sealed=head.sealed_at,
        count=head.records,
        first=head.earliest,
        last=head.latest,
        gaps=head.gaps,
        fence=head.fence,
        head=head.encode().decode(),
    )
    stored = StoredFile.of(directory, head.source, [segment])
    with connected() as connection:
        write_file(connection, stored, spooled_rows(spool.path, head.number), (), [segment])
    return stored


def discard_events(directory: Path, source: str, number: int) -> None:
    """Delete the file of an unsealed segment. Raises Unavailable."""
    with telling("write", place := source_directory(directory, source)):
        for file in place.glob(f"{number:010}-{number:010}.*.parquet"):
            file.unlink(missing_ok=True)


def spooled_rows(spool: Path, number: int, *options: str) -> str:
    """The SQL of the spool's events, with ``options`` of DuckDB's read_json."""
    fields = {name: f'access."{"at" if name == "time" else name}"' for name in ACCESS_COLUMNS}
    columns = [
        *(
            f'coalesce({field}, {DEFAULTS[name]}) AS "{name}"' if name in DEFAULTS else f'{field} AS "{name}"'
            for name, field in fields.items()
        ),
        "from_base64(digest) AS digest",
        '"position"',
        f"{number}::BIGINT AS segment",
        "row_number() OVER () - 1 AS leaf",
    ]
    members = ", ".join(f'"{name}" {kind}' for name, kind in MEMBERS.items())
    more = "".join(f", {option}" for option in options)
    lines = (
        f"read_json({literal(str(spool))}, format = 'newline_delimited', maximum_object_size = {LONGEST}, "
        f"""columns = {{access: 'STRUCT({members})', digest: 'VARCHAR', "position": 'VARCHAR'}}{more})"""
    )
    return f"SELECT {', '.join(columns)} FROM {lines} WHERE access IS NOT NULL"  # noqa: S608  numbers and names alone
