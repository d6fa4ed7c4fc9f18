"""The commands of `lcm-daemon` that are more than a few lines."""
