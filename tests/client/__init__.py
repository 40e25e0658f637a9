"""What applications use, tested as they use it."""
