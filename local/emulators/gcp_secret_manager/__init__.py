"""An emulator of Google Cloud Secret Manager (v1, gRPC) for machines without a cloud account.

It speaks the SDK's own messages and refuses what the service refuses. Unlike the service it lists without
delay, answers for the global endpoint and every regional one at one address, takes any customer-managed key of a
regional secret's location for one that may be used, evaluates no IAM policies (a test may say what whoever calls may
do), and knows neither such keys of global
secrets, Pub/Sub topics nor rotation schedules: what asks for those is answered UNIMPLEMENTED or INVALID_ARGUMENT.
"""
