"""The audio input: its keys in a show, the device, what is measured in the sound; meter, tempo and timecode."""
