"""An emulator of Google Cloud Secret Manager (v1, gRPC) for machines without a cloud account.

It speaks the SDK's own messages and refuses what the service refuses. Unlike the service it lists without
delay, evaluates no IAM conditions, and knows neither regional secrets, customer-managed keys, Pub/Sub topics
nor rotation schedules: what asks for those is answered UNIMPLEMENTED or INVALID_ARGUMENT.
"""
