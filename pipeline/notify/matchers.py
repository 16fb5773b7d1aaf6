r"""Matchers: Alertmanager's conditions on labels, `severity="critical"`, `!=`, `=~` and `!~`.

A missing label is the empty string; regular expressions are anchored and run in RE2, in linear time. Text is
read as Alertmanager reads it by default: by the UTF-8 grammar first, and what that refuses by the classic
one, which is what makes `service=~"pay\d+"` legal. (Alertmanager's manual, "Matcher"; matcher/parse and
pkg/labels in its source.)
"""

from __future__ import annotations

import dataclasses
import enum
import json
import re
from typing import TYPE_CHECKING, Any

import re2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Matcher", "Operator", "all_match", "parse_matcher", "parse_matchers", "show_matchers"]


class Operator(enum.Enum):
    """How a matcher compares."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    NOT_MATCHES = "!~"


@dataclasses.dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label.

    Attributes:
        name: of the label, any UTF-8 but empty.
        operator: how it compares.
        value: a text, or the regular expression; its dot matches a line end too, so that no line end in a log
            leads past a route.

    Raises:
        ValueError: the name is empty, or RE2 does not take the expression.
    """

    name: str
    operator: Operator
    value: str
    _pattern: Any = dataclasses.field(init=False, repr=False, compare=False, default=None)  # re2 has no types

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a matcher needs a label name before its operator")
        if self.operator in {Operator.MATCHES, Operator.NOT_MATCHES}:
            object.__setattr__(self, "_pattern", _compile(self.value))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet the condition."""
        text = labels.get(self.name, "")
        match self.operator:
            case Operator.EQUAL:
                return text == self.value
            case Operator.NOT_EQUAL:
                return text != self.value
            case Operator.MATCHES:
                return self._found(text)
            case Operator.NOT_MATCHES:
                return not self._found(text)

    def __str__(self) -> str:
        name = self.name if _UNQUOTED.fullmatch(self.name) else _quoted(self.name)
        return f"{name}{self.operator.value}{_quoted(self.value)}"

    def _found(self, text: str) -> bool:
        # RE2 works on UTF-8, which lone surrogates have none of.
        clean = text.encode("utf-8", "replace").decode()
        return self._pattern.fullmatch(clean) is not None


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether labels meet all conditions; no conditions are met by any labels."""
    return all(matcher.matches(labels) for matcher in matchers)


def show_matchers(matchers: Iterable[Matcher]) -> str:
    """Return the text `{a="b",c!~"d"}` that `parse_matchers` reads back."""
    return "{" + ",".join(map(str, matchers)) + "}"


def parse_matcher(text: str) -> Matcher:
    """Read exactly one matcher.

    Raises:
        ValueError: it is none, or several.
    """
    matchers = parse_matchers(text)
    if len(matchers) != 1:
        raise ValueError(f"expected one matcher, found {len(matchers)} in {text!r}")
    return matchers[0]


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Read matchers that commas part, in braces or not.

    Raises:
        ValueError: neither grammar takes it; the text says what the UTF-8 one expected, and where.
    """
    try:
        return tuple(_parse(text))
    except ValueError as error:
        try:
            return _parse_classic(text)
        except _ClassicError:
            raise error from None


_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_UNQUOTED = re.compile(r"""[^\s{}!=~,\\"'`]+""")
_TOKEN = re.compile(
    rf"""\s*(?: (?P<operator> =~ | !~ | != | = ) | (?P<quoted> "(?:[^"\\]|\\.)*" )
    | (?P<word> {_UNQUOTED.pattern} ) | (?P<mark> [{{}},] ) | (?P<end> \Z ) )""",
    re.VERBOSE | re.DOTALL,
)
_KINDS = {
    "operator": "an operator (=, !=, =~ or !~)",
    "name": "a label name",
    "value": "a label value",
    "next": "a comma or the end",
}
_CLASSIC = re.compile(rf"\s*({_NAME})\s*(=~|=|!=|!~)\s*(.*?)\s*", re.DOTALL)
# Go's escapes, which strconv.Unquote reads; bytes (`\xf0`, `\360`) may make up a character together.
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_PLAIN = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34}


class _ClassicError(ValueError):
    """The classic grammar does not take the text either."""


