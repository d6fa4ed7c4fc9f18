"""MIDI devices."""
