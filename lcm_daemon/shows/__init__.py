"""Shows: reading and checking show files."""
