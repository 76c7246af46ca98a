"""Channels as lanes: each URL of a channel, or its command, is one; none waits for another.

Runs in: sender, tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from supervisor.alerts.model import Letter
from supervisor.alerts.post import Job, ToCommand, ToUrl
from supervisor.secrets import SecretError, read_secret_lines
from supervisor.settings import Audience, Channel, Severity

MOST_URLS: Final = 20


@dataclass(frozen=True, slots=True)
class Lane:
    """`name` is the channel's, with the number of the URL where it has several."""

    name: str
    channel: Channel
    url: str | None = None  # None: a command

    def job(self, letter: Letter) -> Job:
        """The delivery of `letter`."""
        if self.url is None:
            return ToCommand(self.channel.command, letter, self.channel.timeout_s)
        return ToUrl(self.url, letter)


def lanes_of(channel: Channel, environ: Mapping[str, str]) -> list[Lane]:
    """The lanes of a channel; its secret is read now.

    Raises:
        SecretError: it cannot be had.
    """
    if channel.urls is None:
        return [Lane(channel.name, channel)]
    urls = [line for line in read_secret_lines(channel.urls, environ) if not line.startswith("#")]
    if not urls:
        raise SecretError(f"{channel.urls.setting}: there is no URL in it; write one a line")
    if len(urls) > MOST_URLS:
        raise SecretError(f"{channel.urls.setting}: there are more than {MOST_URLS} URLs in it; split it")
    if len(urls) == 1:
        return [Lane(channel.name, channel, urls[0])]
    return [Lane(f"{channel.name}/{number}", channel, url) for number, url in enumerate(urls, 1)]


def concerns(channel: Channel, letter: Letter) -> bool:
    """Whether the letter is for this channel."""
    if channel.severity is Severity.CRITICAL and letter.severity is not Severity.CRITICAL:
        return False
    if letter.contact:
        return Audience.CONTACTS in channel.audience
    return any(audience in channel.audience for audience in letter.to)
