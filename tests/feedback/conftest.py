"""The LMS's own code, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lms.client import LmsJudge, LmsMissing


@pytest.fixture(scope="session")
def lms() -> Iterator[LmsJudge]:
    """The LMS's judge of replies. Fails, never skips, where it is not installed."""
    judge = LmsJudge()
    try:
        judge.__enter__()
    except LmsMissing as missing:
        pytest.fail(str(missing), pytrace=False)
    yield judge
    judge.__exit__(None, None, None)
