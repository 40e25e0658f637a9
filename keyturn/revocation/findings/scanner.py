"""Reads findings: TruffleHog's lines (`--json`), or Gitleaks' report (`--report-format json`).

Sources: TruffleHog 3, `pkg/output/json.go` and `proto/source_metadata.proto`; Gitleaks 8, `report/finding.go`. A value
lives only as long as its finding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct

from keyturn.core.errors import Invalid
from keyturn.core.sensitive import Sensitive

LARGEST: Final = 256 * 1024 * 1024
"""Bytes of a report."""

LONGEST: Final = 16 * 1024 * 1024
"""Bytes of one line."""

PARTS: Final = 8
"""Parts of one value that are checked."""

REDACTED: Final = "REDACTED"
"""Gitleaks' redacted value; a partly redacted one ends with three dots."""

FILES: Final = ("file", "filename", "path", "page", "location", "issue", "title", "request_name")
ORIGINS: Final = (
    "repository", "repo", "bucket", "container", "image", "project", "project_name", "package", "workspace",
    "workspace_name", "space", "channel_name", "hostname", "index", "pipeline",
)  # fmt: skip
"""The keys of TruffleHog's sources for a place and its container."""


@dataclass(frozen=True)
class FoundAt:
    """The place of a value: ``file`` in ``origin``, such as a repository; ``line`` 0 is unknown.

    ``detector`` is the scanner's type; ``verified`` means that a service accepted it.
    """

    file: str
    line: int = 0
    commit: str = ""
    origin: str = ""
    detector: str = ""
    verified: bool = False


@dataclass(frozen=True)
class FoundValue:
    """A found value in each form that may be stored, whole or in parts."""

    at: FoundAt
    texts: tuple[Sensitive, ...]


class _Hog(Struct, rename="pascal"):
    raw: str
    detector_name: str = ""
    verified: bool = False
    raw_v2: str = msgspec.field(default="", name="RawV2")
    source_metadata: Any = None
    secret_parts: dict[str, str] | None = None


class _Leak(Struct, rename="pascal"):
    secret: str | None = None
    file: str = ""
    start_line: int = 0
    commit: str = ""
    rule_id: str = msgspec.field(default="", name="RuleID")


class ScannerReport:
    """The findings of one file; the counts are complete after the last finding."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self.malformed = 0
        self.redacted = 0

    def findings(self) -> Iterator[FoundValue]:
        """Yield each finding. Raises Invalid for a report of neither scanner."""
        first = self._first()
        if first == b"[":
            yield from self._gitleaks(first)
        elif first == b"{":
            yield from self._trufflehog(first)
        elif first:
            raise self._foreign("it is no JSON")

    def _first(self) -> bytes:
        while (byte := self._file.read(1)).isspace():
            continue
        return byte if byte != b"\xef" else self._after_mark()

    def _after_mark(self) -> bytes:
        self._file.read(2)
        return self._first()

    def _gitleaks(self, first: bytes) -> Iterator[FoundValue]:
        data = first + self._file.read(LARGEST)
        if self._file.read(1):
            raise self._foreign(f"it is longer than {LARGEST:,} bytes")
        try:
            entries = msgspec.json.decode(data, type=list[msgspec.Raw])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self._foreign("it is no whole JSON") from None
        for entry in entries:
            if leak := self._decoded(bytes(entry), _Leak):
                yield from self._of_leak(leak)

    def _of_leak(self, leak: _Leak) -> Iterator[FoundValue]:
        if not leak.secret or leak.secret == REDACTED or leak.secret.endswith("..."):
            self.redacted += 1
            return
        texts = candidates([leak.secret])
        at = FoundAt(leak.file, leak.start_line, leak.commit, detector=leak.rule_id)
        yield FoundValue(without_values(at, texts), hidden(texts))

    def _trufflehog(self, first: bytes) -> Iterator[FoundValue]:
        line = first + self._file.readline(LONGEST)
        while line:
            if not line.endswith(b"\n") and len(line) >= LONGEST:
                raise self._foreign(f"a line is longer than {LONGEST:,} bytes")
            if line.strip() and (hog := self._decoded(line, _Hog)):
                texts = candidates([hog.raw, hog.raw_v2, *parts_of(hog), *(hog.secret_parts or {}).values()])
                yield FoundValue(without_values(place_of_hog(hog), texts), hidden(texts))
            line = self._file.readline(LONGEST)

    def _decoded(self, data: bytes, kind: Any) -> Any:
        """One entry; None for a malformed one, which is counted."""
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.malformed += 1
            return None

    def _foreign(self, problem: str) -> Invalid:
        hint = "Give what `trufflehog ... --json` or `gitleaks ... --report-format json` has written"
        return Invalid("read", f"the scanner's report {self._name}", problem, hint)


def parts_of(hog: _Hog) -> Iterator[str]:
    """TruffleHog's id and secret, joined by a colon or nothing."""
    if hog.raw and hog.raw_v2.startswith(hog.raw):
        yield hog.raw_v2.removeprefix(hog.raw).removeprefix(":")
    yield from hog.raw_v2.split(":", PARTS - 1)


def candidates(texts: Sequence[str]) -> tuple[str, ...]:
    """Each text, also stripped of white space, and the password of a URL."""
    whole = [text for plain in texts for text in (plain, plain.strip()) if text]
    return tuple(dict.fromkeys([*whole, *(password for text in whole if (password := password_in(text)))]))


def password_in(text: str) -> str:
    """The password in a URL, or empty."""
    if "://" not in text:
        return ""
    try:
        return unquote(urlsplit(text).password or "")
    except ValueError:
        return ""


def hidden(texts: Sequence[str]) -> tuple[Sensitive, ...]:
    """The texts wrapped so that no output shows them."""
    return tuple(map(Sensitive, texts))


def place_of_hog(hog: _Hog) -> FoundAt:
    """The place of TruffleHog's finding, for any source."""
    data = hog.source_metadata.get("Data") if isinstance(hog.source_metadata, dict) else None
    sources = data.values() if isinstance(data, dict) else ()
    source = next((entry for entry in sources if isinstance(entry, dict)), {})
    line, commit = source.get("line"), source.get("commit")
    return FoundAt(
        first_text(source, FILES) or str(source.get("link") or ""),
        line if isinstance(line, int) else 0,
        commit if isinstance(commit, str) else "",
        first_text(source, ORIGINS),
        hog.detector_name,
        hog.verified,
    )


def first_text(source: dict[str, Any], names: Sequence[str]) -> str:
    """The first of these values that is a text."""
    return next((text for name in names if isinstance(text := source.get(name), str) and text), "")


def without_values(at: FoundAt, texts: Sequence[str]) -> FoundAt:
    """The place without the values, which a file name may contain."""

    def clean(name: str) -> str:
        for text in sorted(texts, key=len, reverse=True):
            name = name.replace(text, "(a found value)") if len(text) > 3 else name
        return name

    return FoundAt(clean(at.file), at.line, clean(at.commit), clean(at.origin), clean(at.detector), at.verified)
