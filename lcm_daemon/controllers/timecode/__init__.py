"""Timecode: decoders of MTC and LTC. Cues start at it, see `core/timecode_input` and `automation/timecode_schedule`."""
