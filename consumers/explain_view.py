"""Explanations on the terminal: a tree with ✓ and ✗, in which what decides stands out.

Red is what keeps the rule from firing, green what makes it. In a pipe the same is plain text. Whatever comes
from an event was made printable by the core, and rich is never given text as markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich.cells import cell_len
from rich.text import Text

from pipeline.sigma.explanation.explain import Group, Leaf

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from consumers.explain import Explanation
    from pipeline.sigma.explanation.explain import Part

__all__ = ["write_explanation"]

_WIDTH = 100
_WIDEST = 140
_FEWEST = 60
# Tests of one group are set in a column up to this width, with what was found in the next.
_COLUMN = 46
_KINDS = {"all": "all of", "any": "any of", "not": "not"}
_LEVELS = {"critical": "bold red", "high": "dark_orange", "medium": "yellow", "low": "blue"}


def write_explanation(console: Console, explanation: Explanation) -> None:
    """Show one explanation.

    Args:
        console: where to.
        explanation: a rule and an event.
    """
    in_colour = console.is_terminal and console.encoding.startswith("utf")
    width = min(max(console.width, _FEWEST), _WIDEST) if console.is_terminal else _WIDTH
    for line in _lines(explanation, width):
        if in_colour:
            console.print(line, soft_wrap=True, highlight=False)
        else:
            # Past rich, which answers a closed pipe by leaving the process.
            text = line.plain.rstrip().encode(console.encoding, "backslashreplace").decode(console.encoding)
            console.file.write(f"{text}\n")
    console.file.flush()


def _lines(explanation: Explanation, width: int) -> Iterator[Text]:
    about = explanation
    mark = ("✓ ", "bold green") if about.fires else ("✗ ", "bold red")
    verdict = (about.verdict, "green" if about.fires else "red")
    yield Text.assemble(mark, (about.title, "bold"), "  ", verdict)
    facts = (about.level, _LEVELS.get(about.level, "dim")), (f"  {about.id}  {about.place}", "dim")
    yield Text.assemble("  ", *facts)
    if about.event:
        yield Text.assemble("  ", (f"event {about.event}", "dim"))
    if about.text:
        yield from _wrapped(Text(about.text, style="dim"), Text("  "), Text("  "), width)
    for reason in about.reasons:
        yield from _wrapped(Text(reason), Text("  • ", "red"), Text("    "), width)
    yield Text("")
    if about.explained is not None:
        tree = _Tree(width, matched=about.explained.matched)
        yield from tree.lines(about.explained.condition)
        yield Text("")
    names = [fact.name for fact in about.facts]
    column = max(map(len, names), default=0)
    for fact in about.facts:
        style = "" if fact.good else "red"
        begin = Text.assemble("  ", (fact.name.ljust(column), "dim"), "  ")
        yield from _wrapped(Text(fact.says, style=style), begin, Text(" " * (column + 4)), width)


class _Tree:
    """Draws the parts of one condition."""

    def __init__(self, width: int, *, matched: bool) -> None:
        self._width = width
        self._matched = matched

    def lines(self, root: Part) -> Iterator[Text]:
        """Yield the lines of the whole tree."""
        yield from self._part(root, "  ", "  ", 0)

    def _part(self, part: Part, first: str, rest: str, column: int) -> Iterator[Text]:
        """Yield the lines of a part.

        Args:
            part: what to show.
            first: what stands before its first line.
            rest: what stands before the others.
            column: how wide its siblings are.
        """
        prefix, outer = "", part
        # What has one part only stands on one line with it.
        while isinstance(part, Group) and len(part.members) + part.left == 1:
            name = f"{part.name}: " if part.name else ""
            prefix, part = f"{prefix}{'not ' if part.kind == 'not' else name}", part.members[0]
        head = self._mark(outer)
        if isinstance(part, Leaf):
            head.append(f"{prefix}{part.test}", self._style(outer))
            yield from self._leaf(head, _found(part), first, rest, column)
            return
        name = f"{part.name}: " if part.name else ""
        head.append(f"{prefix}{name}", f"bold {self._style(outer)}".strip())
        same = _same(part)
        head.append(f"{_KINDS[part.kind]}{' ' + same.field if same and same.field else ''}", "dim")
        yield from self._leaf(head, _found(same) if same else "", first, rest, 0)
        yield from self._members(part, rest, same)

    def _members(self, group: Group, rest: str, told: Leaf | None) -> Iterator[Text]:
        count = len(group.members) + bool(group.left)
        heads = [cell_len(m.test) for m in group.members if isinstance(m, Leaf)]
        column = max((w for w in heads if w <= _COLUMN), default=0)
        for at, member in enumerate(group.members, 1):
            shown = member
            if told is not None and isinstance(member, Leaf):
                why = "" if member.why == told.why else member.why
                shown = msgspec.structs.replace(member, found=(), left=0, why=why)
            first, below = ("├─ ", "│  ") if at < count else ("└─ ", "   ")
            yield from self._part(shown, rest + first, rest + below, column)
        if group.left:
            yield Text.assemble((f"{rest}└─ ", "dim"), (_left(group), "dim"))

    def _leaf(self, head: Text, tail: str, first: str, rest: str, column: int) -> Iterator[Text]:
        line = Text.assemble((first, "dim"), head)
        if not tail:
            yield line
            return
        # Two for the mark.
        gap = max(column + 2 - head.cell_len, 0) + 2
        if line.cell_len + gap + cell_len(tail) <= self._width:
            yield Text.assemble(line, " " * gap, (tail, "cyan"))
            return
        yield line
        yield from _wrapped(
            Text(tail, style="cyan"), Text(f"{rest}    ", "dim"), Text(f"{rest}    ", "dim"), self._width
        )

    def _mark(self, part: Part) -> Text:
        so = "green" if part.held else "dim"
        style = "bold red" if part.decides and not self._matched else so
        return Text.assemble(("✓ " if part.held else "✗ ", style))

    def _style(self, part: Part) -> str:
        return "" if part.decides else "dim"


def _found(leaf: Leaf) -> str:
    if leaf.why and (leaf.found in ((), ("missing",)) or leaf.why.startswith("is ")):
        return leaf.why
    values = ", ".join(leaf.found) + (f" and {leaf.left:,} more" if leaf.left else "")
    return f"{values} — {leaf.why}" if leaf.why else values


def _same(group: Group) -> Leaf | None:
    """Return one of the tests of a group that all look at the same values, or None."""
    leaves = [member for member in group.members if isinstance(member, Leaf)]
    if len(leaves) < len(group.members) or not leaves or not leaves[0].field:
        return None
    if len({(leaf.field, leaf.found, leaf.left) for leaf in leaves}) > 1:
        return None
    reasons = {leaf.why for leaf in leaves if not leaf.held}
    return msgspec.structs.replace(leaves[0], why=reasons.pop() if len(reasons) == 1 else "")


def _left(group: Group) -> str:
    if not group.left_held:
        held = "none of which held"
    elif group.left_held == group.left:
        held = "all of which held"
    else:
        held = f"{group.left_held:,} of which held"
    return f"… and {group.left:,} others, {held}"


def _wrapped(text: Text, first: Text, rest: Text, width: int) -> Sequence[Text]:
    """Return a text in as many lines as it takes, each after what stands before it."""
    room = max(width - first.cell_len, _FEWEST // 3)
    lines = _cut(text, room)
    return [Text.assemble(first if at == 0 else rest, line) for at, line in enumerate(lines)]


def _cut(text: Text, room: int) -> list[Text]:
    """Break a text between words where it can be."""
    lines: list[Text] = []
    while text.cell_len > room:
        at = room
        while cell_len(text.plain[:at]) > room:
            at -= 1
        space = text.plain.rfind(" ", 0, at + 1)
        at = space if space > room // 2 else at
        lines.append(text[:at])
        text = text[at:]
        if text.plain.startswith(" "):
            text = text[1:]
    return [*lines, text]
