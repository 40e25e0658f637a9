"""Recipes: YAML files with the settings of one kind of credential, one store or one workload identity."""

from keyturn.catalogue.recipes.expand import expand_recipes
from keyturn.catalogue.recipes.library import IdentityLibrary, Library, StoreLibrary
from keyturn.catalogue.recipes.model import IdentityRecipe, Recipe, StoreRecipe

__all__ = [
    "IdentityLibrary",
    "IdentityRecipe",
    "Library",
    "Recipe",
    "StoreLibrary",
    "StoreRecipe",
    "expand_recipes",
]
