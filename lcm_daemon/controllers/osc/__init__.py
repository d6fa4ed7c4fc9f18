"""The OSC controller: OSC over UDP and TCP."""
