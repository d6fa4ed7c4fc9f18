"""What moves parameters without a hand on them: cues, modulation, tempo."""
