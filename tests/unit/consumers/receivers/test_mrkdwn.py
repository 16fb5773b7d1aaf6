"""Text stays text in Slack's format, and a cut never makes markup of it."""

from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.receivers.mrkdwn import clip, code_block, escape, inline_code, width
from consumers.receivers.visible import one_line, visible

TEXTS = st.text(alphabet=st.sampled_from("ab&<>`;! \n😀é"))


def test_the_three_characters_of_markup_are_escaped() -> None:
    assert escape("<!channel> & <@U1>") == "&lt;!channel&gt; &amp; &lt;@U1&gt;"


@given(TEXTS, st.integers(min_value=1, max_value=30))
def test_cut_text_fits_and_halves_no_entity(text: str, limit: int) -> None:
    cut = clip(escape(text), limit)
    assert width(cut) <= limit
    assert escape(html.unescape(cut)) == cut
    assert (
        html.unescape(cut).removesuffix("…").rstrip()
        == text[: len(html.unescape(cut).removesuffix("…"))].rstrip()
    )


@pytest.mark.parametrize("limit", range(1, 8))
def test_entity_at_the_limit_is_left_out_whole(limit: int) -> None:
    assert clip("ab&amp;cd", limit) in {"…", "a…", "ab…", "ab&amp;…"}


@given(st.lists(TEXTS, min_size=1, max_size=5), st.integers(min_value=60, max_value=300))
def test_nothing_ends_a_code_block_but_its_end(texts: list[str], limit: int) -> None:
    block = code_block(texts, limit)
    assert width(block) <= limit
    assert block.startswith("```\n")
    assert block.endswith("\n```")
    assert "```" not in block[3:-3]
    assert "<" not in block


@given(TEXTS, st.integers(min_value=3, max_value=40))
def test_nothing_ends_inline_code_but_its_end(text: str, limit: int) -> None:
    code = inline_code(one_line(text), limit)
    assert width(code) <= limit
    assert code.count("`") == 2
    assert "\n" not in code


def test_long_text_takes_the_room_that_short_ones_leave() -> None:
    block = code_block(["short", "x" * 1_000], 500)
    assert width(block) == 500
    assert "short" in block


def test_control_characters_are_shown_instead_of_done() -> None:
    shown = visible("\x1b[2J\x07\x00 \u202etxt\x9b1m\u2066 \ud800 ok\n\tnext")
    assert shown == "␛[2J␇␀ \\u202etxt\\x9b1m\\u2066 \ufffd ok\n\tnext"
    assert one_line("a\r\nb\tc\rd") == "a␊b c␍d"


@given(st.text(st.characters()))
def test_visible_text_holds_nothing_a_terminal_obeys(text: str) -> None:
    assert all(c in "\n\t" or not (ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0) for c in visible(text))
    visible(text).encode()
