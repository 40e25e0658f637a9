"""What programs that can't import us are given: secrets in their environment, in files, and in files of their own."""
