"""The types of value that people write into the catalogue, with errors in plain words."""
