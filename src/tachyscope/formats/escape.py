"""Text of the target made safe to show. Names and paths come from another process and may hold anything."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return `text` with everything invisible written out, as in a Python string: `\n`, `\x1b`, `\u202e`.

    That covers control characters, bidi controls, zero-width characters, odd spaces and lone surrogates. A
    backslash is doubled, so that different names stay different.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(char if char.isprintable() and char != "\\" else written_out(char) for char in text)


def written_out(char: str) -> str:
    r"""Return the escape of a character, also of one that could be shown: `;` is `\x3b`."""
    if char.isascii() and char.isprintable() and char != "\\":
        return f"\\x{ord(char):02x}"
    return char.encode("unicode_escape").decode("ascii")


def encodable(text: str, encoding: str | None) -> str:
    """Return `text` with what a stream's encoding lacks escaped, so that writing never fails."""
    name = encoding or "utf-8"
    return text.encode(name, "backslashreplace").decode(name)
