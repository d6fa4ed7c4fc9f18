"""What a language model makes of a text that a user says in a chat, for families whose prompts are such texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lcm_daemon.pipelines.prompt_syntax import emphases, without_breaks


def read_chat_tokenizer(folder: Path) -> Any:
    """Read a tokenizer with its chat template from local files."""
    from transformers import AutoTokenizer  # the folder says of which class it is

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def tokenize_chat(tokenizer: Any, text: str, limit: int, thinking: bool,
                  padded: bool) -> tuple[Sequence[int], Sequence[int]]:
    """Tokenize one text of a prompt in the chat template. Its emphasis has no effect.

    Args:
        tokenizer: It has the template.
        text: One text, without `::`.
        limit: Most tokens; further ones are cut off.
        thinking: `enable_thinking` of the template.
        padded: Pad to `limit`.

    Returns:
        Token numbers, and the attention mask: 1, 0 for padding.
    """
    plain = "".join(piece for piece, _ in emphases(without_breaks(text).encode("utf-8", "replace").decode()))
    chat = tokenizer.apply_chat_template([{"role": "user", "content": plain}], tokenize=False,
                                         add_generation_prompt=True, enable_thinking=thinking)
    encoded = tokenizer(chat, padding="max_length" if padded else False, truncation=True, max_length=limit)
    return encoded.input_ids, encoded.attention_mask


def hidden_states(model: Any, numbers: torch.Tensor, mask: torch.Tensor | None = None) -> Sequence[torch.Tensor]:
    """States (1, tokens, width) of a language model before its first layer and after each; the last ones are normed."""
    states: Sequence[torch.Tensor] = model(
        numbers, attention_mask=mask, output_hidden_states=True, use_cache=False).hidden_states
    return states
