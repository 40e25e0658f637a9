"""Registry of the kinds of consumer: add one line for a new kind."""

from typing import Final

CONSUMERS: Final = {
    "http": "keyturn.catalogue.consumers.http.HttpSettings",
    "aws-sqs": "keyturn.catalogue.consumers.aws.SqsSettings",
    "aws-sns": "keyturn.catalogue.consumers.aws.SnsSettings",
    "azure-service-bus": "keyturn.catalogue.consumers.azure.ServiceBusSettings",
    "gcp-pubsub": "keyturn.catalogue.consumers.gcp.PubSubSettings",
    "process": "keyturn.catalogue.consumers.process.ProcessSettings",
    "redis": "keyturn.catalogue.consumers.redis.RedisChannelSettings",
}
"""Paths of the settings classes, which name their adapters."""

DEFAULT: Final = "http"
