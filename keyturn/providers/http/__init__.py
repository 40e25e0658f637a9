"""Any REST API as a target, and notices to applications."""
