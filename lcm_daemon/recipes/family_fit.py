"""Whether the weights of a recipe are for the family of its model, by the headers of the files that are here."""

from __future__ import annotations

from lcm_daemon.recipes.families import Family


def misfit(found: Family | None, model: Family | None) -> str:
    """Why a part does not fit a model, as in "it is for SDXL (context 2048), this model is SD 1.x (768)".

    Args:
        found: The family that the part is for; None if it does not tell.
        model: That of the model, likewise.

    Returns:
        The reason; "" if they fit, or if it is not known.
    """
    if found is None or model is None or found == model:
        return ""
    width = f" ({model.context})" if model.context else ""
    return f"it is for {found}, this model is {model.name}{width}"
