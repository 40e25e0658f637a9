"""The parts of a backup: some megabytes of lines, each sealed with its number and whether it is the last."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from typing import Final

from keyturn.core.errors import NotFound
from keyturn.core.ports.backups import BackupPlace, BackupSeal, Manifest, PartInfo
from keyturn.core.ports.envelope import Refusal, SealRefused
from keyturn.recovery.lines import Line, parse_line
from keyturn.recovery.manifests import digest_of_object, label_of

PART_BYTES: Final = 2 << 20
"""The size in bytes at which a part is closed. A long line may exceed it."""
UNDER_WAY: Final = 4
"""Parts sent at once, and so in memory."""
FETCHED_AT_ONCE: Final = 16
FETCHED_BYTES: Final = UNDER_WAY * PART_BYTES + (1 << 20)
"""Maximum bytes fetched ahead, or one larger part."""
FROM_THE_STORE: Final = "Or restore the store's own copy of the object; `keyturn backup run` makes a new base"


def write_parts(
    place: BackupPlace, seal: BackupSeal, chain: str, sequence: int, attempt: str, lines: Iterable[bytes]
) -> tuple[PartInfo, ...]:
    """Write the lines as parts; their infos. Raises the first error after running writes ended."""

    def send(number: int, content: bytes, last: bool) -> PartInfo:
        sealed = seal.encrypt(label_of(chain, sequence, attempt, _part_label(number, last)), content)
        name = f"{chain}/{sequence:08d}-{attempt}.{number:05d}.part"
        place.put(name, sealed)
        return PartInfo(name, len(sealed), digest_of_object(sealed))

    written: list[PartInfo] = []
    with ThreadPoolExecutor(UNDER_WAY) as pool:
        sending: list[Future[PartInfo]] = []
        for number, (content, last) in enumerate(_in_pieces(lines)):
            sending.append(pool.submit(send, number, content, last))
            if len(sending) >= UNDER_WAY:
                written.append(sending.pop(0).result())
        written += [future.result() for future in sending]
    return tuple(written)


def read_lines(place: BackupPlace, seal: BackupSeal, manifests: Iterable[Manifest]) -> Iterator[tuple[Manifest, Line]]:
    """Every line of these backups of one chain, in order, with its backup.

    Parts are fetched ahead across backups, since most are small and each costs a round trip. Raises SealRefused for a
    damaged one.
    """
    with ThreadPoolExecutor(FETCHED_AT_ONCE) as pool:
        for manifest, content in _fetched_ahead(pool, partial(_open_part, place, seal), manifests):
            for text in content.splitlines():
                yield manifest, parse_line(text)


def _fetched_ahead(
    pool: Executor, fetch: Callable[[Manifest, int], bytes], manifests: Iterable[Manifest]
) -> Iterator[tuple[Manifest, bytes]]:
    """The content of each part in order, with more fetched ahead as memory permits."""
    waiting = deque((manifest, number) for manifest in manifests for number in range(len(manifest.parts)))
    under_way, held = deque[tuple[Manifest, int, Future[bytes]]](), 0
    while waiting or under_way:
        while waiting and len(under_way) < FETCHED_AT_ONCE:
            manifest, number = waiting[0]
            size = manifest.parts[number].size
            if under_way and held + size > FETCHED_BYTES:
                break
            under_way.append((*waiting.popleft(), pool.submit(fetch, manifest, number)))
            held += size
        manifest, number, fetching = under_way.popleft()
        held -= manifest.parts[number].size
        yield manifest, fetching.result()


def _open_part(place: BackupPlace, seal: BackupSeal, manifest: Manifest, number: int) -> bytes:
    part, what = manifest.parts[number], _part_label(number, number == len(manifest.parts) - 1)
    content = _fetch(place, part, before(manifest))
    try:
        return seal.decrypt(label_of(manifest.chain, manifest.sequence, manifest.attempt, what), content)
    except SealRefused as refusal:
        raise SealRefused(refusal.refusal, part.name, refusal.problem, before(manifest)) from None


def before(manifest: Manifest) -> str:
    """The remedy for a damaged part of this backup."""
    if manifest.sequence == 0:
        return f"Take another chain, as `keyturn backup list` shows them. {FROM_THE_STORE}"
    return (
        f"Take the point before it: keyturn backup restore {manifest.chain}/{manifest.sequence - 1}. {FROM_THE_STORE}"
    )


def _fetch(place: BackupPlace, part: PartInfo, hint: str) -> bytes:
    try:
        content = place.get(part.name)
    except NotFound:
        raise SealRefused(Refusal.MALFORMED, part.name, "the backup has this part, and it is gone", hint) from None
    if len(content) != part.size or digest_of_object(content) != part.sha256:
        problem = "it does not match the manifest: it was changed, truncated or replaced"
        raise SealRefused(Refusal.TAMPERED, part.name, problem, hint)
    return content


def _part_label(number: int, last: bool) -> str:
    return f"part/{number}/{'last' if last else 'more'}"


def _in_pieces(lines: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The lines in pieces of about PART_BYTES, each with whether it is the last."""
    held: bytes | None = None
    buffer, size = list[bytes](), 0
    for line in lines:
        buffer.append(line)
        size += len(line)
        if size >= PART_BYTES:
            if held is not None:
                yield held, False
            held, buffer, size = b"".join(buffer), [], 0
    if buffer:
        if held is not None:
            yield held, False
        held = b"".join(buffer)
    if held is not None:
        yield held, True
