"""What came of reading a rule file, as bytes and back. Never pickle: bytes from a disk must not run.

What does not come back as it was is not kept: the file is then read each time.
"""

from __future__ import annotations

import msgspec

from pipeline.errors import RuleError
from pipeline.sigma.form import Correlation, Filter, Rule

__all__ = ["Form", "from_bytes", "to_bytes"]

Form = Rule | Correlation | Filter | RuleError
"""What one document of a rule file is read as."""


class _Rule(msgspec.Struct, frozen=True, array_like=True, tag=0):
    form: Rule


class _Correlation(msgspec.Struct, frozen=True, array_like=True, tag=1):
    form: Correlation


class _Filter(msgspec.Struct, frozen=True, array_like=True, tag=2):
    form: Filter


class _Refused(msgspec.Struct, frozen=True, array_like=True, tag=3):
    message: str
    file: str
    line: int
    path: str

    @property
    def form(self) -> RuleError:
        return RuleError(self.message, file=self.file, line=self.line, path=self.path)


_Kept = _Rule | _Correlation | _Filter | _Refused
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(tuple[_Kept, ...])


def to_bytes(forms: tuple[Form, ...]) -> bytes | None:
    """Return forms as bytes, or None for what would not come back the same.

    Args:
        forms: all that came of one file.
    """
    kept = tuple(map(_kept, forms))
    try:
        data = _ENCODER.encode(kept)
        same = _DECODER.decode(data) == kept
    # Integers of more than 64 bits, half a surrogate pair, a value of another type than the form says,
    # conditions nested too deeply.
    except (OverflowError, UnicodeEncodeError, msgspec.DecodeError, TypeError, RecursionError):
        return None
    return data if same else None


def from_bytes(data: bytes) -> tuple[Form, ...] | None:
    """Return the forms that were kept, or None if the bytes hold something else."""
    try:
        kept = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return tuple(k.form for k in kept)


def _kept(form: Form) -> _Kept:
    match form:
        case Rule():
            return _Rule(form)
        case Correlation():
            return _Correlation(form)
        case Filter():
            return _Filter(form)
        case _:
            return _Refused(form.message, form.file, form.line, form.path)
