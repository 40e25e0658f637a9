"""Documents as files: written whole, and files of others are not changed."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from keyturn.core.errors import Invalid
from keyturn.core.rights.rights import Document
from keyturn.rights.policy_documents import was_made


def write(directory: Path, documents: Collection[Document]) -> None:
    """Write each document to its file, which is whole or as it was.

    Raises Invalid, before anything is written, where a file of that name was made otherwise.
    """
    names = [document.name for document in documents]
    if foreign := [name for name in names if os.path.lexists(directory / name) and not _is_made(directory / name)]:
        hint = "Nothing was written. Move it away, or choose another directory"
        raise Invalid(
            "write", str(directory / foreign[0]), "it is there, and `keyturn setup store` has not made it", hint
        )
    directory.mkdir(parents=True, exist_ok=True)
    for document in documents:
        _replace(directory / document.name, document.text)


def left_over(directory: Path, documents: Collection[Document]) -> Iterator[str]:
    """Yield the rendered files of the directory that no document has any more."""
    names = {document.name for document in documents}
    yield from (file.name for file in sorted(directory.iterdir()) if file.name not in names and _is_made(file))


def _is_made(file: Path) -> bool:
    if file.is_symlink() or not file.is_file():
        return False
    return was_made(file.read_text(errors="replace"))


def _replace(file: Path, text: str) -> None:
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        part.write_text(text)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
