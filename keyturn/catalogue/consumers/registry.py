"""The ways there are of telling a consumer: to add one, add a line."""

from typing import Final

CONSUMERS: Final = (
    "keyturn.catalogue.consumers.http.HttpSettings",
    "keyturn.catalogue.consumers.aws.SqsSettings",
    "keyturn.catalogue.consumers.aws.SnsSettings",
    "keyturn.catalogue.consumers.process.ProcessSettings",
)
"""The settings of each kind of consumer, by the name of their class; they name the adapter in turn."""

DEFAULT: Final = "http"
"""The kind of a consumer that says none."""
