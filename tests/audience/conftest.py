"""A browser for the page of visitors."""

from tests.controllers.panel.conftest import devtools

__all__ = ["devtools"]
