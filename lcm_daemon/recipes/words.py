"""The words that a model knows, from `words.yaml` in its folder. Most models have none: they read any text."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from lcm_daemon.core.control_state import Rows
from lcm_daemon.core.document import compose_own
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.recipes.recipe import Recipe, split_hub

log = logging.getLogger(__name__)

FILE = "words.yaml"  # {kind: {word: "its meaning; also: word, word"}}
ALSO = "; also: "


def words_of(recipes: Iterable[Recipe]) -> dict[str, Rows]:
    """Read the words of every model that has a file of them.

    Returns:
        By `Recipe.model`: rows with `word`, `kind`, `help`, and `also`, other names of it with commas between them.
    """
    models = {recipe.model for recipe in recipes if recipe.model and split_hub(recipe.model) is None}
    read = {model: _read(Path(model) / FILE) for model in models}
    return {model: rows for model, rows in read.items() if rows}


def _read(file: Path) -> Rows:
    try:
        kinds = compose_own(file.read_text("utf-8"), str(file)).value
        return tuple(_row(kind, str(word), str(meaning))
                     for kind, words in kinds.items() for word, meaning in words.items())
    except OSError:
        return ()
    except (ValueError, AttributeError, LcmDaemonError) as error:
        log.warning("%s: cannot be read: %s", file, str(error).splitlines()[0])
        return ()


def _row(kind: str, word: str, meaning: str) -> dict[str, str]:
    help_text, _, also = meaning.partition(ALSO)
    return {"word": word, "kind": kind, "help": help_text, "also": also}
