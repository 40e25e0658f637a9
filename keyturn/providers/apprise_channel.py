"""The failure channel: any service of Apprise."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keyturn.core.errors import Invalid, Unavailable
from keyturn.core.notifications.channel import Announcement
from keyturn.core.sensitive import Sensitive

if TYPE_CHECKING:
    from apprise import Apprise

URL: Final = "KEYTURN_FAILURE_URL"
URL_FILE: Final = "KEYTURN_FAILURE_URL_FILE"

NAME: Final = "the failure channel"


LONGEST: Final = 30.0
"""Apprise waits four seconds to connect and four for each piece of an answer."""


class AppriseChannel:
    """Sends through Apprise without redirects, for at most ``LONGEST``.

    Reads ``address`` when it sends, so an unreadable one delays nothing else.
    """

    def __init__(self, address: Callable[[], Sensitive]) -> None:
        self._address = address

    def send(self, announcement: Announcement) -> None:
        try:
            import apprise
        except ModuleNotFoundError:
            raise Invalid("tell", NAME, "the package apprise is missing", "Install keyturn[flows]") from None
        with silence_apprise():
            service = apprise.Apprise.instantiate(self._address().reveal(), suppress_exceptions=True)
            if service is None:
                raise unknown_address()
            # The address holds a token, and may enable redirects.
            service.redirects = False
            body = f"{announcement.body}\nMessage: {announcement.id}"
            sender = apprise.Apprise(service)
            taken = answered(lambda: notify(sender, announcement.subject, body), LONGEST)
        if taken is None:
            raise Unavailable("tell", NAME, f"the service did not answer within {LONGEST:g} s", "It is sent again")
        if not taken:
            hint = "It stays in the outbox and is sent again. See that the address is right and its service answers"
            raise Unavailable("tell", NAME, "the service did not take it", hint)


def notify(sender: "Apprise", subject: str, body: str) -> bool:
    """Plain text, so that no service renders markup in names."""
    import apprise

    kind, form = apprise.NotifyType.FAILURE, apprise.NotifyFormat.TEXT
    return bool(sender.notify(title=subject, body=body, notify_type=kind, body_format=form))


def answered(send: Callable[[], bool], seconds: float) -> bool | None:
    """False if ``send`` raises; None if it takes longer, and it continues alone."""
    outcome = list[bool]()

    def run() -> None:
        with suppress(Exception):
            outcome.append(send())
            return
        outcome.append(False)

    sending = threading.Thread(target=run, daemon=True)
    sending.start()
    sending.join(seconds)
    return outcome[0] if outcome else None


def configured_channel(environment: Mapping[str, str]) -> AppriseChannel | None:
    file, url = environment.get(URL_FILE), environment.get(URL)
    if file:
        return AppriseChannel(lambda: address_in(Path(file)))
    return AppriseChannel(lambda: Sensitive(url)) if url else None


def partner_channel(file: str | None) -> AppriseChannel | None:
    return AppriseChannel(lambda: address_in(Path(file))) if file else None


def address_in(file: Path) -> Sensitive:
    try:
        return Sensitive(file.read_text().strip())
    except (OSError, ValueError) as error:
        problem = f"the file that {URL_FILE} names can't be read ({type(error).__name__})"
        raise Invalid("use", NAME, problem, f"Write the Apprise address to {file}, mode 0400") from None


def insist_on_address(url: Sensitive) -> None:
    import apprise

    with silence_apprise():
        service = apprise.Apprise.instantiate(url.reveal(), suppress_exceptions=True)
    if service is None:
        raise unknown_address()


def unknown_address() -> Invalid:
    remedy = "Write it as Apprise does, such as slack://TOKEN-A/TOKEN-B/TOKEN-C or mailto://user:pass@example.com"
    return Invalid("use", "the failure URL", "Apprise knows no such address", remedy)


@contextmanager
def silence_apprise() -> Iterator[None]:
    """Suppress Apprise's own log lines, which contain the address."""
    log = logging.getLogger("apprise")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before
