"""What every report that people read is made with: pages, words and files."""
