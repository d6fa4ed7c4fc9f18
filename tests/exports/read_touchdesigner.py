"""Reads the script of TouchDesigner: builds the component on the stand-in, moves and presses everything."""

from __future__ import annotations

from typing import Any

from tests.rigs.standin_touchdesigner import Par, World

OWN_PAGE = "Daemon"  # what starts programs or connects, but for the recipe and the picture that is sent


def addresses(data: bytes) -> list[tuple[str, list[Any]]]:
    """Every message that the component sends."""
    world = World()
    comp = world.run_script(data.decode("utf-8"))
    world.frame()
    world.taken()
    for par in comp.customPars:
        if par.page.name == OWN_PAGE and par.label != "Send this picture":
            continue
        if par.isPulse:
            par.pulse()
        else:
            par.val = _other(par)
    world.frame()
    return world.taken()


def _other(par: Par) -> Any:
    """A value of a parameter that it does not have now."""
    if par.style == "Menu":
        return next(name for name in par.menuNames if name != par.eval())
    if par.style == "Str":
        return f"{par.label} 2"
    if par.style == "Toggle":
        return not par.eval()
    middle = par.min + (min(par.max, 100.0) - par.min) / 2
    return middle if par.eval() != middle else par.min + (par.max - par.min) / 4
