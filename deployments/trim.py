"""``python -m deployments.trim SITE_PACKAGES``: removes from an image's packages what Keyturn never loads.

Run by a Python without these packages, before they are compiled. A test compares the kept services with those in the
code. Licences stay.
"""

import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

AWS_SERVICES: Final = frozenset(
    {
        "iam",
        "kms",
        "resourcegroupstaggingapi",
        "s3",
        "secretsmanager",
        "ssm",
        "sts",
        # Used by botocore itself, for logins by IAM Identity Center and by a console session.
        "signin",
        "sso",
        "sso-oidc",
    }
)
UNUSED: Final = (
    "*/tests",
    # Keyturn reads a kubeconfig by this package, and speaks to the API itself.
    "kubernetes/aio",
    "kubernetes/client/api",
    "kubernetes/client/models/[!_]*.py",
    "google/cloud/_storage_v2",
    "google/cloud/secretmanager_v1beta*",
    "google/cloud/storage/asyncio",
    "azure/**/aio",
    "alembic/testing",
    "duckdb/experimental",
    "sqlalchemy/testing",
    # Sources of what is compiled, and types that only a checker reads.
    *(f"**/*.{suffix}" for suffix in ("c", "h", "pxd", "pxi", "pyi", "pyx", "po", "proto")),
)
"""Patterns of files and folders."""

ELF64: Final = b"\x7fELF\x02\x01"
HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT: Final = struct.Struct("<IIQQQQQQ")
SECTION: Final = struct.Struct("<IIQQQQIIQQ")
ALLOCATED: Final = 2
"""The flag of a section that a program has in memory."""


def superfluous(packages: Path) -> Iterator[Path]:
    """The files and folders to remove; some may be within others."""
    for pattern in UNUSED:
        yield from sorted(packages.glob(pattern))
    for service in sorted((packages / "botocore" / "data").glob("*")):
        if service.is_dir() and service.name not in AWS_SERVICES:
            yield service


def without_symbols(library: bytes) -> bytes:
    """A shared library without what only debuggers read, as ``strip`` leaves it. Others come back as they are."""
    if not library.startswith(ELF64):
        return library
    *start, segments_at, sections_at, flags, size, segment_size, segments, section_size, sections, names = (
        HEADER.unpack_from(library)
    )
    table = [SECTION.unpack_from(library, sections_at + number * section_size) for number in range(sections)]
    ends = [HEADER.size + segments * segment_size]
    for number in range(segments):
        _, _, offset, _, _, in_file, _, _ = SEGMENT.unpack_from(library, segments_at + number * segment_size)
        ends.append(offset + in_file)
    kept = bytearray(library[: max(ends)])
    headers = bytearray()
    for number, section in enumerate(table):
        name, kind, flag, address, offset, length, *rest = section
        if number == names:
            section = (name, kind, flag, address, len(kept), length, *rest)
            kept += library[offset : offset + length]
        elif not flag & ALLOCATED:
            section = (0,) * len(section)
        headers += SECTION.pack(*section)
    kept += bytes(-len(kept) % 8)
    HEADER.pack_into(
        kept, 0, *start, segments_at, len(kept), flags, size, segment_size, segments, section_size, sections, names
    )
    return bytes(kept + headers)


def replace(file: Path, content: bytes) -> None:
    """Give a file other content. Its other names, as an installer's cache has them, keep theirs."""
    (made := file.with_name(f"{file.name}.new")).write_bytes(content)
    made.chmod(file.stat().st_mode)
    made.replace(file)


def remove(place: Path) -> int:
    """Remove a file or folder. Returns its size in bytes."""
    files = [file for file in (place, *place.rglob("*")) if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    return size


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not (packages := Path(arguments[0])).is_dir():
        sys.stderr.write("trim: give the directory site-packages\n")
        return 1
    removed = sum(remove(place) for place in superfluous(packages))
    for library in sorted(file for file in packages.rglob("*.so*") if file.is_file()):
        whole = library.read_bytes()
        if len(stripped := without_symbols(whole)) < len(whole):
            replace(library, stripped)
            removed += len(whole) - len(stripped)
    sys.stdout.write(f"trim: {removed / 1e6:.0f} MB that nothing loads are gone\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
