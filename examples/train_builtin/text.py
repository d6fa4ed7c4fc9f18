"""Build the tokenizer, and train the text encoder on captions alone, to classify what they name."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from examples.train_builtin import runs
from examples.train_builtin.painter import ramp
from examples.train_builtin.words import COLOURS, FILLERS, MAX_TOKENS, STYLES, SUBJECTS, write_caption

WIDTH, LAYERS, HEADS = 128, 2, 4
START, END = "<|startoftext|>", "<|endoftext|>"
STEPS, BATCH, RATE = 700, 96, 2e-3
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def known_words() -> list[str]:
    """Return every word that a caption can contain, sorted."""
    names = [name for table in (SUBJECTS, COLOURS, STYLES) for entry in table.values() for name in entry.names]
    return sorted({word for phrase in (*names, *FILLERS) for word in phrase.split()})


def learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """Learn byte pairs (Sennrich et al. 2016) until every known word is one token."""
    pieces = [(*word[:-1], word[-1] + "</w>") for word in words]
    merges: list[tuple[str, str]] = []
    while any(len(word) > 1 for word in pieces):
        counts = Counter(pair for word in pieces for pair in itertools.pairwise(word))
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        pieces = [merge_pair(word, best) for word in pieces]
    return merges


def merge_pair(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for piece in word:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return tuple(merged)


def write_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write vocab.json, merges.txt and tokenizer_config.json, and load the tokenizer from them."""
    folder.mkdir(parents=True, exist_ok=True)
    merges = learn_merges(known_words())
    single = [chr(code) for code in range(33, 127)]
    tokens = [*single, *(letter + "</w>" for letter in single), *dict.fromkeys("".join(pair) for pair in merges)]
    vocabulary = {token: number for number, token in enumerate([*dict.fromkeys(tokens), START, END])}
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    config = {
        "tokenizer_class": "CLIPTokenizer", "model_max_length": MAX_TOKENS,
        "bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END,
    }  # fmt: skip
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder)


def build(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=4 * WIDTH, projection_dim=WIDTH,
        num_hidden_layers=LAYERS, num_attention_heads=HEADS, max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return CLIPTextModel(config)


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Return token ids (captions, MAX_TOKENS), truncated or padded."""
    encoded = tokenizer(captions, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    ids: Tensor = encoded.input_ids
    return ids.to(runs.current().device)


def add_noise_word(caption: str, chance: random.Random) -> str:
    """Add a made-up word before or after one caption in five, so that unknown words do no harm."""
    if chance.random() > 0.2:
        return caption
    word = "".join(chance.choice(LETTERS) for _ in range(chance.randint(2, 5)))
    return f"{word} {caption}" if chance.random() < 0.3 else f"{caption} {word}"


class Heads(nn.Module):
    """Predict subject, colour, style and the ramp's fifteen values from the mean of the hidden states."""

    ramps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.classes = nn.ModuleList(nn.Linear(WIDTH, len(table)) for table in (SUBJECTS, COLOURS, STYLES))
        self.ramp = nn.Linear(WIDTH, 15)
        self.register_buffer("ramps", torch.stack([ramp(colour).flatten() for colour in COLOURS]))

    def forward(self, hidden: Tensor, labels: Tensor) -> Tensor:
        pooled = hidden.mean(dim=1)
        guesses = [F.cross_entropy(head(pooled), labels[:, i]) for i, head in enumerate(self.classes)]
        return sum(guesses, F.mse_loss(self.ramp(pooled), self.ramps[labels[:, 1]]) * 4)


def draw_batch(chance: random.Random, count: int) -> tuple[list[str], Tensor]:
    """Return captions and the indices (count, 3) of their subject, colour and style."""
    tables = [list(table) for table in (SUBJECTS, COLOURS, STYLES)]
    captions, labels = [], []
    for _ in range(count):
        subject, colour, style = (chance.choice(table) for table in tables)
        if chance.random() < 0.4:
            colour = SUBJECTS[subject].colour
        captions.append(add_noise_word(write_caption(subject, colour, style, chance), chance))
        labels.append([table.index(name) for table, name in zip(tables, (subject, colour, style), strict=True)])
    return captions, torch.tensor(labels)


def train(work: Path, seed: int = 2) -> None:
    """Train the text encoder for STEPS; write `text_encoder/` and `tokenizer/`. Do nothing if they exist."""
    if (work / "text_encoder" / "model.safetensors").exists():
        return
    torch.manual_seed(seed)
    chance = random.Random(seed)
    tokenizer = write_tokenizer(work / "tokenizer")
    model, heads = build(tokenizer), Heads()
    optimizer = torch.optim.AdamW([*model.parameters(), *heads.parameters()], RATE, weight_decay=0.01)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS, pct_start=0.1)
    progress = runs.Progress(work / "text.training.pt", model=model, heads=heads, optimizer=optimizer, plan=plan)
    chance.seed(seed + progress.step)
    for step in range(progress.step, STEPS):
        captions, labels = draw_batch(chance, BATCH)
        loss = heads(model(tokenize(tokenizer, captions)).last_hidden_state, labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        plan.step()
        if step % 250 == 249:
            print(f"text step {step + 1}/{STEPS} loss {loss.item():.4f}", flush=True)
        progress.count()
    model.save_pretrained(work / "text_encoder")
    progress.remove()


class Captions:
    """The frozen text encoder: captions in, hidden states (captions, MAX_TOKENS, WIDTH) out."""

    def __init__(self, work: Path) -> None:
        self.tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
        with torch.device("cpu"):
            model = CLIPTextModel.from_pretrained(work / "text_encoder", dtype=torch.float32)  # adoption writes float16
        self.model = model.eval().requires_grad_(False).to(runs.current().device)

    @torch.no_grad()
    def encode(self, captions: list[str]) -> Tensor:
        hidden: Tensor = self.model(tokenize(self.tokenizer, captions)).last_hidden_state
        return hidden
