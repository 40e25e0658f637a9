"""The files of a report: readable by their owner only, and written atomically."""

import hashlib
import json
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from keyturn.core.errors import Unavailable

PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Names that are the same in every file system, and can't leave the directory."""


def file_name(incident: str) -> str:
    """Return the incident's name, or a unique similar one where that is no file name."""
    if PLAIN.fullmatch(incident):
        return incident
    like = re.sub(r"[^A-Za-z0-9]+", "-", incident).strip("-")[:60]
    digest = hashlib.sha256(incident.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"{like or 'incident'}-{digest}"


def json_text(data: Any) -> str:
    """Return readable JSON: indented, and in ASCII, so that no character changes the text's direction."""
    return json.dumps(data, indent=2) + "\n"


def write_private(file: Path, text: str) -> Path:
    """Write the file atomically with mode 0600, over an earlier one. Raises Unavailable."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, made = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        try:
            with open(descriptor, "w", encoding="utf-8") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            os.replace(made, file)
        except BaseException:
            with suppress(OSError):
                os.unlink(made)
            raise
    except OSError as error:
        hint = "Give a directory that this user may write to"
        raise Unavailable("write", str(file), error.strerror or type(error).__name__, hint) from None
    return file
