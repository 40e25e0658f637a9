"""Recipes: YAML files that hold the settings of a strategy and its target for one kind of credential of one product."""

from keyturn.catalogue.recipes.expand import expand_recipes
from keyturn.catalogue.recipes.library import Library
from keyturn.catalogue.recipes.model import Recipe

__all__ = ["Library", "Recipe", "expand_recipes"]
