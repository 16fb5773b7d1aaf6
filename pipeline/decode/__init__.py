"""Decoding: bytes of a source into events, format by format."""

from __future__ import annotations

from pipeline.decode.decoder import Decoder
from pipeline.decode.fields import CANONICAL, DERIVED
from pipeline.decode.formats import FORMATS, formats
from pipeline.decode.framing import Framed, Joiner
from pipeline.decode.levels import LEVELS, numeric_spellings, spellings
from pipeline.decode.sniffer import AUTO, Auto, choose, sniff

__all__ = [
    "AUTO",
    "CANONICAL",
    "DERIVED",
    "FORMATS",
    "LEVELS",
    "Auto",
    "Decoder",
    "Framed",
    "Joiner",
    "choose",
    "formats",
    "numeric_spellings",
    "sniff",
    "spellings",
]
