"""LivePrompts: the embedded prompts of the frame, in tensors that keep their address, written only when they change.

A frame of a prompt glide changes nothing but the shares of the texts. Then the cached embeddings of the texts are
blended again: some 60 operations, which read the shares as numbers and are recorded, so that they are one launch. While
a LoRA moves a text encoder, the texts are also encoded again, in the same launch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lcm_daemon.pipelines.numbers import Numbers
from lcm_daemon.pipelines.prompt_syntax import TEXTS_LIMIT, Texts, mix
from lcm_daemon.pipelines.prompts import Embedding, Part, PromptEncoder, TokenRows

Work = Callable[[], Tensor]
Pending = tuple[Hashable | None, Work]  # with the key None the work must not be recorded


@dataclass(frozen=True)
class _Source:
    """One text of a blend. is_zeros: zeros stand for it."""

    text: str
    is_zeros: bool = False


@dataclass(frozen=True)
class _Plan:
    """What is in a frame's prompts, besides the shares.

    rows: the texts of the prompt; with classifier-free guidance those of the negative prompt before it.
    chunks: length of the embedding.
    """

    rows: tuple[tuple[_Source, ...], ...]
    chunks: int

    @property
    def sources(self) -> tuple[_Source, ...]:
        return tuple(source for row in self.rows for source in row)

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(map(len, self.rows))


class LivePrompts:
    """The prompts of one pipeline.

    encoder: its text encoders.
    numbers: where the shares are written to.
    is_cached: blend with the encoder's own cache of blends. On the CPU nothing is launched, and addresses do not
        matter to what computes them.
    """

    def __init__(self, encoder: PromptEncoder, numbers: Numbers, is_cached: bool) -> None:
        self._encoder, self._is_cached = encoder, is_cached
        self._shares = numbers.reserve(2 * TEXTS_LIMIT)
        self._outputs: dict[tuple[int, int], Embedding] = {}  # by rows and chunks
        self._sources: dict[tuple[int, int], Embedding] = {}  # by texts and chunks; what is blended
        self._tokens: dict[Hashable, list[TokenRows]] = {}  # by layout; what is encoded again
        self._parts: Sequence[Sequence[Part]] = ()
        self._texts: tuple[Texts, ...] = ()
        self._plan: _Plan | None = None
        self._written: tuple[_Source, ...] = ()  # what is in the sources of the plan
        self._encoded: set[str] = set()  # texts that the encoder has in its cache
        self._is_due = self._is_stale = False

    @torch.inference_mode()
    def prepare(self, parts: Sequence[Sequence[Part]]) -> Embedding:
        """Take the prompts of the next frame, on the host.

        Args:
            parts: the prompt, or the negative prompt and the prompt, each as texts with their shares.

        Returns:
            Where `pending` writes their embedding: the same tensors for all prompts of one length.
        """
        if parts != self._parts:
            # In the order of the texts, not of their shares: where two shares cross, nothing has to be copied.
            self._parts, self._texts = parts, tuple(tuple(sorted(mix(row))) for row in parts)
            plan = self._planned()
            if self._plan is None or (plan.counts, plan.chunks) != (self._plan.counts, self._plan.chunks):
                self._written = ()
            self._plan, self._is_due = plan, True
            shares = [share for texts in self._texts for _, share in texts if share > 0.0]
            self._shares.write(shares + [0.0] * (2 * TEXTS_LIMIT - len(shares)))
        assert self._plan is not None
        return self._output(self._plan)

    def change_encoders(self) -> None:
        """The text encoders will have changed when `pending` is called: embed the prompts again."""
        self._is_due = self._is_stale = True

    def pending(self) -> list[Pending]:
        """What has to run before the next frame: keys and works, in order; nothing while the prompts are the same.

        Equal keys launch the same operations, so these works may be recorded.
        """
        if not self._is_due or self._plan is None:
            return []
        plan, is_stale, self._is_due, self._is_stale = self._plan, self._is_stale, False, False
        if is_stale:
            self._encoder.clear_cache()
            self._encoded = set()
        if self._is_cached:
            return [(None, lambda: self._write_cached(plan))]
        if is_stale:
            return self._encode_again(plan)
        works: list[Pending] = []
        if self._written != plan.sources or not self._all_texts() <= self._encoded:
            works.append((None, lambda: self._fill(plan)))
        return [*works, (("blend", plan.counts, plan.chunks), lambda: self._blend(plan))]

    def _planned(self) -> _Plan:
        rows = []
        for number, texts in enumerate(self._texts):
            is_negative = number < len(self._texts) - 1
            rows.append(tuple(_Source(text, self._encoder.is_zeros(text, is_negative))
                              for text, share in texts if share > 0.0))
        chunks = max(self._encoder.rows(source.text).chunks for row in rows for source in row)
        return _Plan(tuple(rows), chunks)

    def _all_texts(self) -> set[str]:
        """Texts of share 0 too: fading them in then costs nothing."""
        return {text for texts in self._texts for text, _ in texts}

    def _output(self, plan: _Plan) -> Embedding:
        return self._memory(self._outputs, len(plan.rows), plan.chunks)

    def _memory(self, memory: dict[tuple[int, int], Embedding], count: int, chunks: int) -> Embedding:
        if (count, chunks) not in memory:
            memory[count, chunks] = self._encoder.zeros(count, chunks)
        return memory[count, chunks]

    @torch.inference_mode()
    def _write_cached(self, plan: _Plan) -> Tensor:
        parts = self._parts
        embedding = self._encoder.embed(parts[0]) if len(parts) == 1 else self._encoder.pair(parts[0], parts[1])
        return _copy(embedding, self._output(plan))

    @torch.inference_mode()
    def _fill(self, plan: _Plan) -> Tensor:
        """Copy the embeddings of the texts to where they are blended, and encode those that may come."""
        self._encoded = self._all_texts()
        for text in self._encoded:
            self._encoder.text(text)
        sources = self._memory(self._sources, len(plan.sources), plan.chunks)
        for number, source in enumerate(plan.sources):
            _copy(self._encoder.padded(source.text, plan.chunks, source.is_zeros), _row(sources, number))
        self._written = plan.sources
        return sources.states

    @torch.inference_mode()
    def _blend(self, plan: _Plan) -> Tensor:
        """Blend each row's texts. Reads and writes only tensors that keep their address."""
        sources, output = self._memory(self._sources, len(plan.sources), plan.chunks), self._output(plan)
        start = 0
        for number, count in enumerate(plan.counts):
            texts = _row(sources, start, count)
            if count > 1:
                texts = self._encoder.blend(texts, self._shares.tensor[start:start + count])
            _copy(texts, _row(output, number))
            start += count
        return output.states

    def _encode_again(self, plan: _Plan) -> list[Pending]:
        """Encode all texts on other weights, and blend them. The tokens lie where a recording reads them."""
        rows = [self._encoder.rows(source.text) for source in plan.sources]
        layout = plan.counts, plan.chunks, tuple((row.layout, source.is_zeros)
                                                 for row, source in zip(rows, plan.sources, strict=True))
        works: list[Pending] = []
        if layout not in self._tokens or self._written != plan.sources:
            works.append((None, lambda: self._fill_tokens(layout, rows)))
        self._written = plan.sources
        return [*works, (("encode", layout), lambda: self._encode_and_blend(plan, layout))]

    @torch.inference_mode()
    def _fill_tokens(self, layout: Hashable, rows: Sequence[TokenRows]) -> Tensor:
        device = self._shares.tensor.device
        if layout not in self._tokens:
            self._tokens[layout] = [row.clone_to(device) for row in (*rows, self._encoder.rows(""))]
        for own, row in zip(self._tokens[layout], rows, strict=False):
            for mine, theirs in zip((*own.numbers, *own.factors), (*row.numbers, *row.factors), strict=True):
                if mine is not None and theirs is not None:
                    mine.copy_(theirs.pin_memory() if device.type == "cuda" else theirs, non_blocking=True)
        return self._shares.tensor

    @torch.inference_mode()
    def _encode_and_blend(self, plan: _Plan, layout: Hashable) -> Tensor:
        sources, tokens = self._memory(self._sources, len(plan.sources), plan.chunks), self._tokens[layout]
        needs_empty = any(source.is_zeros or row.chunks < plan.chunks
                          for source, row in zip(plan.sources, tokens, strict=False))
        empty = self._encoder.run(tokens[-1]) if needs_empty else None
        for number, (source, row) in enumerate(zip(plan.sources, tokens, strict=False)):
            embedding = None if source.is_zeros else self._encoder.run(row)
            _copy(self._encoder.pad(embedding, empty, plan.chunks), _row(sources, number))
        return self._blend(plan)


def _row(embedding: Embedding, first: int, count: int = 1) -> Embedding:
    """Views of some of the rows."""
    states, *others = (None if one is None else one[first:first + count]
                       for one in (embedding.states, embedding.pooled, embedding.weights))
    assert states is not None
    return Embedding(states, *others)


def _copy(source: Embedding, target: Embedding) -> Tensor:
    target.states.copy_(source.states)
    if target.pooled is not None and source.pooled is not None:
        target.pooled.copy_(source.pooled)
    if target.weights is not None and source.weights is not None:
        target.weights.copy_(source.weights)
    return target.states
