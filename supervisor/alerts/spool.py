"""The spool: letters on disk, until every channel has them.

Runs in: supervisor (adds), sender (reads, removes), tools. One file a letter, named by its number; how far
each lane of the channels has got stands in `cursors.json`, and a letter that all lanes have passed is
removed. So a letter is sent at least once, in order, whoever is killed when.

    state_dir/alerts/            0700
        state.json               what the engine remembers (supervisor)
        spool/0000000042.json    a letter (supervisor adds, sender removes)
        cursors.json             lane -> number of the last letter that it is done with (sender)
        channels.json            how the lanes are (sender writes, supervisor reads)
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Final

import msgspec

from supervisor import atomic
from supervisor.alerts.model import Letter, State
from supervisor.status import ChannelStatus

log = logging.getLogger(__name__)

MOST: Final = 500
"""More letters than this are not kept: the oldest go."""
KEEP_S: Final = 86_400.0
"""An older letter is no news: what still stands is told daily."""

_LETTER: Final = msgspec.json.Decoder(Letter)
_STATE: Final = msgspec.json.Decoder(State)
_CURSORS: Final = msgspec.json.Decoder(dict[str, int])
_CHANNELS: Final = msgspec.json.Decoder(dict[str, ChannelStatus])


class Spool:
    """One state folder's. All methods but the reading ones raise OSError when the disk refuses."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir / "alerts"
        self._letters = self.folder / "spool"

    def make(self) -> None:
        """The folders."""
        for folder in (self.folder, self._letters):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    # -- letters ------------------------------------------------------------------------------------------

    def put(self, letter: Letter) -> None:
        """Add a letter; where there are too many the oldest go."""
        self.make()
        atomic.replace(self._path(letter.seq), msgspec.json.encode(letter), 0o600)
        numbers = self.numbers()
        for number in numbers[: max(0, len(numbers) - MOST)]:
            log.error("an alert is dropped: too many wait", extra={"cause": "HOST", "letter": number})
            self.remove(number)

    def numbers(self) -> list[int]:
        """Of the letters that wait, ascending."""
        try:
            stems = [path.stem for path in self._letters.iterdir() if path.suffix == ".json"]
        except OSError:
            return []
        return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())

    def get(self, number: int) -> Letter | None:
        """None: it is not there, or not a letter (a crash of the machine may leave it empty).

        Raises:
            OSError: it cannot be read now.
        """
        try:
            return _LETTER.decode(self._path(number).read_bytes())
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def remove(self, number: int) -> None:
        """It may be gone already."""
        self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._letters / f"{number:010}.json"

    # -- the rest -----------------------------------------------------------------------------------------

    def load(self) -> State:
        """The engine's state; a fresh one where there is none that can be read."""
        try:
            return _STATE.decode((self.folder / "state.json").read_bytes())
        except FileNotFoundError:
            return State()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("what alarms stood open is forgotten", extra={"cause": "HOST", "why": str(error)})
            return State()

    def save(self, state: State) -> None:
        """Replace the engine's state."""
        self.make()
        atomic.replace(self.folder / "state.json", msgspec.json.encode(state), 0o600)

    def cursors(self) -> dict[str, int]:
        """Lane -> number; empty where there is none that can be read: letters are sent again then."""
        with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
            return _CURSORS.decode((self.folder / "cursors.json").read_bytes())
        return {}

    def save_cursors(self, cursors: dict[str, int]) -> None:
        """Replace them."""
        atomic.replace(self.folder / "cursors.json", msgspec.json.encode(cursors), 0o600)

    def channels(self) -> dict[str, ChannelStatus]:
        """How the sender last said that the lanes are."""
        with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
            return _CHANNELS.decode((self.folder / "channels.json").read_bytes())
        return {}

    def save_channels(self, channels: dict[str, ChannelStatus]) -> None:
        """Replace it."""
        atomic.replace(self.folder / "channels.json", msgspec.json.encode(channels), 0o600)

    def last_number(self) -> int:
        """The highest number that was ever given, as far as can be seen."""
        return max([0, *self.numbers(), *self.cursors().values()])
