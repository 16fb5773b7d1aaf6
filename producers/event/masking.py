"""Secrets, replaced before an event leaves the process.

An event is encoded first, then its words are looked over for a few marks, one of which every secret bears.
Nearly none has one, and is done. One that has is decoded again, masked as plain values and encoded anew: what
is masked is what would have been sent, the result is always
valid JSON, and no code of the service runs a second time. It prefers to mask too much.

RE2 is not there, so each pattern is linear in Python's `re` by its making, which stands beside it: what an
attempt that fails has looked at is bounded by a number, and what is not bounded can't fail any more.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from producers.event.objects import safe_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["MASK", "Masking"]

MASK: Final = "[masked]"

_NAME_FORM = re.compile(r"[^\W_](?:[\w.\- ]{0,126}[^\W_])?")
_NAMES_KEPT = 4_096
_LONGEST_NAME_KEPT = 128
# Characters at the end of a name that can make it a secret's.
_NAME_END = 512

_JOINT = "[ _-]?"
# Of secrets. They count at the end of a name as well: `db_password`, `accessToken`.
_NAMES = (
    rf"passwords?|sasl_auth_bytes|passwd|passphrase|pwd|secrets?|credentials?|token|auth|authorization|cookies?"
    rf"|(?:api|access|private|secret){_JOINT}keys?|access{_JOINT}key{_JOINT}id"
)
# Counts as a whole or behind a sign only: a TerminalSessionId is no secret, and says something.
_SESSION = rf"(?<![a-z0-9])session{_JOINT}id"
# What one of these names has at least, in small letters; a key is one of something besides.
_IN_NAMES = ("passw", "passphrase", "pwd", "secret", "credential", "token", "auth", "cookie", "session")
_WITH_A = ("AKIA", "ASIA", "ABIA", "ACCA", "AIza", "BEARER")
_WITH_UNDERSCORE = ("ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_", "k_live_", "npm_")
# Between a name and its value: the end of a quote, maybe one that JSON within JSON escapes.
_TO_VALUE = r"""\\{0,3}["']? {0,8}[:=]\s{0,8}"""
# Begins with a quote, after which it can't fail: `*+` gives nothing back, and the end is optional.
_QUOTED = r"""[bru]{0,2}(?:"(?s:[^"\\]|\\.)*+"?|'(?s:[^'\\]|\\.)*+'?|\\{1,3}["'][^"'\\]*+(?:\\{1,3}["'])?)"""
_OF_BARE = r"""[^\s"'\\,;&<>(){}\[\]]"""


class _Shape(NamedTuple):
    """How secrets of one kind look in a text.

    Attributes:
        part: what a text that holds one has, in small letters; found much faster than the pattern.
        pattern: the secret and what tells it.
        shown: what takes its place.
    """

    part: str
    pattern: re.Pattern[str]
    shown: str


def _shape(part: str, pattern: str, shown: str = MASK) -> _Shape:
    return _Shape(part, re.compile(pattern, re.ASCII), shown)


# Order matters: a private key spans lines, and a header would otherwise lose its scheme to the names. In
# most, what comes before the last repetition is bounded, and nothing comes after it; where more is to be
# said, it is.
_SHAPES = (
    # `.*?` ends where the text ends at the latest, so it never fails.
    _shape(
        "private key",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?s:.*?)(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)",
        "[masked private key]",
    ),
    _shape(
        "authorization",
        rf"""(?i)(authorization{_TO_VALUE}\\{{0,3}}["']?(?:[a-z0-9-]{{1,20}} {{1,8}})?){_OF_BARE}+""",
        rf"\1{MASK}",
    ),
    # A header: all of the line.
    _shape("cookie", r"""(?i)(cookie\\{0,3} {0,8}:\s{0,8})[^\s"'\\][^\r\n"'\\]*""", rf"\1{MASK}"),
    _shape("bearer", r"(?<![A-Za-z0-9])((?:[Bb]earer|BEARER) {1,8})[\w.~+/=-]{16,}", rf"\1{MASK}"),
    # Were the dot asked for, a row of `-eyJ` would be read from each of them to the end.
    _shape("eyj", r"(?<![A-Za-z0-9])eyJ[\w-]{6,}(?:\.[\w-]*){0,4}"),
    _shape("", r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}"),
    _shape("xox", r"(?<![A-Za-z0-9])xox[a-z](?:\.xox[a-z])?-[\w-]{6,}"),
    _shape("xapp-", r"(?<![A-Za-z0-9])xapp-[\w-]{6,}"),
    _shape("hooks.slack", r"(hooks\.slack\.com/(?:services|workflows|triggers)/)[\w/-]+", rf"\1{MASK}"),
    _shape("_", r"(?<![A-Za-z0-9])(?:gh[oprsu]_|github_pat_|[rs]k_live_|npm_)[\w-]{16,}"),
    _shape("glpat-", r"(?<![A-Za-z0-9])glpat-[\w-]{16,}"),
    _shape("aiza", r"(?<![A-Za-z0-9])AIza[\w-]{30,}"),
    # The password of a URL. All repetitions are bounded.
    _shape("://", r'(://[^\s:/@"]{0,128}:)[^\s/"]{1,512}@', rf"\1{MASK}@"),
    # `password=x`, `"password": "x y"`, and the same inside a JSON string.
    _shape("", rf"(?i)((?:{_NAMES}){_TO_VALUE})(?:{_QUOTED}|{_OF_BARE}+)", rf"\1{MASK}"),
    _shape("session", rf"(?i)({_SESSION}{_TO_VALUE})(?:{_QUOTED}|{_OF_BARE}{{6,}})", rf"\1{MASK}"),
)


