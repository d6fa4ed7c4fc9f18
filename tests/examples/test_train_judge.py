"""The fresh judge: independent of the training, frozen, and right about its own pictures."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from examples.train_builtin import judge_materials, judge_patterns
from examples.train_builtin.judge_sheet import SHRINK, SIDE, Sheet
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from examples.train_builtin import fresh_evaluation, fresh_judge, words

pytestmark = pytest.mark.training

FOLDER = Path(judge_materials.__file__).parent
JUDGES = ("judge_sheet", "judge_materials", "judge_patterns", "fresh_judge")
MAY_ASK = {"fresh_evaluation", "train", *JUDGES}


def imported(module: str) -> set[str]:
    """The modules of the training that a module of it imports."""
    nodes = ast.walk(ast.parse((FOLDER / f"{module}.py").read_text("utf-8")))
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("examples.train_builtin"):
            found |= {node.module.rpartition(".")[2]} | {alias.name for alias in node.names}
    return found


def test_the_judge_shares_no_code_with_the_training() -> None:
    training = {path.stem for path in FOLDER.glob("*.py")} - set(JUDGES)
    assert {name for module in JUDGES for name in imported(module)} & training == set()
    askers = {path.stem for path in FOLDER.glob("*.py") if imported(path.stem) & set(JUDGES)}
    assert askers <= MAY_ASK


@pytest.mark.parametrize("name", ["fire", "bricks", "zebra", "tunnel"])
def test_a_painter_draws_the_same_at_one_seed_and_never_the_same_at_two(name: str) -> None:
    first, again, other = (fresh_judge.draw(name, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert first.shape == (SIDE // SHRINK,) * 2
    assert first.std() > 0.03


def test_every_subject_has_a_painter_of_the_judge() -> None:
    assert list(fresh_judge.NAMES) == list(words.SUBJECTS)
    used = {painter.__name__ for painter in fresh_judge.PAINTERS.values()}
    drawn = {name for module in (judge_materials, judge_patterns) for name in vars(module) if name.startswith("draw_")}
    assert used == drawn


def test_the_frozen_judge_is_right_about_pictures_that_it_never_saw() -> None:
    names = ("stripes", "dots", "checker", "grid", "bricks", "sunset", "neon grid", "zebra")
    pictures = torch.stack([torch.from_numpy(fresh_judge.draw(name, 9_000_000 + n)) for name in names
                            for n in range(5)])[:, None]
    subjects = torch.tensor([fresh_judge.NAMES.index(name) for name in names for _ in range(5)])
    figures = fresh_judge.by_subject(fresh_judge.load(), pictures, subjects)
    assert figures["all"] > 0.75
    assert fresh_judge.read_figures()["held_out"]["all"] > 0.85


def test_a_picture_of_the_model_is_judged_by_its_brightness_alone() -> None:
    sheet = Sheet(5)
    judge_patterns.draw_checker(sheet)
    grey = torch.from_numpy(sheet.finish())[None, None]
    scores = fresh_judge.load()(torch.cat([grey]))
    assert torch.allclose(scores, fresh_judge.load()(grey.expand(1, 3, -1, -1)), atol=1e-3)
    assert torch.allclose(scores, fresh_judge.load()(grey.repeat_interleave(2, 2).repeat_interleave(2, 3)), atol=1e-3)


def test_the_bar() -> None:
    good = dict.fromkeys(words.SUBJECTS, 0.9)
    names = list(good)
    assert fresh_evaluation.summary(good)["meets"]
    assert fresh_evaluation.summary(good | dict.fromkeys(names[:5], 0.45))["meets"]
    assert not fresh_evaluation.summary(good | dict.fromkeys(names[:6], 0.45))["meets"]
    assert not fresh_evaluation.summary(good | {names[0]: 0.35})["meets"]


def test_twenty_prompts_of_each_subject() -> None:
    prompts = fresh_evaluation.fresh_prompts()
    assert [subject for _, subject in prompts] == [name for name in words.SUBJECTS for _ in range(20)]
    assert all(subject in text for text, subject in prompts)
