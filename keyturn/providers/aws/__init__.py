"""Amazon Web Services: stores, and access keys of IAM users."""
