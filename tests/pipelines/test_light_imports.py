"""An engine's imports, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lcm_daemon.pipelines import WITHOUT_TORCH
from lcm_daemon.pipelines.light_imports import light_imports

WARM = """
import sys
from lcm_daemon.pipelines import warm_imports
from lcm_daemon.pipelines.deferred_modules import load_all, waiting
warm_imports("latent_consistency")
"""
AFTERWARDS = """
assert "diffusers" in sys.modules and "transformers" in sys.modules
of_families = {f"lcm_daemon.pipelines.{name}" for name in ("stable_diffusion", "sana", "flux2", "z_image")}
assert of_families & set(sys.modules) == {"lcm_daemon.pipelines.stable_diffusion"}, "the usual family, and no other"
assert not {"peft", "scipy"} & set(sys.modules), "imported, or still hidden"
assert "torch._dynamo" in waiting() and "diffusers.models.transformers" in waiting()
assert not {"sympy", "torch._inductor", "diffusers.models.transformers.transformer_flux"} & set(sys.modules)
from diffusers.utils import is_peft_available, is_scipy_available
assert is_peft_available() and is_scipy_available()
import torch.distributed
assert torch.distributed.is_available()
from diffusers.models.transformers import FluxTransformer2DModel, Transformer2DModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel as same
assert Transformer2DModel is same and FluxTransformer2DModel.__name__ == "FluxTransformer2DModel"
import transformers
from transformers import CLIPTextModel, GenerationConfig
from transformers.models.clip.modeling_clip import CLIPTextModel as same
assert CLIPTextModel is same and type(GenerationConfig()).__name__ == "GenerationConfig"
assert transformers.utils.is_scipy_available() and transformers.utils.is_peft_available()
import scipy.ndimage
load_all()
assert not waiting()
print("done")
"""
COMPILE = """
import torch
from diffusers.models.attention import BasicTransformerBlock
block = BasicTransformerBlock(16, 1, 16)
assert "torch._dynamo" in waiting()
states = torch.randn(1, 4, 16)
plain = torch.compiler.disable(reason="test")(lambda text: text + "!")
assert plain("a") == "a!" and "torch._dynamo" in waiting()
compiled = torch.compile(block, backend="eager")
assert torch.allclose(compiled(states), block(states)) and "torch._dynamo" not in waiting()
from torch._dynamo import trace_rules
assert id(BasicTransformerBlock) in trace_rules._allowed_callable_ids.function_ids, "the mark was not applied"
assert plain("a") == "a!"
print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("code", [AFTERWARDS, COMPILE])
def test_an_engine_imports_little_and_finds_the_rest_later(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", WARM + code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.strip(), done.returncode) == ("done", 0), done.stderr


@pytest.mark.slow
def test_a_pipeline_without_a_model_imports_no_torch() -> None:
    code = "import sys\nfrom lcm_daemon.pipelines import warm_imports\n"
    code += "".join(f"warm_imports({name!r})\n" for name in WITHOUT_TORCH)
    code += "assert not {'torch', 'transformers', 'diffusers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


def test_what_is_imported_already_stays() -> None:
    import scipy

    with light_imports():
        assert sys.modules["scipy"] is scipy
    assert sys.modules["scipy"] is scipy
