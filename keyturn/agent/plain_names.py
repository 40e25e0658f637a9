"""Callers' names without a catalogue: paths in the hub."""

import re
from typing import Final

from keyturn.agent.application import Named

ARN: Final = re.compile(r"arn:(aws[a-z-]*):secretsmanager:([a-z0-9-]+):([0-9]{12}):secret:(.+)", re.DOTALL)
SUFFIX: Final = re.compile(r"-[A-Za-z0-9]{6}\Z")
"""The random suffix of the name in an AWS ARN."""


class PlainNames:
    """A name is a path; for an ARN, the name in it."""

    def resolve(self, secret_id: str) -> Named:
        arn = ARN.fullmatch(secret_id)
        return by_path(SUFFIX.sub("", arn[4]) if arn else secret_id)


def by_path(path: str) -> Named:
    return Named(path, path, f"arn:keyturn:secretsmanager:::secret:{path}")
