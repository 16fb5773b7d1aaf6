"""Stack traces: a Python traceback as text, read into type, value and frames.

The last traceback of a chain is read: it is the exception that was logged. What it yields is bounded, however
long the text is.
"""

from __future__ import annotations

import re

__all__ = ["HEADER", "MAX_FRAMES", "MAX_VALUE_CHARS", "Raised", "parse"]

HEADER = "Traceback (most recent call last):"
MAX_FRAMES = 64
"""Innermost frames that are kept."""
MAX_VALUE_CHARS = 4096

Raised = dict[str, object]
"""`type`, `value` and `frames`, each frame `file`, `line`, `function`; outermost frame first."""

_FRAME = re.compile(r'  File "([^"]{1,1024})", line (\d{1,9})(?:, in (.{1,256}))?', re.ASCII)
_RAISED = re.compile(r"([^\W\d][\w.]{0,255})(?:: ?(.*))?")
_GROUP_PREFIX = "  | "


def parse(text: str) -> Raised | None:
    """Return the exception that a text's last traceback tells of, or None when there is no traceback."""
    start = text.rfind(HEADER)
    # A group prints its members' tracebacks inside its own, which comes first and is the one raised.
    group = text.find(f"  + Exception Group {HEADER}")
    prefix = ""
    if group >= 0:
        start, prefix = text.find(HEADER, group), _GROUP_PREFIX
    if start < 0:
        return None
    frames: list[dict[str, object]] = []
    lines = text[start + len(HEADER) :].split("\n")
    for position in range(1, len(lines)):
        line = lines[position].removeprefix(prefix)
        frame = _FRAME.match(line)
        if frame is not None:
            file, number, function = frame.groups()
            frames.append({"file": file, "line": int(number), "function": function or ""})
        elif line[:1] not in (" ", ""):
            return _raised(line, _rest(lines, position + 1, prefix), frames)
    return {"type": "", "value": "", "frames": frames[-MAX_FRAMES:]} if frames else None


def _raised(line: str, rest: str, frames: list[dict[str, object]]) -> Raised:
    match = _RAISED.fullmatch(line)
    kind, value = match.groups(default="") if match else ("", line)
    if rest:
        value = f"{value}\n{rest}"
    return {"type": kind, "value": value[:MAX_VALUE_CHARS], "frames": frames[-MAX_FRAMES:]}


def _rest(lines: list[str], start: int, prefix: str) -> str:
    """Return the further lines of the exception's own message."""
    taken: list[str] = []
    size = 0
    for line in lines[start:]:
        if size > MAX_VALUE_CHARS or (prefix and not line.startswith(prefix)):
            break
        size += len(line) + 1
        taken.append(line.removeprefix(prefix))
    return "\n".join(taken).rstrip()
