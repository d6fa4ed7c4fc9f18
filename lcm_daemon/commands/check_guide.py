"""What `check` says of a show whose guide is wanted but absent."""

from __future__ import annotations

from lcm_daemon.shows.show import Show


def without_guide(show: Show) -> list[str]:
    """One line for everything that has no effect because the show has no guide and can be given none."""
    if show.can_guide:
        return []
    recipes = {recipe.name: recipe for recipe in (show.recipe, *show.recipes.values())}
    wanted = [f"the ControlNet {control.name} of {recipe.name}" for recipe in recipes.values()
              for control in recipe.controlnets if control.source == "guide"]
    if float(show.start_values(show.recipe)["inpaint"]) > 0.0:
        wanted.append("inpaint")
    wanted += [f"inpaint in cue {cue.name}" for cue in show.cues if float(cue.values.get("inpaint", 0.0)) > 0.0]
    return [f"  guide    {one} has no effect: the show has no guide" for one in dict.fromkeys(wanted)]
