"""The rules that ship, for tests that hold for each of them."""

from __future__ import annotations

from pathlib import Path

from pipeline.sigma.form import Rule
from pipeline.sigma.reader.read import read

SHIPPED = tuple(
    rule
    for path in sorted((Path(__file__).parents[4] / "rules").rglob("*.yml"))
    if not path.name.endswith(".cases.yml")
    for rule in read(path.read_text(encoding="utf-8"), path.name)
    if isinstance(rule, Rule)
)
