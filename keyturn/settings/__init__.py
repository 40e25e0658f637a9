"""The kinds of value that people write into the catalogue, and what is wrong with one, in plain words."""
