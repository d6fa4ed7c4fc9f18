"""What `lcm-daemon prepare` has compiled, on which card and with which torch: a file in the cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path

from lcm_daemon.core.atomic_file import write_atomically
from lcm_daemon.core.paths import cache_folder
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import AUTO, compiles_for_minutes
from lcm_daemon.recipes.state import RecipeVariant

log = logging.getLogger(__name__)

FILE = "prepared.json"
DIRECT_SECONDS = 20.0  # a prepared form that loads within this time may be the first to play


@dataclass(frozen=True)
class PreparedForm:
    """One recipe at one size, compiled.

    Attributes:
        digest: Of the recipe, as `digest_of` computes it.
        recipe: Name of the recipe, for people.
        size: Render size in pixels, "512x512".
        accelerator: What compiled it.
        wanted: What the recipe names: that, or `auto`.
        torch: Version of torch.
        card: Name of the device.
        tuned: Kernels were chosen by measuring them.
        seconds: Time to load it again.
        folder: Folder of the compiler's files; the form is lost with it. "" if the compiler has none of its own.
    """

    digest: str
    recipe: str
    size: str
    accelerator: str
    torch: str
    card: str
    tuned: bool
    seconds: float
    folder: str = ""
    wanted: str = AUTO


class Prepared:
    """The prepared forms. Empty if the file is missing or damaged: forms can be made again."""

    def __init__(self, forms: Sequence[PreparedForm] = (), file: Path | None = None) -> None:
        self.forms, self._given = list(forms), file

    @property
    def _file(self) -> Path:
        return self._given or cache_folder() / FILE

    @staticmethod
    def read(file: Path | None = None) -> Prepared:
        """Read the file; None for the user's own."""
        file = file or cache_folder() / FILE
        try:
            return Prepared(_read_forms(file.read_text("utf-8")), file)
        except FileNotFoundError:
            return Prepared(file=file)
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
        except (ValueError, TypeError):
            reason = "is damaged"
        log.warning("%s %s; nothing counts as prepared until lcm-daemon prepare has run again", file, reason)
        return Prepared(file=file)

    def find(self, recipe: Recipe, torch: str, card: str = "") -> PreparedForm | None:
        """The compiled form of this recipe at its size.

        Args:
            recipe: The recipe, with the size to render at.
            torch: Version of torch.
            card: Name of the device; "" for any.
        """
        digest = digest_of(recipe)
        return next((form for form in self.forms if form.digest == digest and form.torch == torch
                     and recipe.accelerate in (form.wanted, form.accelerator) and card in ("", form.card)
                     and (not form.folder or Path(form.folder).is_dir())), None)

    def form_of(self, variant: RecipeVariant) -> RecipeVariant:
        """The form to load now: the compiled one if it was prepared and loads within seconds, else the quick one."""
        quick, own = variant.quick, variant.recipe.accelerate
        if own != AUTO and not compiles_for_minutes(own):
            return quick
        form = self.find(replace(quick.rendered, accelerate=own), installed_torch()) if self.forms else None
        if form is None or form.seconds > DIRECT_SECONDS or not compiles_for_minutes(form.accelerator):
            return quick
        return replace(quick, accelerator=form.accelerator)

    def add(self, form: PreparedForm) -> None:
        """Add a form to the file, in place of an older one. Raises OSError if it cannot be written."""
        key = _key(form)
        self.forms = [other for other in Prepared.read(self._file).forms if _key(other) != key] + [form]
        self._write()

    def forget(self, folder: Path) -> None:
        """Remove the forms whose files were in a folder that was deleted. What cannot be written is left as it is."""
        kept = [form for form in self.forms if not form.folder or Path(form.folder) != folder]
        if len(kept) == len(self.forms):
            return
        log.warning("%s: %d prepared forms are lost with its files; lcm-daemon prepare makes them again", folder,
                    len(self.forms) - len(kept))
        self.forms = kept
        with contextlib.suppress(OSError):
            self._write()

    def _write(self) -> None:
        write_atomically(self._file, json.dumps([asdict(one) for one in self.forms], indent=1))


@cache
def installed_torch() -> str:
    """Version of torch, without importing it; "" if it is not installed."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""


def digest_of(recipe: Recipe) -> str:
    """Hash of everything in a recipe that decides what is compiled, except for the accelerator."""
    plain = replace(recipe, name="", title="", licence="", download="", vram="", parameters={}, files=(),
                    accelerate=AUTO, in_flight=0, recorded=True)
    return hashlib.blake2b(repr(plain).encode(), digest_size=12).hexdigest()


def _read_forms(text: str) -> list[PreparedForm]:
    """The forms in the file's text. Raises ValueError or TypeError if it is damaged."""
    forms = [PreparedForm(**row) for row in json.loads(text)]
    for form in forms:
        for field in fields(form):
            kinds = {"bool": (bool,), "float": (int, float)}.get(str(field.type), (str,))
            if type(getattr(form, field.name)) not in kinds:
                raise TypeError(field.name)
    return forms


def _key(form: PreparedForm) -> tuple[str, str, str, str]:
    return form.digest, form.accelerator, form.torch, form.card
