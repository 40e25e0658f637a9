"""Evidence for auditors, collected automatically: requirements, findings, and provable rows."""
