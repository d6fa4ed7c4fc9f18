"""LanguagePrompts: prompts that a language model encodes, in whole chunks of tokens with a weight for each token."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.nn import functional

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
        chunk: Tokens in a chunk. An embedding has a multiple of it.
    """

    def __init__(self, parts: Components, chunk: int) -> None:
        super().__init__(parts)
        self._chunk = chunk

    @property
    def tokens(self) -> int:
        """Tokens in a chunk."""
        return self._chunk

    @torch.inference_mode()
    def run(self, rows: TokenRows) -> Embedding:
        """Embed one text. What it launches depends on the length of the text, so it must not be recorded."""
        weights = rows.factors[0]
        assert weights is not None
        return _padded(Embedding(self._states(rows.numbers[0]).to(self._dtype), weights=weights), weights.shape[1])

    @torch.inference_mode()
    def blend(self, texts: Embedding, shares: torch.Tensor) -> Embedding:
        assert texts.weights is not None
        return replace(super().blend(texts, shares), weights=shares[None] @ texts.weights)

    def zeros(self, count: int, chunks: int) -> Embedding:
        return replace(super().zeros(count, chunks),
                       weights=torch.zeros(count, chunks * self._chunk, device=self._device))

    def pad(self, embedding: Embedding | None, empty: Embedding | None, chunks: int) -> Embedding:
        return self.zeros(1, chunks) if embedding is None else _padded(embedding, chunks * self._chunk)

    @abstractmethod
    def _states(self, numbers: torch.Tensor) -> torch.Tensor:
        """The states of an embedding, (1, m, width), by all token numbers of a text, (1, n)."""

    def _weighted_tokens(self, before: str, text: str, limit: int) -> tuple[list[int], list[float]]:
        """Tokenize a text with emphasis after a piece without.

        limit: Most tokens of both. Further ones are cut off.

        Returns:
            Token numbers, and the weight of each.
        """
        pieces = [(before, 1.0), *self._pieces(text)]
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
        """Rows of one text. weights: those of the tokens whose states `_states` gives."""
        chunks = math.ceil(len(weights) / self._chunk)
        padded = [max(weight, 0.0) for weight in weights] + [0.0] * (chunks * self._chunk - len(weights))
        return TokenRows((torch.tensor([numbers]),), (torch.tensor([padded]),), chunks)


def _padded(embedding: Embedding, tokens: int) -> Embedding:
    """Pad an embedding to a number of tokens.

    Padding repeats the last state. So what it blends with the words of another text is a state of words too.
    """
    states, weights = embedding.states, embedding.weights
    assert weights is not None
    last = states[:, -1:].expand(-1, tokens - states.shape[1], -1)
    return Embedding(torch.cat([states, last], dim=1),
                     weights=functional.pad(weights, (0, tokens - weights.shape[1])))


def _weight_at(last: int, ends: Sequence[int], weights: Sequence[float]) -> float:
    """The weight of the piece in which a token ends. last: The position after the token's last letter; 0 for special
    tokens, which do not belong to the text."""
    return next((weight for end, weight in zip(ends, weights, strict=True) if last and last <= end), 1.0)
