"""Exports: files that other programs open to control a show, built from its parameters, commands and ends.

One module for each, with `build(surface) -> bytes`; `formats.py` lists them, `surface.py` is what they are built from.
"""
