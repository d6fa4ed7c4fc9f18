"""PromptEncoder: prompts to embeddings for the UNet. A text is encoded once; blends of texts need no encoder pass."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.components import Components, TextEncoder
from lcm_daemon.pipelines.prompt_chunks import Chunk, chunks_of
from lcm_daemon.pipelines.prompt_syntax import Texts, mix
from lcm_daemon.pipelines.upload import upload

TEXTS_CACHED = 64  # 0.3 MB each with SDXL in half precision
BLENDS_CACHED = 16  # prompts that do not change, for the frames after the first
CLIP_LENGTH = 77
CHUNKS_LIMIT = 4  # of CLIP_LENGTH tokens; the UNet's attention to the prompt grows with them
ROUNDS = 3  # of the spherical mean: within 0.001 of its limit for texts that are 80 degrees apart, else closer

Part = tuple[str, float]


@dataclass(frozen=True)
class TokenRows:
    """The tokens of one text, for each text encoder.

    numbers: int64 (rows, tokens), a row for each chunk, and a row of the empty prompt where words are emphasized.
    factors: float32 (rows - 1, tokens), the emphasis; None where no word is emphasized.
    chunks: chunks of the embedding.
    """

    numbers: tuple[torch.Tensor, ...]
    factors: tuple[torch.Tensor | None, ...]
    chunks: int

    @property
    def layout(self) -> tuple[tuple[int, bool], ...]:
        """Rows for each encoder, and whether words are emphasized. Equal ones launch the same operations."""
        return tuple((len(numbers), factors is not None)
                     for numbers, factors in zip(self.numbers, self.factors, strict=True))

    def to(self, device: torch.device) -> TokenRows:
        """Copy to the device."""
        return TokenRows(tuple(upload(each, device) for each in self.numbers),
                         tuple(None if each is None else upload(each, device) for each in self.factors), self.chunks)

    def clone_to(self, device: torch.device) -> TokenRows:
        """Copy to memory of its own on the device."""
        return TokenRows(tuple(each.clone() for each in self.numbers),
                         tuple(None if each is None else each.clone() for each in self.factors),
                         self.chunks).to(device)


@dataclass(frozen=True)
class Embedding:
    """Embedded prompts in the UNet's dtype. n is 1, or 2 for a pair.

    states: (n, tokens, width).
    pooled: (n, width), for SDXL.
    weights: (n, tokens), how much each token counts, for families that pad prompts: 1, 0 for padding.
    """

    states: torch.Tensor
    pooled: torch.Tensor | None = None
    weights: torch.Tensor | None = None


class PromptEncoder:
    """Encodes prompts with the text encoders of a model. The embeddings are shared; do not write to them.

    Plain texts give the same result as diffusers' `encode_prompt`: for one text encoder its last hidden state, for a
    model with a projection (SDXL) the last hidden state but one of every encoder, side by side, and the last encoder's
    pooled projection. Where diffusers truncates a text of more than 75 tokens, further chunks of 75 tokens are encoded
    separately and concatenated, as in stable-diffusion-webui. Encoders that take fewer than 77 tokens truncate.

    `Components.clip_skip` takes the states of an earlier layer, with the final layer norm where the last layer's have
    it: as diffusers' `clip_skip`, whose numbers are lower, by 1 for one text encoder and by 2 for SDXL.

    Raises:
        RecipeError: A text encoder has no such layer.
    """

    def __init__(self, parts: Components) -> None:
        self._encoders, self._skip = parts.text_encoders, parts.clip_skip
        for encoder in self._encoders if self._skip else ():
            if self._skip > (layers := int(encoder.model.config.num_hidden_layers)):
                raise RecipeError(f"clip_skip: {self._skip} is more than the text encoder's {layers} layers")
        self._device, self._dtype, self._force_zeros = parts.device, parts.dtype, parts.force_zeros
        self._projected = any(hasattr(encoder.model, "text_projection") for encoder in self._encoders)
        self._widths = [int(encoder.model.config.hidden_size) for encoder in self._encoders]
        self.rows = functools.lru_cache(maxsize=TEXTS_CACHED)(self._rows)
        self._text = functools.lru_cache(maxsize=TEXTS_CACHED)(self._encode)
        self._single = functools.lru_cache(maxsize=BLENDS_CACHED)(self._embed)
        self._double = functools.lru_cache(maxsize=BLENDS_CACHED)(self._pair)

    @functools.cached_property
    def tokens(self) -> int:
        """Tokens in an embedding. A long text has a multiple of this, up to CHUNKS_LIMIT times."""
        return min(int(length) for encoder in self._encoders
                   for length in (encoder.tokenizer.model_max_length, encoder.model.config.max_position_embeddings))

    @torch.inference_mode()
    def embed(self, parts: Sequence[Part]) -> Embedding:
        """Embed prompts with their shares as one embedding; the same object as long as the parts are the same.

        A single prompt, or one with the whole share, gives exactly its own embedding. Prompts of share 0 are encoded
        in advance, so that fading them in costs nothing.
        """
        return self._single(tuple(parts))

    @torch.inference_mode()
    def pair(self, negative: Sequence[Part], positive: Sequence[Part]) -> Embedding:
        """Embed both prompts for classifier-free guidance, the negative first, with equal length.

        A blank negative prompt is zeros where the model was trained that way (`force_zeros_for_empty_prompt`).
        """
        return self._double(tuple(negative), tuple(positive))

    def clear_cache(self) -> None:
        """Encode everything again, because the text encoders have changed."""
        for cache in (self._text, self._single, self._double):
            cache.cache_clear()

    @torch.inference_mode()
    def text(self, text: str) -> Embedding:
        """The embedding of one text without `::`, including its emphasis."""
        return self._text(text)

    @torch.inference_mode()
    def run(self, rows: TokenRows) -> Embedding:
        """Embed rows on the device. Launches the same operations for rows of the same layout, so it may be recorded."""
        outputs = [self._run_encoder(*each) for each in zip(self._encoders, rows.numbers, rows.factors, strict=True)]
        states = torch.cat([states for states, _ in outputs], dim=-1)
        return Embedding(states.flatten(0, 1)[None].to(self._dtype), outputs[-1][1])

    @torch.inference_mode()
    def blend(self, texts: Embedding, shares: torch.Tensor) -> Embedding:
        """Blend n texts into one embedding.

        Each encoder's part is blended separately: their spaces have nothing in common.

        Args:
            texts: n embeddings of equal length.
            shares: float32 (n,) on the device, summing to 1.
        """
        states = torch.split(texts.states.float(), self._widths, dim=-1)
        pooled = texts.pooled
        return Embedding(torch.cat([spherical_mean(part, shares) for part in states], dim=-1).to(self._dtype),
                         None if pooled is None else spherical_mean(pooled.float(), shares).to(self._dtype))

    def is_zeros(self, text: str, negative: bool) -> bool:
        """Whether zeros stand for the text: for a blank negative prompt, where the model was trained that way."""
        return negative and not text and self._force_zeros

    @torch.inference_mode()
    def padded(self, text: str, chunks: int, is_zeros: bool) -> Embedding:
        """A text's embedding of `chunks` chunks; zeros with `is_zeros`."""
        embedding = None if is_zeros else self._text(text)
        if embedding is not None and embedding.states.shape[1] == chunks * self.tokens:
            return embedding
        return self.pad(embedding, self._text(""), chunks)

    def pad(self, embedding: Embedding | None, empty: Embedding | None, chunks: int) -> Embedding:
        """Pad an embedding to `chunks` chunks with that of the empty prompt, which is not read if none is missing.

        None instead of an embedding gives zeros.
        """
        if embedding is None:
            return self.zeros(1, chunks)
        missing = chunks - embedding.states.shape[1] // self.tokens
        if not missing or empty is None:
            return embedding
        return Embedding(torch.cat([embedding.states, *[empty.states] * missing], dim=1), embedding.pooled)

    def zeros(self, count: int, chunks: int) -> Embedding:
        """An embedding of zeros, for `count` prompts of `chunks` chunks."""
        last = self._encoders[-1].model
        states = torch.zeros(count, chunks * self.tokens, sum(self._widths), device=self._device, dtype=self._dtype)
        return Embedding(states, states.new_zeros(count, int(last.config.projection_dim))
                         if hasattr(last, "text_projection") else None)

    def _embed(self, parts: tuple[Part, ...]) -> Embedding:
        texts = mix(parts)
        return self._blend(texts, self._chunks(texts), negative=False)

    def _pair(self, negative: tuple[Part, ...], positive: tuple[Part, ...]) -> Embedding:
        without, with_prompt = mix(negative), mix(positive)
        chunks = max(self._chunks(without), self._chunks(with_prompt))
        pair = self._blend(without, chunks, negative=True), self._blend(with_prompt, chunks, negative=False)
        return stack(pair)

    def _chunks(self, texts: Texts) -> int:
        """Chunks of the longest text that has a share. Encodes the other texts too."""
        lengths = [(self._text(text).states.shape[1] // self.tokens, share) for text, share in texts]
        return max(length for length, share in lengths if share > 0.0)

    def _blend(self, texts: Texts, chunks: int, negative: bool) -> Embedding:
        blended = [(self.padded(text, chunks, self.is_zeros(text, negative)), share)
                   for text, share in texts if share > 0.0]
        if len(blended) == 1:
            return blended[0][0]
        embeddings = stack([one for one, _ in blended])
        return self.blend(embeddings, torch.tensor([share for _, share in blended], device=self._device))

    def _encode(self, text: str) -> Embedding:
        """Encode one text without `::`, including its emphasis."""
        return self.run(self.rows(text).to(self._device))

    def _rows(self, text: str) -> TokenRows:
        """Tokenize one text without `::`, on the host."""
        rows = [self._tokenize(encoder, text) for encoder in self._encoders]
        chunks = max(map(len, rows))
        numbers, factors = zip(*(self._tensors(encoder.tokenizer, [*row, *[()] * (chunks - len(row))])
                                 for encoder, row in zip(self._encoders, rows, strict=True)), strict=True)
        return TokenRows(numbers, factors, chunks)

    def _tensors(self, tokenizer: Any, chunks: Sequence[Chunk]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Token numbers and their emphasis, as in `TokenRows`."""
        weighted = any(factor != 1.0 for chunk in chunks for _, factor in chunk)
        rows = [self._row(tokenizer, chunk) for chunk in ([*chunks, ()] if weighted else chunks)]
        factors = torch.tensor([[factor for _, factor in row] for row in rows[:-1]]) if weighted else None
        return torch.tensor([[number for number, _ in row] for row in rows]), factors

    def _tokenize(self, encoder: TextEncoder, text: str) -> list[Chunk]:
        readable = text.encode("utf-8", "replace").decode()  # tokenizers refuse surrogates
        limit = CHUNKS_LIMIT if self.tokens >= CLIP_LENGTH else 1
        return chunks_of(encoder.tokenizer, readable, encoder.words, self.tokens - 2, limit)

    def _run_encoder(self, encoder: TextEncoder, numbers: torch.Tensor,
                     factors: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """States (chunks, tokens, width) with the emphasis applied, and the first chunk's projection (1, width)."""
        output = encoder.model(numbers, output_hidden_states=self._projected or self._skip > 1)
        if self._projected:
            states = output.hidden_states[-max(self._skip, 2)]
        elif self._skip > 1:
            states = getattr(encoder.model, "text_model", encoder.model).final_layer_norm(
                output.hidden_states[-self._skip])
        else:
            states = output.last_hidden_state
        if factors is not None:
            states = emphasize(states[:-1].float(), states[-1].float(), factors)
        pooled = getattr(output, "text_embeds", None)
        return states, None if pooled is None else pooled[:1].to(self._dtype)

    def _row(self, tokenizer: Any, chunk: Chunk) -> list[tuple[int, float]]:
        row = [(tokenizer.bos_token_id, 1.0), *chunk, (tokenizer.eos_token_id, 1.0)]
        return row + [(tokenizer.pad_token_id, 1.0)] * (self.tokens - len(row))


def emphasize(states: torch.Tensor, empty: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Scale each token's distance from the empty prompt's state at its position: empty + factor * (state - empty).

    This is what ComfyUI does (comfy/sd1_clip.py), and compel above 1. stable-diffusion-webui scales the state itself,
    including what all prompts have in common, and then scales all states to restore their mean. The mean does not
    measure scale: it may come near zero, and webui itself offers to skip that step ("seems to work better for SDXL",
    whose states no layer norm follows). The method here works for both families, is exact at 1, and at 0 the word is
    absent.

    Args:
        states: (chunks, tokens, width).
        empty: (tokens, width).
        factors: (chunks, tokens).
    """
    return torch.lerp(empty.expand_as(states), states, factors[..., None])


def spherical_mean(vectors: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Average n vectors on the sphere, and their lengths.

    The directions are averaged by Buss & Fillmore, "Spherical averages and applications to spherical splines and
    interpolation", ACM Transactions on Graphics 20 (2), 2001, algorithm A1. For two vectors this is Shoemake's slerp
    (SIGGRAPH 1985) after one round. An arithmetic mean would be shorter than the vectors, a length that the UNet never
    saw (the argument of White, "Sampling Generative Networks", arXiv:1609.04468). Zeros have no direction and only
    shorten the result.

    Args:
        vectors: (n, ..., width) float32.
        shares: (n,), summing to 1.

    Returns:
        (1, ..., width).
    """
    length: torch.Tensor = torch.tensordot(shares, torch.linalg.vector_norm(vectors, dim=-1), 1)
    directions = functional.normalize(vectors, dim=-1)
    # The mean is a weighted sum of the directions, so only their weights are computed, (..., n).
    cosines = torch.einsum("i...w,j...w->...ij", directions, directions)
    weights = _unit(shares.expand(cosines.shape[:-1]), cosines)
    for _ in range(1 if len(vectors) == 2 else ROUNDS):
        weights = _approach(weights, cosines, shares)
    mean: torch.Tensor = functional.normalize(torch.einsum("...i,i...w->...w", weights, directions), dim=-1)
    return (mean * length[..., None])[None]


def _approach(mean: torch.Tensor, cosines: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """One round: average the arcs from the mean to the directions, and move along the result."""
    cosine = (cosines @ mean[..., None])[..., 0].clamp(-1.0, 1.0)
    sine = (1.0 - cosine.square()).sqrt().clamp_min(1e-4)
    pull = shares * torch.atan2(sine, cosine) / sine
    step = pull - (pull * cosine).sum(-1, keepdim=True) * mean
    angle = _length(step, cosines)
    return _unit(angle.cos() * mean + torch.sinc(angle / torch.pi) * step, cosines)


def _unit(weights: torch.Tensor, cosines: torch.Tensor) -> torch.Tensor:
    return weights / _length(weights, cosines).clamp_min(1e-6)  # opposite directions cancel


def _length(weights: torch.Tensor, cosines: torch.Tensor) -> torch.Tensor:
    """Length of the sum of the directions with these weights, (..., 1)."""
    return torch.einsum("...i,...ij,...j->...", weights, cosines, weights).clamp_min(0.0).sqrt()[..., None]


def stack(embeddings: Sequence[Embedding]) -> Embedding:
    """Several embeddings of equal length as one."""
    return Embedding(torch.cat([one.states for one in embeddings]), _cat(one.pooled for one in embeddings),
                     _cat(one.weights for one in embeddings))


def _cat(tensors: Iterable[torch.Tensor | None]) -> torch.Tensor | None:
    present = [tensor for tensor in tensors if tensor is not None]
    return torch.cat(present) if present else None
