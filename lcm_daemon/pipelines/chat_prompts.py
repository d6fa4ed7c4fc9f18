"""ChatPrompts: prompts that a language model encodes as what a user says in a chat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lcm_daemon.pipelines.components import Components
from lcm_daemon.pipelines.prompt_syntax import emphases, without_breaks
from lcm_daemon.pipelines.prompts import PromptEncoder


def read_chat_tokenizer(folder: Path) -> Any:
    """Read a tokenizer with its chat template from local files."""
    from transformers import AutoTokenizer  # the folder says of which class it is

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


class ChatPrompts(PromptEncoder):
    """Encodes prompts with a language model and its chat template, in one chunk. Emphasis has no effect.

    parts: The model's parts, with one text encoder.
    thinking: `enable_thinking` of the template.
    """

    def __init__(self, parts: Components, thinking: bool) -> None:
        super().__init__(parts)
        self._thinking = thinking

    def _tokenize_chat(self, text: str, limit: int, padded: bool) -> tuple[Sequence[int], Sequence[int]]:
        """Token numbers and the attention mask of a text in the template, truncated, and on demand padded."""
        plain = "".join(piece for piece, _ in emphases(without_breaks(text).encode("utf-8", "replace").decode()))
        tokenizer = self._encoders[0].tokenizer
        chat = tokenizer.apply_chat_template([{"role": "user", "content": plain}], tokenize=False,
                                             add_generation_prompt=True, enable_thinking=self._thinking)
        encoded = tokenizer(chat, padding="max_length" if padded else False, truncation=True, max_length=limit)
        return encoded.input_ids, encoded.attention_mask

    def _hidden_states(self, numbers: torch.Tensor, mask: torch.Tensor | None) -> Sequence[torch.Tensor]:
        """States (1, tokens, width) before the first layer and after each."""
        states: Sequence[torch.Tensor] = self._encoders[0].model(
            numbers, attention_mask=mask, output_hidden_states=True, use_cache=False).hidden_states
        return states
