"""Child processes: how they start, talk to the stage, and log."""
