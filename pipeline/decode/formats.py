"""The table of all formats: what a source's `format` may be set to, most particular first."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pipeline.decode.access_log import AccessDecoder
from pipeline.decode.apache_error import ApacheErrorDecoder
from pipeline.decode.basic import BasicDecoder
from pipeline.decode.json_object import JsonDecoder, WindowsDecoder
from pipeline.decode.logfmt import LogfmtDecoder
from pipeline.decode.plain_text import TextDecoder
from pipeline.decode.syslog_message import SyslogDecoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.decode.decoder import Decoder

__all__ = ["FORMATS", "formats"]


def formats(zone: dt.tzinfo = dt.UTC) -> dict[str, Decoder]:
    """Return a decoder of each format by its name.

    Args:
        zone: what times without an offset are in.
    """
    decoders: tuple[Decoder, ...] = (
        WindowsDecoder(zone),
        JsonDecoder(zone),
        AccessDecoder(zone),
        ApacheErrorDecoder(zone),
        BasicDecoder(zone),
        SyslogDecoder(zone),
        LogfmtDecoder(zone),
        TextDecoder(zone),
    )
    return {decoder.name: decoder for decoder in decoders}


FORMATS: Mapping[str, Decoder] = formats()
"""Every format, times without an offset in UTC."""
