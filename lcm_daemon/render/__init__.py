"""Engines, and which recipe they play."""
