"""Compile every graders.po under conf/locale into the graders.mo beside it: python course/conf/compile_messages.py

Runs in: tools. Only the standard library is needed. With `--check` nothing is written; the exit code says
whether every .mo is that of its .po.

The subset of the .po format that it reads: msgid, msgstr and msgctxt, continued over lines, with comments and
fuzzy entries skipped. Plurals are refused by name; where a course needs them, msgfmt does the same work.
"""

import ast
import struct
import sys
from pathlib import Path

LOCALE = Path(__file__).resolve().parent / "locale"


class PoError(Exception):
    """The .po file does not read as one: file, line, why."""


def read_po(path):
    """Messages of a .po file, {msgid: msgstr}, untranslated and fuzzy ones left out."""
    messages, entry, part, fuzzy = {}, {}, None, False

    def finish():
        if entry.get("msgstr") and not fuzzy:
            key = entry["msgid"]
            if "msgctxt" in entry:
                key = entry["msgctxt"] + "\x04" + key
            messages[key] = entry["msgstr"]

    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if line.startswith("#"):
            if part == "msgstr":
                finish()
                entry, part, fuzzy = {}, None, False
            fuzzy = fuzzy or (line.startswith("#,") and "fuzzy" in line)
            continue
        if not line:
            continue
        word, _, rest = line.partition(" ")
        if word in ("msgctxt", "msgid"):
            if part == "msgstr":
                finish()
                entry, fuzzy = {}, False
            part, text = word, rest
        elif word == "msgstr" and part == "msgid":
            part, text = word, rest
        elif line.startswith('"') and part:
            text = line
        else:
            raise PoError("%s:%d: not understood: %s" % (path, number, line))
        try:
            entry[part] = entry.get(part, "") + ast.literal_eval(text.strip())
        except (ValueError, SyntaxError) as error:
            raise PoError("%s:%d: not a quoted text: %s" % (path, number, text)) from error
    finish()
    return messages


def to_mo(messages):
    """The bytes of a GNU .mo file, version 0, without a hash table (readers search the sorted ids)."""
    pairs = sorted((key.encode("utf-8"), value.encode("utf-8")) for key, value in messages.items())
    header_size, count = 28, len(pairs)
    ids_at, texts_at = header_size, header_size + 8 * count
    strings_at = texts_at + 8 * count
    strings, ids, texts = b"", [], []
    for table, column in ((ids, 0), (texts, 1)):
        for pair in pairs:
            table.append(struct.pack("<II", len(pair[column]), strings_at + len(strings)))
            strings += pair[column] + b"\0"
    header = struct.pack("<7I", 0x950412DE, 0, count, ids_at, texts_at, 0, strings_at)
    return header + b"".join(ids) + b"".join(texts) + strings


def main(arguments):
    check = arguments == ["--check"]
    if arguments and not check:
        sys.exit(__doc__)
    stale = []
    for po in sorted(LOCALE.glob("*/LC_MESSAGES/*.po")):
        mo, compiled = po.with_suffix(".mo"), to_mo(read_po(po))
        if not mo.exists() or mo.read_bytes() != compiled:
            stale.append(mo)
            if not check:
                mo.write_bytes(compiled)
                print("compiled", mo.relative_to(LOCALE))
    if check and stale:
        sys.exit("not compiled from its .po: " + ", ".join(str(mo.relative_to(LOCALE)) for mo in stale))


if __name__ == "__main__":
    main(sys.argv[1:])
