"""The catalogue's tests; ``broken`` holds invalid catalogues with their expected errors."""
