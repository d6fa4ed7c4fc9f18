"""Modules that every other package uses. They import nothing else of lcm_daemon."""
