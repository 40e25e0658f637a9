"""Tools of this repository: the release, the manual, pictures and generated files."""
