"""LanguagePrompts: prompts that a language model encodes, of a fixed number of tokens with a weight for each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from lcm_daemon.pipelines.components import Components
from lcm_daemon.pipelines.prompt_syntax import emphases, without_breaks
from lcm_daemon.pipelines.prompts import Embedding, PromptEncoder, TokenRows


class LanguagePrompts(PromptEncoder):
    """Encodes prompts with a language model.

    With CLIP, emphasis starts from the state that the empty prompt has at the place of a word. In a language model's
    states no such place exists: a word depends on the words before it. So emphasis is a weight of the attention that a
    token gets, as in Hertz et al., "Prompt-to-Prompt", arXiv:2208.01626, section 4 (attention re-weighting): 1 leaves
    it as it is, at 0 the word is absent. Padding has the weight 0, and where texts blend, the weights do so linearly.

    Args:
        parts: The model's parts, with one text encoder.
        length: Tokens in an embedding.
    """

    def __init__(self, parts: Components, length: int) -> None:
        super().__init__(parts)
        self._length = length

    @property
    def tokens(self) -> int:  # type: ignore[override]
        """Tokens in an embedding. Longer texts are truncated."""
        return self._length

    @torch.inference_mode()
    def run(self, rows: TokenRows) -> Embedding:
        """Embed one text. What it launches depends on the length of the text, so it must not be recorded."""
        model = self._encoders[0].model
        numbers, weights = rows.numbers[0], rows.factors[0]
        assert weights is not None
        states = self._select(self._encode_numbers(model, numbers)).to(self._dtype)
        missing = self._length - states.shape[1]
        # Padding repeats the last state, so that what it blends with another text's words is a state of words.
        return Embedding(torch.cat([states, states[:, -1:].expand(-1, missing, -1)], dim=1), weights=weights)

    @torch.inference_mode()
    def blend(self, texts: Embedding, shares: torch.Tensor) -> Embedding:
        assert texts.weights is not None
        return replace(super().blend(texts, shares), weights=shares[None] @ texts.weights)

    def zeros(self, count: int, chunks: int) -> Embedding:
        zeros = super().zeros(count, chunks)
        weights = torch.zeros(count, self._length, device=self._device)
        return replace(zeros, weights=weights)

    def _encode_numbers(self, model: Any, numbers: torch.Tensor) -> torch.Tensor:
        """States (1, n, width) of n tokens."""
        states: torch.Tensor = model(numbers, use_cache=False).last_hidden_state
        return states

    @abstractmethod
    def _select(self, states: torch.Tensor) -> torch.Tensor:
        """The states (1, m, width) of an embedding, m at most `tokens`, among those of all tokens."""

    def _weighted_tokens(self, before: str, text: str, after: str, limit: int) -> tuple[list[int], list[float]]:
        """Tokenize a text with emphasis between two pieces without.

        limit: Most tokens of the whole.

        Returns:
            Token numbers, and the weight of each.
        """
        pieces = [(before, 1.0), *self._pieces(text), (after, 1.0)]
        encoded = self._encoders[0].tokenizer(
            "".join(piece for piece, _ in pieces), truncation=True, max_length=limit, return_offsets_mapping=True)
        ends, end = [], 0
        for piece, _ in pieces:
            ends.append(end := end + len(piece))
        return encoded.input_ids, [_weight_at(last, ends, [weight for _, weight in pieces])
                                   for _, last in encoded.offset_mapping]

    def _pieces(self, text: str) -> Sequence[tuple[str, float]]:
        """A text as the language model is given it, in pieces with their emphasis."""
        return emphases(without_breaks(text).encode("utf-8", "replace").decode())  # tokenizers refuse surrogates

    def _token_rows(self, numbers: Sequence[int], weights: Sequence[float]) -> TokenRows:
        """Rows of one text. weights: those of the tokens that `_select` keeps."""
        padded = [max(weight, 0.0) for weight in weights] + [0.0] * (self._length - len(weights))
        return TokenRows((torch.tensor([numbers]),), (torch.tensor([padded]),), 1)


def _weight_at(last: int, ends: Sequence[int], weights: Sequence[float]) -> float:
    """The weight of the piece in which a token ends. last: The position after the token's last letter; 0 for special
    tokens, which do not belong to the text."""
    return next((weight for end, weight in zip(ends, weights, strict=True) if last and last <= end), 1.0)
