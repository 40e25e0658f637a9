"""What somebody is about to do, where the site asks for a second person's word."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyturn.core.errors import Invalid


@dataclass(frozen=True)
class Deed:
    """What somebody is about to do. ``about`` is all that makes it this one, in JSON; ``words`` tell people.

    ``use`` names the one time it is done: who comes back to that needs no second approval.
    """

    action: str
    about: Mapping[str, Any]
    words: str
    use: str
    size: int = 1


def insist_on_name(name: str, begins: str) -> None:
    """Raises Invalid for what would be another path of the hub."""
    if not re.fullmatch(rf"{begins}[0-9a-f-]{{1,40}}", name):
        raise Invalid("find", repr(name[:50]), "it is no such name", f"Such a name begins with {begins}")
