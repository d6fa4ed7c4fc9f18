"""DMX over the network: Art-Net and sACN move parameters and start cues."""
