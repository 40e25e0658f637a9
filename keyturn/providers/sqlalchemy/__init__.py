"""Engines of SQLAlchemy, as applications use them."""
