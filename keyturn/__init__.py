"""Secret rotation and cross-cloud secret sync over a Vault or OpenBao hub; free of Prefect and of every SDK."""

__version__ = "0.2.0"
