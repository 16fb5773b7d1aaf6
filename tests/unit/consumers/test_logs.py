"""Tocsin's own logs."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from consumers.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_logs_go_to_what_standard_error_is_at_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a progress bar takes its place while it is shown, and would else be written over."""
    configure_logs("json")
    bar = io.StringIO()
    monkeypatch.setattr("sys.stderr", bar)
    structlog.get_logger().info("by structlog")
    logging.getLogger("elsewhere").warning("by logging")
    assert "by structlog" in bar.getvalue()
    assert "by logging" in bar.getvalue()
