"""Google Cloud: Secret Manager, and keys of service accounts."""
