"""PromptEncoder: prompts to what steers the UNet. A text is encoded once; blends of texts cost no encoder pass."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from lcm_daemon.pipelines.components import Components, TextEncoder
from lcm_daemon.pipelines.prompt_syntax import Texts, emphases, mix

TEXTS_KEPT = 64  # 0.3 MB each with SDXL in half precision
BLENDS_KEPT = 16  # prompts that stand still, on the frames after the first
CLIP_LENGTH = 77
CHUNKS_LIMIT = 4  # of CLIP_LENGTH tokens; the UNet's attention to the prompt grows with them
ROUNDS = 3  # of the spherical mean: within 0.001 of its end where texts are 80 degrees apart, else closer

Part = tuple[str, float]
Chunk = Sequence[tuple[int, float]]  # tokens with their emphasis


@dataclass(frozen=True)
class Embedding:
    """states: (n, tokens, width), pooled: (n, width) or None, in the UNet's dtype; n is 1, or 2 of a pair."""

    states: torch.Tensor
    pooled: torch.Tensor | None = None


class PromptEncoder:
    """The text encoders of a model. Its embeddings are shared: nobody writes into them.

    Plain texts come out as from diffusers' `encode_prompt`: of one text encoder the last hidden state, of a model with
    a projection (SDXL) every encoder's last but one, side by side, and the last encoder's pooled projection.
    Where diffusers cuts a text of more than 75 tokens, here it goes on in further chunks of 75, each encoded on its
    own and all in a row, as in stable-diffusion-webui. Encoders that take fewer than 77 tokens cut it.
    """

    def __init__(self, parts: Components) -> None:
        self._encoders = parts.text_encoders
        self._device, self._dtype, self._force_zeros = parts.device, parts.dtype, parts.force_zeros
        self._projected = any(hasattr(encoder.model, "text_projection") for encoder in self._encoders)
        self._widths = [int(encoder.model.config.hidden_size) for encoder in self._encoders]
        self._text = functools.lru_cache(maxsize=TEXTS_KEPT)(self._encode)
        self._single = functools.lru_cache(maxsize=BLENDS_KEPT)(self._embed)
        self._double = functools.lru_cache(maxsize=BLENDS_KEPT)(self._pair)

    @functools.cached_property
    def tokens(self) -> int:
        """Of any embedding, unless a text is long: then it is a multiple of this, up to CHUNKS_LIMIT times."""
        return min(int(length) for encoder in self._encoders
                   for length in (encoder.tokenizer.model_max_length, encoder.model.config.max_position_embeddings))

    @torch.inference_mode()
    def embed(self, parts: Sequence[Part]) -> Embedding:
        """Prompts with their shares as one embedding; the very same object as long as the parts are the same.

        A prompt alone, or one that has all the share, is exactly its own embedding. Prompts of share 0 are encoded
        ahead, so that fading them in costs nothing.
        """
        return self._single(tuple(parts))

    @torch.inference_mode()
    def pair(self, negative: Sequence[Part], positive: Sequence[Part]) -> Embedding:
        """Both for classifier-free guidance, the negative first, of one length.

        A blank negative prompt is zeros where the model was trained so (`force_zeros_for_empty_prompt`).
        """
        return self._double(tuple(negative), tuple(positive))

    def forget(self) -> None:
        """Encode anew from now on: the text encoders have changed."""
        for cache in (self._text, self._single, self._double):
            cache.cache_clear()

    def _embed(self, parts: tuple[Part, ...]) -> Embedding:
        texts = mix(parts)
        return self._blend(texts, self._chunks(texts), zeros=False)

    def _pair(self, negative: tuple[Part, ...], positive: tuple[Part, ...]) -> Embedding:
        without, with_prompt = mix(negative), mix(positive)
        chunks = max(self._chunks(without), self._chunks(with_prompt))
        pair = (self._blend(without, chunks, self._force_zeros), self._blend(with_prompt, chunks, zeros=False))
        return Embedding(torch.cat([one.states for one in pair]), _cat(one.pooled for one in pair))

    def _chunks(self, texts: Texts) -> int:
        """Of the longest text that has a share. Encodes the others too."""
        lengths = [(self._text(text).states.shape[1] // self.tokens, share) for text, share in texts]
        return max(length for length, share in lengths if share > 0.0)

    def _blend(self, texts: Texts, chunks: int, zeros: bool) -> Embedding:
        """Each encoder's part by itself: their spaces have nothing in common."""
        playing = [(self._padded(text, chunks, zeros), share) for text, share in texts if share > 0.0]
        if len(playing) == 1:
            return playing[0][0]
        shares = torch.tensor([share for _, share in playing], device=self._device)
        states = torch.split(torch.cat([one.states for one, _ in playing]).float(), self._widths, dim=-1)
        pooled = _cat(one.pooled for one, _ in playing)
        return Embedding(torch.cat([spherical_mean(part, shares) for part in states], dim=-1).to(self._dtype),
                         None if pooled is None else spherical_mean(pooled.float(), shares).to(self._dtype))

    def _padded(self, text: str, chunks: int, zeros: bool) -> Embedding:
        """A text's embedding, followed by the empty prompt's until it is `chunks` long."""
        blank = zeros and not text
        found = self._zeros() if blank else self._text(text)
        missing = chunks - found.states.shape[1] // self.tokens
        if not missing:
            return found
        filler = found if blank else self._text("")
        return Embedding(torch.cat([found.states, *[filler.states] * missing], dim=1), found.pooled)

    def _zeros(self) -> Embedding:
        empty = self._text("")
        return Embedding(torch.zeros_like(empty.states),
                         None if empty.pooled is None else torch.zeros_like(empty.pooled))

    def _encode(self, text: str) -> Embedding:
        """One text without `::`, emphasis and all."""
        rows = [self._tokenize(encoder.tokenizer, text) for encoder in self._encoders]
        chunks = max(map(len, rows))
        runs = [self._run(encoder, [*row, *[()] * (chunks - len(row))])
                for encoder, row in zip(self._encoders, rows, strict=True)]
        states = torch.cat([states for states, _ in runs], dim=-1)
        return Embedding(states.flatten(0, 1)[None].to(self._dtype), runs[-1][1])

    def _tokenize(self, tokenizer: Any, text: str) -> list[Chunk]:
        pieces = emphases(text.encode("utf-8", "replace").decode()) or (("", 1.0),)  # tokenizers refuse surrogates
        numbers = tokenizer([piece for piece, _ in pieces], add_special_tokens=False, verbose=False).input_ids
        tokens = [(number, factor) for row, (_, factor) in zip(numbers, pieces, strict=True) for number in row]
        room = self.tokens - 2  # beside the marks of start and end
        limit = CHUNKS_LIMIT if self.tokens >= CLIP_LENGTH else 1
        return [tokens[start:start + room] for start in range(0, min(max(len(tokens), 1), limit * room), room)]

    def _run(self, encoder: TextEncoder, chunks: Sequence[Chunk]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """States (chunks, tokens, width) with the emphasis applied, and the first chunk's projection (1, width)."""
        weighed = any(factor != 1.0 for chunk in chunks for _, factor in chunk)
        rows = [self._row(encoder.tokenizer, chunk) for chunk in ([*chunks, ()] if weighed else chunks)]
        numbers = torch.tensor([[number for number, _ in row] for row in rows], device=self._device)
        output = encoder.model(numbers, output_hidden_states=self._projected)
        states = output.hidden_states[-2] if self._projected else output.last_hidden_state
        if weighed:
            factors = torch.tensor([[factor for _, factor in row] for row in rows[:-1]], device=self._device)
            states = emphasize(states[:-1].float(), states[-1].float(), factors)
        pooled = getattr(output, "text_embeds", None)
        return states, None if pooled is None else pooled[:1].to(self._dtype)

    def _row(self, tokenizer: Any, chunk: Chunk) -> list[tuple[int, float]]:
        row = [(tokenizer.bos_token_id, 1.0), *chunk, (tokenizer.eos_token_id, 1.0)]
        return row + [(tokenizer.pad_token_id, 1.0)] * (self.tokens - len(row))


def emphasize(states: torch.Tensor, empty: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Each token's state moved from the empty prompt's state in its place: empty + factor * (state - empty).

    states: (chunks, tokens, width), empty: (tokens, width), factors: (chunks, tokens).

    As ComfyUI does (comfy/sd1_clip.py), and compel above 1. stable-diffusion-webui scales the state itself, with all
    that every prompt has in common, and then all states so that their mean is what it was. States have no scale in
    their mean: it may come near zero, and webui itself offers to leave it out ("seems to work better for SDXL",
    whose states no layer norm follows). This way serves both families, is exact at 1, and at 0 the word is not there.
    """
    return torch.lerp(empty.expand_as(states), states, factors[..., None])


def spherical_mean(vectors: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """The mean of n vectors along the sphere, with the mean of their lengths.

    vectors: (n, ..., width) float32, shares: (n,), summing to 1. Returns (1, ..., width).

    Of directions: Buss & Fillmore, "Spherical averages and applications to spherical splines and interpolation",
    ACM Transactions on Graphics 20 (2), 2001, algorithm A1. For two it is Shoemake's slerp (SIGGRAPH 1985) after
    one round. A straight mean would be shorter than what it lies between, a length that the UNet never saw (the
    argument of White, "Sampling Generative Networks", arXiv:1609.04468). Zeros have no direction: they only shorten.
    """
    length: torch.Tensor = torch.tensordot(shares, torch.linalg.vector_norm(vectors, dim=-1), 1)
    directions = functional.normalize(vectors, dim=-1)
    # The mean is a sum of the directions, so all the work is on their weights in it, (..., n).
    cosines = torch.einsum("i...w,j...w->...ij", directions, directions)
    weights = _unit(shares.expand(cosines.shape[:-1]), cosines)
    for _ in range(1 if len(vectors) == 2 else ROUNDS):
        weights = _approach(weights, cosines, shares)
    mean: torch.Tensor = functional.normalize(torch.einsum("...i,i...w->...w", weights, directions), dim=-1)
    return (mean * length[..., None])[None]


def _approach(mean: torch.Tensor, cosines: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """One round: the mean of the arcs from here to the directions, walked."""
    cosine = (cosines @ mean[..., None])[..., 0].clamp(-1.0, 1.0)
    sine = (1.0 - cosine.square()).sqrt().clamp_min(1e-4)
    pull = shares * torch.atan2(sine, cosine) / sine
    step = pull - (pull * cosine).sum(-1, keepdim=True) * mean
    angle = _length(step, cosines)
    return _unit(angle.cos() * mean + torch.sinc(angle / torch.pi) * step, cosines)


def _unit(weights: torch.Tensor, cosines: torch.Tensor) -> torch.Tensor:
    return weights / _length(weights, cosines).clamp_min(1e-6)  # opposite directions leave nothing


def _length(weights: torch.Tensor, cosines: torch.Tensor) -> torch.Tensor:
    """Of the sum of the directions with these weights, (..., 1)."""
    return torch.einsum("...i,...ij,...j->...", weights, cosines, weights).clamp_min(0.0).sqrt()[..., None]


def _cat(tensors: Iterable[torch.Tensor | None]) -> torch.Tensor | None:
    present = [tensor for tensor in tensors if tensor is not None]
    return torch.cat(present) if present else None
