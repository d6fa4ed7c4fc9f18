"""Small random checkpoints of families that are not Stable Diffusion, in the real folder layout, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from diffusers import (
        AutoencoderDC,
        AutoencoderKL,
        AutoencoderKLFlux2,
        Flux2Transformer2DModel,
        SanaTransformer2DModel,
        ZImageTransformer2DModel,
    )
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import (
        Gemma2Config,
        Gemma2Model,
        GemmaTokenizer,
        Qwen2Tokenizer,
        Qwen3Config,
        Qwen3ForCausalLM,
    )

SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
# As Qwen's, as far as one message of a user goes.
CHAT = ("{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% if not enable_thinking %}<think>\n\n</think>\n\n"
        "{% endif %}{% endif %}")
BLOCKS = 4


def write_gemma_tokenizer(folder: Path) -> int:
    """A tokenizer of Gemma's kind, of letters and a few merges; returns the size of its vocabulary."""
    letters = [chr(code) for code in range(33, 127)] + ["▁", "\n"]
    merges = [("r", "e"), ("re", "d"), ("▁", "l"), ("▁l", "a"), ("u", "s"), ("us", "e"), ("use", "r")]
    words = [*SPECIAL, *letters, *(first + second for first, second in merges)]
    vocabulary = {word: number for number, word in enumerate(words)}
    GemmaTokenizer(vocab=vocabulary, merges=merges).save_pretrained(folder)
    return len(words)


def write_sana_sprint(folder: Path, seed: int = 0) -> Path:
    """A whole diffusers folder of SANA-Sprint with random weights: 64x64 pixels to 2x2 latents."""
    torch.manual_seed(seed)
    vocabulary = write_gemma_tokenizer(folder / "tokenizer")
    Gemma2Model(Gemma2Config(
        vocab_size=vocabulary, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, sliding_window=4096)).save_pretrained(folder / "text_encoder")
    SanaTransformer2DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=2,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16, caption_channels=16,
        sample_size=32, guidance_embeds=True, qk_norm="rms_norm_across_heads").save_pretrained(folder / "transformer")
    make_deep_vae().save_pretrained(folder / "vae")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(
        {"_class_name": "SCMScheduler", "num_train_timesteps": 1000, "prediction_type": "trigflow", "sigma_data": 0.5}))
    return folder


def make_deep_vae() -> Any:
    """Thirty-two pixels to one latent, like SANA's."""
    vae = AutoencoderDC(
        latent_channels=4, attention_head_dim=8,
        encoder_block_types=("ResBlock",) * 5 + ("EfficientViTBlock",),
        decoder_block_types=("ResBlock",) * 5 + ("EfficientViTBlock",),
        encoder_block_out_channels=(8,) * 6, decoder_block_out_channels=(8,) * 6, encoder_layers_per_block=(1,) * 6,
        decoder_layers_per_block=(1,) * 6, encoder_qkv_multiscales=((),) * 5 + ((5,),),
        decoder_qkv_multiscales=((),) * 5 + ((5,),), downsample_block_type="Conv", upsample_block_type="interpolate",
        scaling_factor=0.41407)
    with torch.no_grad():  # contrast that stays within what bytes can show
        vae.decoder.conv_out.weight.mul_(0.5)
    return vae


def write_qwen(folder: Path, layers: int = 7) -> int:
    """The tokenizer and the text encoder of FLUX.2 klein and Z-Image; returns the width of the encoder."""
    words = [*sorted(ByteLevel.alphabet()), "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    Qwen2Tokenizer(
        vocab={word: number for number, word in enumerate(words)}, merges=[], chat_template=CHAT,
        additional_special_tokens=["<|im_start|>", "<|im_end|>"]).save_pretrained(folder / "tokenizer")
    Qwen3ForCausalLM(Qwen3Config(
        vocab_size=len(words), hidden_size=8, intermediate_size=16, num_hidden_layers=layers, num_attention_heads=2,
        num_key_value_heads=1, head_dim=4, initializer_range=0.3)).save_pretrained(folder / "text_encoder")
    return 8


def write_flux2_klein(folder: Path, seed: int = 0) -> Path:
    """A whole diffusers folder of FLUX.2 klein with random weights: 64x64 pixels to 4x4 tokens."""
    torch.manual_seed(seed)
    width = write_qwen(folder)
    transformer = Flux2Transformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=3 * width, timestep_guidance_channels=32, axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False)
    with torch.no_grad():  # else neither prompt nor reference would show
        for name, weight in transformer.named_parameters():
            weight.mul_(4.0 if "modulation" in name or "attn.to_" in name else 1.0)
    transformer.save_pretrained(folder / "transformer")
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * BLOCKS, up_block_types=("UpDecoderBlock2D",) * BLOCKS,
        block_out_channels=(8,) * BLOCKS, layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=64)
    with torch.no_grad():  # contrast that stays within what bytes can show
        vae.bn.running_mean.normal_(std=0.2)
        vae.bn.running_var.uniform_(0.5, 1.5)
        vae.encoder.conv_out.weight.mul_(4.0)
    vae.save_pretrained(folder / "vae")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0,
         "use_dynamic_shifting": True, "time_shift_type": "exponential"}))
    return folder


def write_z_image(folder: Path, seed: int = 0) -> Path:
    """A whole diffusers folder of Z-Image-Turbo with random weights: 64x64 pixels to 4x4 tokens."""
    torch.manual_seed(seed)
    width = write_qwen(folder, layers=3)
    transformer = ZImageTransformer2DModel(
        in_channels=4, dim=24, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=width,
        axes_dims=[4, 4, 4], axes_lens=[1024, 64, 64])
    with torch.no_grad():
        for pad in (transformer.x_pad_token, transformer.cap_pad_token):
            pad.normal_()
        for layer in transformer.all_final_layer.values():
            layer.linear.weight.mul_(4.0)
    transformer.save_pretrained(folder / "transformer")
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * BLOCKS, up_block_types=("UpDecoderBlock2D",) * BLOCKS,
        block_out_channels=(8,) * BLOCKS, latent_channels=4, norm_num_groups=4, scaling_factor=0.3611,
        shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False)
    with torch.no_grad():
        vae.encoder.conv_out.weight.mul_(4.0)
    vae.save_pretrained(folder / "vae")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0,
         "use_dynamic_shifting": False}))
    return folder
