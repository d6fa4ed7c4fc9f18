"""The blocks of diffusers' models with fewer kernels, for CUDA without torch.compile.

In eager mode each operation is a kernel that reads and writes whole images. What these blocks save:

- GroupNorm, SiLU, the time embedding and the bias of the convolution before it are one kernel or two (`group_norm.py`),
  and images keep their layout. torch's convolution on CUDA adds its bias in a kernel of its own (`_convolution` in
  ATen/native/Convolution.cpp), so the biases move to the kernel that follows.
- The division by `output_scale_factor` or `rescale_output_factor` is left away where it is 1.
- GEGLU is one kernel.
- A convolution with ReLU, and one with a sum and ReLU, are one kernel of cuDNN each.

Each block keeps the layers of the original and has its results, up to the rounding of values that it does not store.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_blocks import AutoencoderTinyBlock
from torch import Tensor, nn
from torch.nn import functional

from lcm_daemon.pipelines import structure
from lcm_daemon.pipelines.group_norm import GroupNorm, channels_last


def fuse(module: nn.Module, has_triton: bool) -> int:
    """Replace all blocks that are known here, in a structural copy, in place.

    Args:
        module: the copy.
        has_triton: whether Triton compiles kernels on this machine.

    Returns:
        Number of replaced blocks.
    """
    found = structure.replace(module, _fused if has_triton else _fused_without_triton)
    found += _fuse_ends(module)
    for layer in module.modules():
        if type(getattr(layer, "processor", None)) is AttnProcessor2_0:
            layer.processor = FusedAttention()  # type: ignore[assignment]
            found += 1
    return found


def _fused(layer: nn.Module) -> nn.Module | None:
    if type(layer) is ResnetBlock2D and _is_plain_resnet(layer):
        return FusedResnet(layer)
    if type(layer) is GEGLU:
        return FusedGeglu(layer)
    if type(layer) is nn.GroupNorm and GroupNorm.fits(layer):
        return GroupNorm(layer)
    return _fused_without_triton(layer)


def _fused_without_triton(layer: nn.Module) -> nn.Module | None:
    if type(layer) is AutoencoderTinyBlock and _is_relu_block(layer):
        return FusedTinyBlock(layer)
    if type(layer) is Transformer2DModel and layer.is_input_continuous:
        _keep_layout(layer)
    return None


class FusedResnet(nn.Module):
    """A `ResnetBlock2D`: two convolutions, each behind GroupNorm and SiLU, and a sum."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block
        self.norm1 = GroupNorm(block.norm1, silu=True)
        self.norm2 = GroupNorm(block.norm2, silu=True, bias=block.conv1.bias)
        self._scale = float(block.output_scale_factor)

    def forward(self, image: Tensor, temb: Tensor | None = None, *arguments: Any, **named: Any) -> Tensor:
        """Map (n, channels, h, w) to (n, outputs, h, w). temb: (n, width), the time embedding."""
        from lcm_daemon.pipelines import fused_kernels

        block = self.block
        shift = None
        if block.time_emb_proj is not None:
            shift = block.time_emb_proj(temb if block.skip_time_act else block.nonlinearity(temb))
        hidden = self.norm2(without_bias(block.conv1, self.norm1(image)), shift)
        hidden = channels_last(without_bias(block.conv2, hidden))
        shortcut, second = channels_last(image), None
        if block.conv_shortcut is not None:
            shortcut, second = channels_last(without_bias(block.conv_shortcut, image)), block.conv_shortcut.bias
        total = fused_kernels.add(shortcut, hidden, block.conv2.bias, second)
        return total if self._scale == 1.0 else total / self._scale


class FusedGeglu(nn.Module):
    """A `GEGLU`: a linear layer and a gate."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.proj = layer.proj

    def forward(self, hidden: Tensor, *arguments: Any, **named: Any) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        from lcm_daemon.pipelines import fused_kernels

        return fused_kernels.geglu(self.proj(hidden))


class FusedTinyBlock(nn.Module):
    """An `AutoencoderTinyBlock`: three convolutions, each with ReLU, the last one with a sum as well."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block

    def forward(self, image: Tensor) -> Tensor:
        first, second, third = self.block.conv[0], self.block.conv[2], self.block.conv[4]
        hidden = _convolve_relu(second, _convolve_relu(first, image))
        return torch.cudnn_convolution_add_relu(hidden, third.weight, self.block.skip(image), 1.0, third.bias,
                                                third.stride, third.padding, third.dilation, third.groups)


