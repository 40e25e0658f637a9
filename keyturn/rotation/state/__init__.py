"""What features keep in the hub's state mount."""