def _compile(expression: str) -> Any:  # Any: re2 ships no types
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if error.args else "unreadable"
        raise ValueError(f"{expression!r} is no regular expression that RE2 takes: {reason}") from None
    except UnicodeEncodeError:
        raise ValueError(f"{expression!r} is not valid Unicode") from None


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _parse(text: str) -> Iterator[Matcher]:
    """Read by the UTF-8 grammar."""
    tokens = _Tokens(text)
    braced = tokens.take_mark("{")
    while not tokens.at_end() and not tokens.at("}"):
        name = tokens.take_text("name")
        operator = Operator(tokens.take("operator"))
        yield Matcher(name, operator, tokens.take_text("value"))
        if not tokens.take_mark(","):
            break
    if braced and not tokens.take_mark("}"):
        raise tokens.expected("a comma or a closing brace")
    if not tokens.at_end():
        raise tokens.expected(_KINDS["next"])


class _Tokens:
    """The tokens of one text, one ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._advance()

    def at_end(self) -> bool:
        return self._kind == "end"

    def at(self, mark: str) -> bool:
        return self._kind == "mark" and self._value == mark

    def take_mark(self, mark: str) -> bool:
        """Pass over a mark and return whether it was there."""
        if not self.at(mark):
            return False
        self._advance()
        return True

    def take(self, kind: str) -> str:
        """Return the next token's text."""
        if self._kind != kind:
            raise self.expected(_KINDS[kind])
        value = self._value
        self._advance()
        return value

    def take_text(self, role: str) -> str:
        """Return a quoted or an unquoted text."""
        if self._kind not in {"quoted", "word"}:
            raise self.expected(_KINDS[role])
        quoted, value = self._kind == "quoted", self._value
        self._advance()
        return _unquote(value) if quoted else value

    def expected(self, what: str) -> ValueError:
        found = "the end" if self._kind == "end" else repr(self._value)
        return ValueError(f"expected {what}, found {found} at column {self._start + 1} of {self._text!r}")

    def _advance(self) -> None:
        found = _TOKEN.match(self._text, self._place)
        if found is None or found.lastgroup is None:
            rest = self._text[self._place :].lstrip()
            self._start = len(self._text) - len(rest)
            self._kind, self._value = "wrong", rest[:1]
            return
        self._kind, self._value = found.lastgroup, found[found.lastgroup]
        self._start, self._place = found.start(found.lastgroup), found.end()


def _unquote(quoted: str) -> str:
    """Read a text in double quotes as Go does, without its leave to be wrong about Unicode."""
    inner = quoted[1:-1]
    if "\n" in inner:
        raise ValueError(f"a line end in quotes is written \\n: {quoted!r}")
    out = bytearray()
    place = 0
    try:
        for found in _ESCAPE.finditer(inner):
            out += inner[place : found.start()].encode()
            place = found.end()
            byte, octal, short, long, plain = found.groups()
            if byte or octal:
                out.append(int(byte, 16) if byte else int(octal, 8))
            elif short or long:
                out += chr(int(short or long, 16)).encode()
            else:
                out.append(_PLAIN[plain])
        out += inner[place:].encode()
        return out.decode()
    except (KeyError, OverflowError, ValueError):
        raise ValueError(
            f"{quoted!r} has an escape that means nothing; a backslash is written \\\\"
        ) from None


def _split(text: str) -> list[str]:
    """Part matchers at the commas outside of quotes, as the classic grammar has it."""
    parts, start = [], 0
    body = text.strip().removeprefix("{").removesuffix("}")
    quoted = escaped = False
    for place, character in enumerate(body):
        if character == "," and not quoted:
            parts.append(body[start:place])
            start = place + 1
        elif character == '"' and not escaped:
            quoted = not quoted
        escaped = character == "\\" and not escaped
    if body[start:].strip():
        parts.append(body[start:])
    return parts


def _parse_classic(text: str) -> tuple[Matcher, ...]:
    """Read by the classic grammar."""
    parts = _split(text)
    if not parts:
        raise _ClassicError
    return tuple(_parse_classic_one(part) for part in parts)


def _parse_classic_one(text: str) -> Matcher:
    found = _CLASSIC.fullmatch(text)
    if found is None:
        raise _ClassicError
    name, operator, value = found.groups()
    if value.startswith('"'):
        inner = re.fullmatch(r'"((?:[^"\\]|\\.)*)"', value, re.DOTALL)
        if inner is None:
            raise _ClassicError
        value = inner[1]
    elif re.search(r'(?<!\\)"', value):
        raise _ClassicError
    escapes = {"n": "\n", '"': '"', "\\": "\\"}
    # Any other escape is the backslash itself and what follows.
    value = re.sub(r"\\(.)", lambda m: escapes.get(m[1], m[0]), value, flags=re.DOTALL)
    return Matcher(name, Operator(operator), value)
