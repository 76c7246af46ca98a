"""`make fuzz`: the codec under atheris, for some time (600 s, or the first argument).

Runs in: tools (`.venv-fuzz`, with the packages of `.venv`; see run.sh). Ends with 0 if nothing was found;
what is found is kept in var/fuzz, as a file `crash-…` whose bytes are the input of `codec.one`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["xqueue", "tests.fuzz"]):
    from tests.fuzz import codec


def main() -> None:
    """Run for so many seconds."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    place = ROOT / "var" / "fuzz"
    corpus = place / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(codec.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    print(f"atheris: {seconds} s, from {len(list(corpus.iterdir()))} inputs, {time.strftime('%Y-%m-%d')}")
    options = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        "-max_len=4096",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        "-verbosity=0",
        f"-artifact_prefix={place}/",
        str(corpus),
    ]
    atheris.Setup(options, codec.one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
