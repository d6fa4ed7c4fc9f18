"""What `lcm-daemon doctor SHOW` checks before a show opens, a module for each part."""
