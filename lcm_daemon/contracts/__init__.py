"""Contract tests: what every transport, pipeline, preprocessor and controller has to do.

The project's own tests and those of plugins call the same functions. A function raises AssertionError, with a text that
says what is wrong. They need no test framework. Nothing of the daemon imports this package.
"""
