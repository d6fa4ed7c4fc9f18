"""How far an engine has come that loads, by what it says."""

from __future__ import annotations

# The first words of what an engine says while it loads, in their order, and the share of the work that is done then.
# A text encoder and a UNet are most of the bytes; compilers and the first frames take most of the rest.
_STEPS = (
    ("starting", 0.02), ("loading schedule", 0.12), ("loading tokenizer", 0.14), ("loading text encoder", 0.16),
    ("loading unet", 0.35), ("loading vae", 0.55), ("loading controlnet", 0.6), ("loading", 0.05),
    ("making", 0.3), ("preparing", 0.65), ("compiling", 0.7), ("recording", 0.8), ("warming up", 0.85), ("warm", 0.95),
)


def loaded_share(state: str) -> float:
    """The share of an engine's loading that is done, 0 to 1; 1 if it does not load.

    Args:
        state: What it says of itself, such as "loading unet" or "rendering".
    """
    return next((share for words, share in _STEPS if state.startswith(words)), 1.0)