class Masking:
    """What counts as a secret in one service's events.

    Only a memory of harmless names changes, which threads share freely: a set takes an addition at once.
    """

    def __init__(self, mask_keys: Collection[str] = ()) -> None:
        """Add names to those that are secret in every service.

        Args:
            mask_keys: names of fields, at any depth, whose values are secret; longer names that end with one
                behind `_`, `-`, `.` or a blank are as well. Case doesn't matter, and `-` is the same as `_`.

        Raises:
            TypeError: one text instead of a collection.
            ValueError: a name that can't be one.
        """
        if isinstance(mask_keys, str):
            raise TypeError(f"mask_keys must be a list of names, not the text {mask_keys!r}")
        for name in mask_keys:
            if not _NAME_FORM.fullmatch(name):
                raise ValueError(
                    f"mask_keys: {name!r} can't name a field; valid: letters, digits, and `_-. ` between them"
                )
        self._shapes: tuple[_Shape, ...] = _SHAPES
        self._in_names: tuple[str, ...] = _IN_NAMES
        names = f"(?:{_NAMES})|{_SESSION}"
        if mask_keys:
            own = r"(?<![^\W_])(?:" + "|".join(map(_spelled, mask_keys)) + ")"
            named = rf"(?i)({own}{_TO_VALUE})(?:{_QUOTED}|{_OF_BARE}+)"
            self._shapes += (_Shape("", re.compile(named), rf"\1{MASK}"),)
            self._in_names += tuple(max(re.split(r"[\W_]", name), key=len).lower() for name in mask_keys)
            names += "|" + own
        # A name that was taken has an underscore behind it, maybe with a number.
        self._named = re.compile(rf"(?i)(?:{names})_*(?:\d+_)?\Z")
        self._harmless: set[object] = set()

    def suspects(self, names: Collection[str], texts: str) -> bool:
        """Whether an event may hold a secret; one that it doesn't suspect holds none that is known here.

        Args:
            names: those of its fields, at any depth.
            texts: all its texts.
        """
        try:
            return not (self._harmless.issuperset(names) or self._learn(names)) or self._suspects_text(texts)
        except Exception:  # noqa: BLE001 - a name may be the service's own object, and raise anything
            return True

    def masked(self, encoded: bytes) -> dict[str, object]:
        """Return the fields of an encoded event with the secrets in them replaced."""
        fields: dict[str, object] = orjson.loads(encoded)
        return dict(self._field(name, value) for name, value in fields.items())

    def document(self, value: bytes) -> bytes:
        """Return what another renderer made of an event with the secrets in it replaced, JSON as JSON.

        Args:
            value: any bytes; they come back as they are if nothing is suspected.
        """
        try:
            text = value.decode("utf-8", "backslashreplace")
            # JSON in ASCII may spell a name so that it isn't seen.
            if "\\u" not in text and not self._suspects_text(text):
                return value
            try:
                fields = orjson.loads(value)
            except orjson.JSONDecodeError:
                return self.text(text).encode("utf-8", "backslashreplace")
            return orjson.dumps(self._value(fields))
        except Exception:  # noqa: BLE001 - whatever goes wrong (nested too deep), the secret stays here
            return orjson.dumps({"event": MASK})

    def text(self, text: str) -> str:
        """Return a text with the secrets in it replaced; takes time linear in its length."""
        if self._suspects_text(text):
            lower = text.lower()
            for part, pattern, shown in self._shapes:
                if part in lower:
                    text = pattern.sub(shown, text)
        return text

    def is_secret(self, name: str) -> bool:
        """Whether a field of this name holds a secret."""
        if name in self._harmless:
            return False
        if self._named.search(name[-_NAME_END:]):
            return True
        self._learn((name,))
        return False

    def _learn(self, names: Iterable[object]) -> bool:
        """Return whether no name is a secret's or has one in itself, and remember those that are harmless."""
        for name in names:
            if name in self._harmless:
                continue
            text = name if isinstance(name, str) else safe_text(name, convert=str)
            if self._named.search(text[-_NAME_END:]) or self._suspects_text(text):
                return False
            if len(text) <= _LONGEST_NAME_KEPT and type(name) is str:
                if len(self._harmless) >= _NAMES_KEPT:
                    self._harmless = set()
                self._harmless.add(name)
        return True

    def _suspects_text(self, text: str) -> bool:
        # A single character is found faster than a word, so a rare one of the shape is asked for first.
        return (
            (("=" in text or ":" in text) and self._mentions_name(text))
            or ("J" in text and "eyJ" in text)
            or ("A" in text and any(mark in text for mark in _WITH_A))
            or ("K" in text and "PRIVATE KEY" in text)
            or ("@" in text and "://" in text)
            or ("_" in text and any(mark in text for mark in _WITH_UNDERSCORE))
            or ("x" in text and ("xox" in text or "xapp-" in text))
            or "glpat-" in text
            or "earer " in text
            or "hooks.slack" in text
        )

    def _mentions_name(self, text: str) -> bool:
        lower = text.lower()
        if "key" in lower and ("api" in lower or "access" in lower or "private" in lower):
            return True
        for part in self._in_names:  # noqa: SIM110 - `any` over a generator takes twice as long
            if part in lower:
                return True
        return False

    def _field(self, name: str, value: object) -> tuple[str, object]:
        shown = MASK
        try:
            shown = self.text(name)
            return shown, self._named_value(name, value)
        except Exception:  # noqa: BLE001 - whatever goes wrong (no stack left), the secret stays here
            return shown, MASK

    def _named_value(self, name: str, value: object) -> object:
        # True, False and None say that there is a secret, not which.
        if value is None or isinstance(value, bool):
            return value
        return MASK if self.is_secret(name) else self._value(value)

    def _value(self, value: object) -> object:
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(name): self._named_value(name, inner) for name, inner in value.items()}
            case [str() as name, str() as inner] if self.is_secret(name):
                return [name, inner and MASK]  # a header, as libraries for HTTP list them
            case list():
                return [self._value(inner) for inner in value]
            case _:
                return value


def _spelled(name: str) -> str:
    """Return the pattern of a name, in which `_` and `-` are the same."""
    return re.sub(r"_|\\-", "[_-]", re.escape(name))
