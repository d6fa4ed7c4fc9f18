"""What every other package builds on. Imports nothing of lcm_daemon but itself."""
