"""Programs that live on secrets of Keyturn, to copy from."""
