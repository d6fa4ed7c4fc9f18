"""The MIDI controller: devices, maps, feedback, MIDI clock."""
