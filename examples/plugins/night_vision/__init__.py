"""A plugin of lcm-daemon: a source, a pipeline, a preprocessor and a controller."""
