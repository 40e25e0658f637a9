"""Files of this machine as a store."""
