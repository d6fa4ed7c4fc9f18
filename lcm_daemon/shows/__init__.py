"""Show files: read, checked, frozen."""
