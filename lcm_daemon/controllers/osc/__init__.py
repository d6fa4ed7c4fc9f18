"""OSC over UDP and TCP."""
