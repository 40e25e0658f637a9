"""Rights and policies as data, and how each system's policy language spells them."""
