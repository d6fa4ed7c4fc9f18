"""The parameters that every recipe has, in the order in which they are shown."""

from __future__ import annotations

from lcm_daemon.core.needs import Condition, Need
from lcm_daemon.core.parameters import Parameter, Table, table_of

IMAGE_MODE = Need("mode is not image", (Condition("mode", values=("image",)),))
_INPUT_MODE = Need("mode is text", (Condition("mode", values=("image", "control")),))
_STANDING_NOISE = Need("the noise walks", (Condition("noise", values=("fixed",)), Condition("noise_speed", below=1e-6)))

TABLE: Table = table_of([
    Parameter("prompt", "text", "clouds", "What to render; `ocean::0.7 lava::0.3` mixes prompts, `(word:1.3)` "
              "emphasizes a word.", glided_by="prompt_glide", group="Prompt"),
    Parameter("prompt_b", "text", "", "A second prompt, which `blend` fades to.", glided_by="prompt_glide",
              group="Prompt", needs=(Need("blend is 0", (Condition("blend", above=0.0),)),)),
    Parameter("blend", "float", 0.0, "Fade from prompt (0) to prompt_b (1).", 0.0, 1.0, group="Prompt",
              needs=(Need("prompt B is empty", (Condition("prompt_b", filled=True),)),)),
    Parameter("negative_prompt", "text", "", "What not to render; needs a model with guidance above 1.",
              glided_by="prompt_glide", group="Prompt",
              needs=(Need("guidance is 1 or lower", (Condition("guidance", above=1.0),)),)),
    Parameter("prompt_glide", "float", 0.0, "Seconds that a new prompt takes to arrive.", 0.0, 600.0, "s",
              group="Prompt", logarithmic=True),
    Parameter("strength", "float", 0.6, "How much of the input is replaced: 0 keeps it, 1 ignores it.", 0.0, 1.0,
              group="Play", needs=(IMAGE_MODE,)),
    Parameter("mix", "float", 1.0, "Fade from the input (0) to the rendered frame (1).", 0.0, 1.0, group="Play"),
    Parameter("feedback", "float", 0.0, "How much of the last output is mixed into the next input.", 0.0, 0.95,
              group="Play", needs=(IMAGE_MODE,)),
    Parameter("smooth", "float", 0.0, "How much of the last latents is mixed into the next ones.", 0.0, 0.95,
              group="Play"),
    Parameter("steady", "float", 0.0, "How much the last output, moved as the input has moved, holds the next one "
              "steady; real changes show at once.", 0.0, 1.0, group="Play", needs=(_INPUT_MODE,)),
    Parameter("inpaint", "float", 0.0, "How much of the input stays where the guide is black; what it shows white is "
              "repainted. 0 repaints everything; without a guide nothing stays.", 0.0, 1.0, group="Play",
              needs=(IMAGE_MODE,)),
    Parameter("seed", "int", 0, "Number of the noise that a frame starts from; -1 draws one.", 0, 2**32 - 1,
              glided_by="seed_glide", group="Play", draws=True),
    Parameter("seed_lock", "bool", False, "Keep the seed: cues and looks do not change it.", group="Play",
              recorded=False),
    Parameter("seed_glide", "float", 0.0, "Seconds that a new seed takes to arrive.", 0.0, 600.0, "s", group="Play",
              logarithmic=True),
    Parameter("noise", "choice", "fixed", "The seed's noise stays the same, or walks on to the next seeds.",
              choices=("fixed", "walking"), group="Play"),
    Parameter("noise_speed", "float", 0.2, "Seeds per second that walking noise passes.", 0.0, 10.0, group="Play",
              needs=(Need("noise is fixed", (Condition("noise", values=("walking",)),)),)),
    Parameter("mode", "choice", "image", "Render from the input (image), from the prompt alone (text), or from the "
              "prompt and the input's shapes, if the recipe has a ControlNet (control).",
              choices=("image", "text", "control"), group="Play"),
    Parameter("master", "float", 1.0, "Brightness of the output: 1 is full, 0 is black.", 0.0, 1.0, group="Master"),
    Parameter("freeze", "bool", False, "Hold the current output.", group="Master"),
    Parameter("blackout", "bool", False, "Show black, without a change of master. Cues and looks leave it as it is.",
              group="Master", recorded=False),
    Parameter("steps", "int", 2, "Denoising steps per frame: fewer are faster, more are cleaner.", 1, 8, "steps",
              group="Model"),
    Parameter("guidance", "float", 1.0, "How closely the prompt is followed, if the model supports it.", 0.0, 20.0,
              group="Model"),
    Parameter("similarity_skip", "float", 0.0, "Skip rendering while the input differs less than this from the last "
              "rendered one (mean of 255 levels); 0 renders every frame.", 0.0, 20.0, group="Model",
              needs=(_STANDING_NOISE,)),
    Parameter("upscale", "int", 1, "How much a network enlarges the rendered picture before it is scaled to the "
              "output's size; 1 is off. Nothing happens while the output is not larger than the rendered picture.",
              1, 4, "times", group="Model"),
    Parameter("interpolate", "int", 1, "Pictures shown for each rendered one: those between two are made along the "
              "motion, as many as the output's rate has room for; 1 is off. With 2 the output is half a rendered frame "
              "later, with 4 three quarters.", 1, 4, "pictures", group="Model"),
])