class FusedAttention:
    """diffusers' `AttnProcessor2_0` without the division by a factor of 1, and without what images alone need."""

    def __init__(self) -> None:
        self._plain = AttnProcessor2_0()

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
                 attention_mask: Tensor | None = None, temb: Tensor | None = None, *arguments: Any,
                 **named: Any) -> Tensor:
        """Called as `AttnProcessor2_0`, which does what is not the rule in a UNet."""
        is_usual = (hidden_states.ndim == 3 and attention_mask is None and attn.spatial_norm is None
                    and attn.group_norm is None and not attn.norm_cross and attn.rescale_output_factor == 1.0
                    and attn.norm_q is None and attn.norm_k is None)
        if not is_usual:
            output: Tensor = self._plain(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
            return output
        states = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (_split(layer(tensor), attn.heads) for layer, tensor in (
            (attn.to_q, hidden_states), (attn.to_k, states), (attn.to_v, states)))
        mixed = functional.scaled_dot_product_attention(query, key, value)
        output = attn.to_out[0](mixed.transpose(1, 2).flatten(2))
        return output + hidden_states if attn.residual_connection else output


def without_bias(layer: nn.Conv2d, image: Tensor) -> Tensor:
    """Convolve, and leave the bias to what follows."""
    return functional.conv2d(image, layer.weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)


def _convolve_relu(layer: Any, image: Tensor) -> Tensor:
    return torch.cudnn_convolution_relu(image, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation,
                                        layer.groups)


def _split(tensor: Tensor, heads: int) -> Tensor:
    """(n, tokens, width) as (n, heads, tokens, width / heads)."""
    return tensor.view(*tensor.shape[:2], heads, -1).transpose(1, 2)


def _is_plain_resnet(block: Any) -> bool:
    kinds = ("default", "group") if block.time_emb_proj is None else ("default",)  # "group" is that of VAE decoders
    return (block.upsample is None and block.downsample is None and block.time_embedding_norm in kinds
            and isinstance(block.nonlinearity, nn.SiLU) and block.dropout.p == 0.0
            and GroupNorm.fits(block.norm1) and GroupNorm.fits(block.norm2)
            and _is_biased(block.conv1) and _is_biased(block.conv2)
            and (block.conv_shortcut is None or _is_biased(block.conv_shortcut)))


def _is_biased(layer: nn.Module) -> bool:
    return type(layer) is nn.Conv2d and layer.bias is not None and layer.padding_mode == "zeros"


def _is_relu_block(block: Any) -> bool:
    """Whether cuDNN has a kernel for it. MIOpen, on AMD cards, has another one."""
    return (torch.version.hip is None and isinstance(block.conv[1], nn.ReLU)
            and all(_is_biased(block.conv[index]) for index in (0, 2, 4)))


def _fuse_ends(module: nn.Module) -> int:
    """Models end with a norm, an activation and a convolution: UNet, VAE encoder, VAE decoder."""
    found = 0
    for layer in module.modules():
        norm, activation = getattr(layer, "conv_norm_out", None), getattr(layer, "conv_act", None)
        if isinstance(norm, GroupNorm) and isinstance(activation, nn.SiLU):
            layer.conv_norm_out, layer.conv_act = GroupNorm(norm.norm, silu=True), nn.Identity()
            found += 1
    return found


def _keep_layout(block: Any) -> None:
    """Let a `Transformer2DModel` return its image as it is: diffusers copies it to another layout before the sum."""
    block._get_output_for_continuous_inputs = _OutputOfTransformer(block)


class _OutputOfTransformer:
    """The method `_get_output_for_continuous_inputs` without `contiguous()`."""

    def __init__(self, block: Any) -> None:
        self._block = block

    def __call__(self, hidden_states: Tensor, residual: Tensor, batch_size: int, height: int, width: int,
                 inner_dim: int) -> Tensor:
        projection, is_linear = self._block.proj_out, self._block.use_linear_projection
        if is_linear:
            hidden_states = projection(hidden_states)
        image = hidden_states.view(batch_size, height, width, -1).permute(0, 3, 1, 2)
        output: Tensor = (image if is_linear else projection(image)) + residual
        return output
