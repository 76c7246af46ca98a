"""Write the result of `make test-vm` into its document.

Runs in: tools (the host's plain Python).

    python3 -m tests.vm.record RESULTS DOCUMENT ACCELERATOR

Parts that were not run this time keep their line: each says what was tested, and when.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

BEGIN, END = "<!-- the last result -->", "<!-- end of the last result -->"


def record(document: str, results: str, accelerator: str, day: str) -> str:
    """The document with its record brought up to date by the "-- " lines of the results."""
    before, _, rest = document.partition(BEGIN)
    old, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"the document has no line {BEGIN} followed by {END}")
    pairs = [line[3:].partition(": ")[::2] for line in results.splitlines() if line.startswith("-- ")]
    facts = {name: value for name, value in pairs if not name.startswith("part ") and name != "verdict"}
    tested = facts.pop("tested", "unknown")
    rows = dict(re.findall(r"^\| `([^`]+)`(.*)$", old, re.MULTILINE))
    for name, value in pairs:
        if name.startswith("part "):
            part, _, where = name.removeprefix("part ").partition(", ")
            rows[part] = f" | {where} | {value} | {tested}, {day}, {accelerator} |"
    block = [BEGIN, "", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items()), ""]
    block += ["| part | as whom, where | result | tested, when, how |", "|---|---|---|---|"]
    block += [f"| `{part}`{row}" for part, row in rows.items()]
    return before + "\n".join([*block, "", END]) + after


def main() -> None:
    results, document, accelerator = sys.argv[1:]
    path = Path(document)
    today = time.strftime("%Y-%m-%d")
    path.write_text(record(path.read_text(), Path(results).read_text(), accelerator, today))


if __name__ == "__main__":
    main()
