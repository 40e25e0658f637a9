"""The library with which an application follows its secrets. Importing it loads no SDK."""
