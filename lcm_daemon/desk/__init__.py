"""The child process of the controllers, and its supervisor."""
