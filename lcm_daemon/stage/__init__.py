"""The parent process: sources, tick, failsafe, sinks."""
