"""lcm-daemon: renders live textures with a latent consistency model and sends them on."""

__version__ = "0.2.0"
