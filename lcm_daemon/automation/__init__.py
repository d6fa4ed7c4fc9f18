"""Automation: what moves parameters without a controller: cues, modulation and tempo."""
