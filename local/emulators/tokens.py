"""One server that issues, tries and ends the tokens of every format of `keyturn kill`, as their data says."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from keyturn.core.sensitive import Sensitive
from keyturn.core.text import templates
from keyturn.settings.requests import AnswerSettings
from keyturn.tokens.ending import LeakedToken
from keyturn.tokens.model import TOKEN, EndSettings, ProveSettings, TokenFormat, numbered
from local.emulators.recipes.matching import Received, Shape, satisfy
from local.emulators.recipes.server import Answer, Service, base_of


def path_of(url: str) -> str:
    """The path of an address, for a server that stands in for one host alone."""
    return urlsplit(url).path


class IssuedTokens(Service):
    """Every token that was issued, and whether it still works.

    ``host`` is that of services that people run themselves. ``base`` tells where an address is served.
    """

    def __init__(
        self,
        formats: Mapping[str, TokenFormat],
        host: str = "self-hosted.example.com",
        base: Callable[[str], str] = base_of,
    ) -> None:
        self.formats = formats
        self.host = host
        self.live: dict[str, bool] = {}
        self.received: list[Received] = []
        self._names: dict[str, str] = {}
        self._base = base
        self._lock = threading.Lock()

    def issue(self, name: str, text: str) -> None:
        """Let a token of this format work."""
        self.live[text], self._names[text] = True, name

    def answer(self, received: Received) -> Answer:
        with self._lock:
            self.received.append(received)
            for each in self.formats.values():
                if each.end and (answer := self._ended(each, each.end, received)):
                    return answer
                if each.prove and (answer := self._tried(each, each.prove, received)):
                    return answer
        return Answer(404, {"message": "no request of a format looks like this"})

    def _ended(self, each: TokenFormat, end: EndSettings, received: Received) -> Answer | None:
        settings = end.model_dump(mode="json", exclude_none=True)
        count = batch_size(received.data, settings.get("body"))
        if count:
            settings["body"] = end.request_for(count).body
        shape = Shape(settings, "POST", self._base(each.address(self.host)), {})
        if (values := shape.match(received)) is None:
            return None
        named = {values[numbered(TOKEN, at)] for at in range(count)}
        mine = [text for text in self.live if self._format(text).end == end]
        ended = [text for text in mine if (text in named if count else self._holds(text, shape, received))]
        working = [text for text in ended if self.live[text]]
        for text in working:
            self.live[text] = False
        if not working and (end.already or end.by == "itself"):
            return refusal(end.already or (each.prove.refused if each.prove else None))
        statuses = [item for item in settings["expect"] if isinstance(item, int)]
        body = satisfy({}, [item for item in settings["expect"] if isinstance(item, dict)])
        return Answer(statuses[0] if statuses else 200, None if statuses == [204] else body)

    def _tried(self, each: TokenFormat, prove: ProveSettings, received: Received) -> Answer | None:
        settings = prove.model_dump(mode="json", exclude_none=True)
        shape = Shape(settings, "GET", self._base(each.address(self.host, prove.url)), {})
        if shape.match(received) is None:
            return None
        mine = [text for text, works in self.live.items() if works and self._format(text).prove == prove]
        works = any(self._holds(text, shape, received) for text in mine)
        return Answer(200, {"ok": True}) if works else refusal(prove.refused)

    def _format(self, text: str) -> TokenFormat:
        return self.formats[self._names[text]]

    def _holds(self, text: str, shape: Shape, received: Received) -> bool:
        """Whether the request is that of this token."""
        fields = LeakedToken(0, Sensitive(text), "", self._format(text), self.host).fields().reveal()
        known = Shape(shape.settings, shape.method, shape.base, fields)
        return known.match(received) is not None


def refusal(refused: Sequence[AnswerSettings] | None) -> Answer:
    """How a service refuses a token."""
    if not refused:
        return Answer(401, {"message": "the token is not valid"})
    settings = refused[0].model_dump(mode="json", exclude_none=True)
    return Answer(settings.get("status", [401])[0], satisfy({}, settings.get("when", ())))


def batch_size(data: Any, template: Any) -> int:
    """How many tokens the list in a body has, if the template has a list for them; otherwise 0."""
    for key, inner in template.items() if isinstance(template, dict) else ():
        lists = isinstance(inner, list) and any(TOKEN in templates.names(text) for text in templates.texts(inner))
        if lists and isinstance(data, dict) and isinstance(data.get(key), list):
            return len(data[key])
    return 0
