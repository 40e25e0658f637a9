"""An action for which the site may require a second person."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyturn.core.errors import Invalid


@dataclass(frozen=True)
class Deed:
    """An intended action. ``about`` is its identity, in JSON; ``words`` describe it for people.

    ``use`` names one execution: continuing it needs no second approval.
    """

    action: str
    about: Mapping[str, Any]
    words: str
    use: str
    size: int = 1


def insist_on_name(name: str, begins: str) -> None:
    """Raises Invalid for a name that would be another path of the hub."""
    if not re.fullmatch(rf"{begins}[0-9a-f-]{{1,40}}", name):
        raise Invalid("find", repr(name[:50]), "it is no such name", f"Such a name begins with {begins}")
