"""One browser for all tests of the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import need
from tests.rigs.browser import find, running


@pytest.fixture(scope="session")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host:port of a running Chromium's DevTools."""
    need(find() is not None, "the page's tests need Chromium")
    with running(tmp_path_factory.mktemp("browser")) as address:
        yield address
