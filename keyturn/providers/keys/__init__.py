"""Keys and certificates, made and read in this process."""
