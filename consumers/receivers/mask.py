"""Masking of secrets, for people and for machines alike.

Patterns are matched by RE2, so that a hostile line takes time in proportion to its length. They prefer
to mask too much: a masked word costs a look at the log, a shown password costs the password.
"""

from __future__ import annotations

import re2

__all__ = ["MASK", "mask"]

MASK = "[masked]"

# A value within quotes, its end included if it is there; also within quotes that a JSON string escapes.
_QUOTED = r""""(?:[^"\\]|\\.)*(?:"|\z)|'[^']*(?:'|\z)|\\"[^"\\]*(?:\\"|\\?\z)"""
# What a value is when it has no quotes: up to a blank or what closes it in JSON, a URL or a header.
_OF_BARE = r"""[^\s"'\\,;&<>(){}\[\]]"""
_BARE = _OF_BARE + "+"
_NAMES = (
    r"passwords?|passwd|passphrase|pwd|secret|secret[_-]?key|client[_-]?secret|api[_-]?key|access[_-]?key"
    r"|access[_-]?key[_-]?id|private[_-]?key|credentials?|token|auth|cookie"
)

# Each pattern with what takes its place. Order matters: a private key spans lines, and `Authorization`
# would otherwise lose its scheme to the names.
_PATTERNS = tuple(
    (re2.compile(pattern), shown)
    for pattern, shown in (
        (
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)",
            "[masked private key]",
        ),
        # `Authorization: Bearer x`, `"authorization": "Basic x"`, and whatever else stands after it.
        (
            r"""(?i)(authorization\\?["']?\s{0,8}[:=]\s{0,8}\\?["']?(?:[a-z0-9-]{1,20} +)?)""" + _BARE,
            rf"\1{MASK}",
        ),
        (r"(?i)\b(bearer +)[a-z0-9._~+/=-]{16,}", rf"\1{MASK}"),
        (r"\beyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?", MASK),
        (r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}", MASK),
        (r"\bxox[a-z](?:\.xox[a-z])?-[\w-]{6,}", MASK),
        (r"\bxapp-[\w-]{6,}", MASK),
        (r"(hooks\.slack\.com/(?:services|workflows|triggers)/)[\w/-]+", rf"\1{MASK}"),
        (r"\b(?:gh[oprsu]_|github_pat_|glpat-|sk_live_|rk_live_|npm_)\w{16,}", MASK),
        (r"\bAIza[\w-]{30,}", MASK),
        # The password of a URL.
        (r"(://[^\s:/@]{0,128}:)[^\s/@]{1,256}@", rf"\1{MASK}@"),
        # `password=x`, `"password": "x y"`, and the same inside a JSON string.
        (
            rf"""(?i)((?:{_NAMES})\\?["']?\s{{0,8}}[:=]\s{{0,8}})(?:{_QUOTED}|{_BARE})""",
            rf"\1{MASK}",
        ),
        # The number of a terminal's session is no secret, and says something.
        (
            rf"""(?i)(session[_-]?id\\?["']?\s{{0,8}}[:=]\s{{0,8}})(?:{_QUOTED}|{_OF_BARE}{{6,}})""",
            rf"\1{MASK}",
        ),
    )
)


def mask(text: str) -> str:
    """Return `text` with what looks like a secret replaced by `[masked]`.

    Known: values of keys such as `password`, `token` or `api_key`, `Authorization` headers, bearer
    tokens, JSON web tokens, private keys, passwords in URLs, and the keys of AWS, Slack, GitHub,
    GitLab, Stripe, npm and Google. Lone surrogates become `?`, since RE2 reads UTF-8.

    Args:
        text: of any length; the time taken is linear in it.
    """
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    for pattern, shown in _PATTERNS:
        text = pattern.sub(shown, text)
    return text
