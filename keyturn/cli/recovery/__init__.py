"""Commands for disaster recovery: backup, restore and failover."""
