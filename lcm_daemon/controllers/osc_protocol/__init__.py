"""What OSC and OSCQuery share: packet check, message encoding, and the effect of a message on the control state."""
