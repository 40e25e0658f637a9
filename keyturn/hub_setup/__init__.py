"""Setting up the hub: what a catalogue needs there, a plan of what is lacking or was changed, and doing that."""
