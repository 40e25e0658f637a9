"""Rights and policies as data, and their rendering in each system's policy language."""
