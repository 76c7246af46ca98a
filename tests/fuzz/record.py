"""What a run of `make fuzz` found, in a sentence: `python -m tests.fuzz.record LOG CODE [--record]`.

Runs in: tools.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

from tests.chaos.record import machine, write


def summary(log: str, code: int, today: str, where: str) -> str:
    """The log's statistics as a sentence.

    Raises:
        ValueError: there are none: it never ran.
    """
    numbers = dict(re.findall(r"stat::(\w+):\s+(\d+)", log))
    seconds = re.search(r"^atheris: (\d+) s", log, re.MULTILINE)
    if "number_of_executed_units" not in numbers or seconds is None:
        raise ValueError(f"the fuzzer did not run:\n{log[-2000:]}")
    found = "nothing was found" if not code else f"it ended with {code}, see var/fuzz"
    inputs, new, most = (numbers[n] for n in ("number_of_executed_units", "new_units_added", "peak_rss_mb"))
    return (
        f"{today}, {where}: {seconds[1]} s, {int(inputs):,} inputs, {new} of them new in what they reach,"
        f" at most {most} MB; {found}."
    )


def main() -> None:
    """Print it; with --record also write it into docs/reliability.md."""
    log, code = Path(sys.argv[1]).read_text(errors="replace"), int(sys.argv[2])
    if code:
        print(log[-4000:])
    text = summary(log, code, time.strftime("%Y-%m-%d", time.gmtime()), machine())
    print(text)
    if sys.argv[3:] == ["--record"]:
        write(text, "<!-- fuzz: begin -->", "<!-- fuzz: end -->")


if __name__ == "__main__":
    main()
