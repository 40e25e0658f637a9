"""What is odd beyond the scores: one file for each rule."""
