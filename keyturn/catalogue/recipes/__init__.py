"""Recipes: YAML files that hold the settings of one kind of credential, or of one store, of one product."""

from keyturn.catalogue.recipes.expand import expand_recipes
from keyturn.catalogue.recipes.library import Library, StoreLibrary
from keyturn.catalogue.recipes.model import Recipe, StoreRecipe

__all__ = ["Library", "Recipe", "StoreLibrary", "StoreRecipe", "expand_recipes"]
