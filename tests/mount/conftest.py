"""Lets all tests of this room show the same twins, made once."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.mount.twins import Twin, make_twins


@pytest.fixture(scope="session")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Twin]:
    """A result file, a case run live, and a recording replayed live."""
    return make_twins(tmp_path_factory.mktemp("twins"))
