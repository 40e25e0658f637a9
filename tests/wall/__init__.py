"""What must be refused, shown by somebody who tries it."""
