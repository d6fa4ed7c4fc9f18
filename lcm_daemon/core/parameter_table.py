"""The parameters that every recipe has."""

from __future__ import annotations

from lcm_daemon.core.parameters import Parameter, Table, table_of

TABLE: Table = table_of([
    Parameter("prompt", "text", "clouds", "What the picture becomes; `ocean::0.7 lava::0.3` mixes, "
              "`(word:1.3)` stresses.", glided_by="prompt_glide"),
    Parameter("prompt_b", "text", "", "A second prompt, which `blend` fades to.", glided_by="prompt_glide"),
    Parameter("blend", "float", 0.0, "From prompt (0) to prompt_b (1).", 0.0, 1.0),
    Parameter("negative_prompt", "text", "", "What it should not become; needs guidance above 1 in the model.",
              glided_by="prompt_glide"),
    Parameter("prompt_glide", "float", 0.0, "Seconds in which a new prompt is reached.", 0.0, 600.0, "s"),
    Parameter("strength", "float", 0.6, "How far the input is repainted: 0 keeps it, 1 forgets it.", 0.0, 1.0),
    Parameter("steps", "int", 2, "Denoising steps a frame: fewer are faster, more are cleaner.", 1, 8, "steps"),
    Parameter("seed", "int", 0, "Which noise the picture grows from.", 0, 2**32 - 1, glided_by="seed_glide"),
    Parameter("seed_glide", "float", 0.0, "Seconds in which a new seed is reached.", 0.0, 600.0, "s"),
    Parameter("noise", "choice", "fixed", "The seed's noise stands still, or walks on to the next seeds.",
              choices=("fixed", "walking")),
    Parameter("noise_speed", "float", 0.2, "Seeds a second that walking noise passes.", 0.0, 10.0),
    Parameter("guidance", "float", 1.0, "How firmly the prompt is followed, where the model has it.", 0.0, 20.0),
    Parameter("mode", "choice", "image", "Repaint the input (image), paint from the prompt alone (text), or from the "
              "prompt along the input's shapes, where the recipe has a ControlNet (control).",
              choices=("image", "text", "control")),
    Parameter("feedback", "float", 0.0, "How much of the last picture goes into the next input.", 0.0, 0.95),
    Parameter("smooth", "float", 0.0, "How much of the last latents stays in the next ones.", 0.0, 0.95),
    Parameter("similarity_skip", "float", 0.0, "Do not paint again while the input differs less than this from the one "
              "last painted (mean of 255 levels); 0 paints always.", 0.0, 20.0),
    Parameter("mix", "float", 1.0, "Rendered picture over the input: 0 is the input, 1 is the render.", 0.0, 1.0),
    Parameter("master", "float", 1.0, "Brightness of the output: 1 as it is, 0 is black.", 0.0, 1.0),
    Parameter("freeze", "bool", False, "Hold the picture that is out now."),
])
