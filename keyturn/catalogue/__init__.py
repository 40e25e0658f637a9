"""The catalogue: YAML files that declare every secret, its rotation, destinations and consumers."""

from keyturn.catalogue.choice import Classification
from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.files.load import examine_unresolved, find_problems, load_catalogue
from keyturn.catalogue.files.problems import CatalogueInvalid, Problem
from keyturn.catalogue.files.schema import schema
from keyturn.catalogue.models import Catalogue, Secret

__all__ = [
    "Catalogue",
    "CatalogueInvalid",
    "Classification",
    "Destination",
    "Problem",
    "Secret",
    "examine_unresolved",
    "find_problems",
    "load_catalogue",
    "schema",
]
