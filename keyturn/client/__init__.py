"""What an application uses to follow its secrets. Importing it loads no SDK."""
