"""Google Cloud: Secret Manager, service account keys, Pub/Sub and Cloud Storage."""
