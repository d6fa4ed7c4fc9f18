"""lcm-daemon: live textures in, repainted by a latent consistency model, live textures out."""

__version__ = "0.1.0"
