"""Stack traces as text, for dialects that know no other form: what Python prints, but for lines of source.

Made of what `exception` describes, so it is as bounded as that, and shows no secret that is hidden there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["stack_text"]

_HEADER = "Traceback (most recent call last):"
_LED_TO = "\nThe above exception led to the following one:\n"


def stack_text(exception: Mapping[str, Any]) -> str:  # Any: what `describe_exception` returns
    """Return an exception's stack trace; that of its cause comes first, as in Python's own.

    Args:
        exception: what `describe_exception` returns.
    """
    return "\n".join(_lines(exception, outermost=True))


def _lines(exception: Mapping[str, Any], *, outermost: bool = False) -> Iterator[str]:
    cause = exception.get("cause")
    if cause is not None:
        yield from _lines(cause)
        yield _LED_TO
    elif exception.get("cause_omitted"):
        yield "[earlier exceptions omitted]"
        yield _LED_TO
    members = exception.get("exceptions")
    if members is None:
        yield from _own(exception, _HEADER)
        return
    # Who reads this text takes the first such header for the group that was logged.
    header = f"Exception Group {_HEADER}" if outermost else _HEADER
    first, *rest = _own(exception, header)
    yield f"  + {first}"
    yield from _indented(rest, "  | ")
    for number, member in enumerate(members, 1):
        yield f"  {'+-' if number == 1 else '  '}+---------------- {number} ----------------"
        yield from _indented(_lines(member), "    | ")
    if omitted := exception.get("exceptions_omitted"):
        yield f"    | [{omitted} more omitted]"
    yield "    +------------------------------------"


def _indented(lines: Any, indent: str) -> Iterator[str]:  # Any: an iterable of texts
    for line in lines:
        for part in line.split("\n"):
            yield indent + part


def _own(exception: Mapping[str, Any], header: str) -> Iterator[str]:
    # Also without frames: who reads this text would otherwise take those of another exception for its own.
    yield header
    if omitted := exception.get("frames_omitted"):
        yield f"  [{omitted} frames omitted]"
    for frame in exception["frames"]:
        yield f'  File "{frame["file"]}", line {frame["line"]}, in {frame["function"]}'
        for name, shown in frame.get("locals", {}).items():
            yield f"    {name} = {shown}"
    value = exception["value"]
    yield f"{exception['type']}: {value}" if value else exception["type"]
    yield from exception.get("notes", ())
