"""What the local stack's servers have in common: files, ports, processes, certificates."""
