"""The catalogue's tests; ``broken`` holds catalogues with mistakes, and beside each what is to be said of it."""
