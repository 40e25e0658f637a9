"""What all reports for people share: pages, words and files."""
