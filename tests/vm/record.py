"""Write the result of `make test-vm` into its document.

Runs in: tools (the host's plain Python).

    python3 -m tests.vm.record RESULTS DOCUMENT ACCELERATOR
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

BEGIN, END = "<!-- the last result -->", "<!-- end of the last result -->"


def record(document: str, results: str, accelerator: str, day: str) -> str:
    """The document with its record replaced by the "-- " lines of the results."""
    lines = [line[3:] for line in results.splitlines() if line.startswith("-- ")]
    facts = [line for line in lines if not line.startswith(("part ", "verdict"))]
    parts = [re.match(r"part ([^:]*): (.*)", line) for line in lines if line.startswith("part ")]
    verdict = next((line for line in lines if line.startswith("verdict")), "verdict: none")
    block = [BEGIN, "", f"{day}, qemu ({accelerator}); {verdict}.", ""]
    block += ["| | |", "|---|---|", *(f"| {line.replace(': ', ' | ', 1)} |" for line in facts), ""]
    block += ["| part | result |", "|---|---|", *(f"| {part[1]} | {part[2]} |" for part in parts if part)]
    block += ["", END]
    before, _, rest = document.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"the document has no line {BEGIN} followed by {END}")
    return before + "\n".join(block) + after


def main() -> None:
    results, document, accelerator = sys.argv[1:]
    path = Path(document)
    today = time.strftime("%Y-%m-%d")
    path.write_text(record(path.read_text(), Path(results).read_text(), accelerator, today))


if __name__ == "__main__":
    main()
