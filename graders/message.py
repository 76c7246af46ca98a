"""What a message to the LMS may hold: texts cleaned and fitted into their room, markup finished and linted.

Runs in: worker, tools. The only module that imports lxml; pure. Why all this is needed: graders.feedback.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from lxml import etree

LIMIT_BYTES_MIN: Final = 4 * 1024
LIMIT_BYTES_MAX: Final = 384 * 1024
"""Bytes of a message in UTF-8. On the wire it grows at most sixfold (a quotation mark is %5C%22), so to
2.25 MiB; both kinds of XQueue refuse forms over 2.5 MiB."""


class MessageError(Exception):
    """A message that the LMS would refuse, spoil or show wrongly."""


# ---------------------------------------------------------------------------------------------------- clean

_DIRTY = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_RETURN = re.compile("&#13;")
_ANSI = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: window title, links
    r"|\x1b[ -/]+[0-~]"  # character sets
    r"|\x1b[0-Z\\^_`-~]"  # the two-character ones
)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code == 0x0C:
        return "\n"
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"


def clean(text: str) -> str:
    """The text without what XML 1.0 or the LMS cannot carry.

    ANSI escapes go, CR LF and CR become LF, control characters become their visible pictures (U+2400 ff.),
    C1 controls, surrogates, U+FFFE and U+FFFF become U+FFFD.
    """
    if not _DIRTY.search(text):
        return text
    text = _ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _DIRTY.sub(_picture, text)


# ------------------------------------------------------------------------------------------------------ fit


def cost(text: str) -> int:
    """Bytes that a clean text takes in the finished message."""
    size = len(text) if text.isascii() else len(text.encode())
    if "&" in text:
        size += 4 * text.count("&")
    return size + 3 * (text.count("<") + text.count(">")) + 10 * text.count("$")


def shares(wants: Sequence[int], room: int) -> list[int]:
    """Divide `room` fairly: who wants little gets all of it, the others get equal parts of the rest."""
    given = list(wants)
    left, waiting = max(room, 0), sorted(range(len(wants)), key=lambda i: wants[i])
    for done, index in enumerate(waiting):
        given[index] = min(wants[index], left // (len(waiting) - done))
        left -= given[index]
    return given


def fit(text: str, room: int, mark: str, focus: int = 0) -> str:
    """The text, clean, in at most `room` bytes of message; what was left out is replaced by `mark`.

    Args:
        text: any text, not clean yet.
        mark: has {count}, the number of characters left out there.
        focus: index of a character that should stay visible, 0 for none: the cut keeps the beginning and
            the surroundings of the focus, or the beginning and the end.
    """
    if len(text) <= room:
        whole = clean(text)
        if cost(whole) <= room:
            return whole
    keep = room - cost(mark.format(count=len(text))) - 2
    while keep > 0:
        head = keep // 4 if focus > keep // 2 else keep * 3 // 4
        tail = keep - head
        start = min(max(focus - tail // 4, head), len(text) - tail) if focus > keep // 2 else len(text) - tail
        end = start + tail
        parts = [clean(text[:head])]
        if start > head:
            parts.append(mark.format(count=start - head))
        parts.append(clean(text[start:end]))
        if end < len(text):
            parts.append(mark.format(count=len(text) - end))
        cut = "\n".join(parts)
        size = cost(cut)
        if size <= room:
            return cut
        keep = min(keep * room // size, keep - 1)
    return "…" if room >= 3 else ""


# --------------------------------------------------------------------------------------------------- finish

# Elements that HTML reads as closed although they are written <br/>.
VOID = frozenset({"area", "br", "col", "hr", "img", "input", "source", "track", "wbr"})
_NEVER = frozenset(
    {"script", "style", "iframe", "object", "embed", "base", "form", "meta", "link", "svg", "math"}
)
_FILLER = "\u200b"  # zero width
_PARSER = etree.XMLParser(remove_comments=True, remove_pis=True, resolve_entities=False, no_network=True)


def finish(markup: str) -> str:
    """Markup as the LMS and the browser both read it.

    Raises:
        MessageError: it is not one well-formed element.
    """
    try:
        root = etree.fromstring(markup.strip(), _PARSER)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise MessageError(f"not well-formed: {error}") from None
    dollars = "$" in markup
    for element in root.iter(etree.Element):
        text = element.text
        if not text:
            if len(element) == 0 and element.tag not in VOID:
                element.text = _FILLER
        elif text[0] == "\n" and element.tag == "pre":
            element.text = f"\n{text!s}"  # HTML drops the first newline of a <pre>
        if dollars:
            for name, value in element.items():
                element.set(name, str(value).replace("$", "\uff04"))  # an attribute has no room for <wbr/>
    return etree.tostring(root, encoding="unicode", with_tail=False).replace("$", "&#36;<wbr/>")


def lint(msg: str, limit_bytes: int = LIMIT_BYTES_MAX) -> None:
    """Nothing leaves without passing here: would the LMS take this message and show what we mean?

    Raises:
        MessageError: it would not; the text says why.
    """
    if not msg.strip():
        raise MessageError("empty")
    if (unfit := _DIRTY.search(msg)) or (unfit := _RETURN.search(msg)):
        raise MessageError(f"character {unfit[0]!a} at {unfit.start()}")
    if "$" in msg:
        raise MessageError("raw $: the LMS expands names after it")
    if msg.lstrip().startswith("<?") or "<!" in msg:
        raise MessageError("declaration, comment or CDATA section")
    if (size := len(msg.encode())) > limit_bytes:
        raise MessageError(f"{size} bytes, more than {limit_bytes}")
    try:
        root = etree.fromstring(msg)  # exactly what the LMS does with it
    except (etree.XMLSyntaxError, ValueError) as error:
        raise MessageError(f"not well-formed with one root: {error}") from None
    for element in root.iter():
        tag = element.tag
        if not isinstance(tag, str):
            raise MessageError("processing instruction, comment or entity")
        if tag in _NEVER or tag.startswith("{"):
            raise MessageError(f"element <{tag}>")
        if not element.text and len(element) == 0 and tag not in VOID:
            raise MessageError(f"empty element <{tag}>: browsers would not see its end")
        for name, _ in element.items():
            if str(name).lower().startswith("on"):
                raise MessageError(f"element <{tag}> has the attribute {name!s}")
    if not "".join(map(str, root.itertext())).strip(f" \n{_FILLER}"):
        raise MessageError("no text")
