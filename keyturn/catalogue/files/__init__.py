"""The YAML files of a catalogue: reading, signing, indexing and appending."""
