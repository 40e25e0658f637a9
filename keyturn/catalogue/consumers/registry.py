"""The ways there are of telling a consumer: to add one, add a line."""

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
"""The settings of each kind of consumer, by the name of their class; they name the adapter in turn."""

DEFAULT: Final = "http"
"""The kind of a consumer that says none."""
