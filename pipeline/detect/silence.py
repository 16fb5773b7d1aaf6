"""Silence: which services of a partition have stopped talking, though they used to.

A service that never paused long is regular; only then is a pause a word of its own. Time is counted while
the partition is read to its end and no longer: who lags, stalls or has just begun knows nothing of silence.
A service all of whose sources have said that they end has not fallen silent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Service", "Silence", "Voice"]

# A service is regular once it has been heard for so many times the silence without a pause of half of it.
_REGULAR = 6
# A service that is gone for good is not shown as silent for ever.
_FORGOTTEN_MS = 86_400_000
_MAX_NAME_CHARS = 256


class Voice:
    """One source of a service.

    Attributes:
        ended: whether it has said that it ends.
        heard_ms: when it was last heard, in milliseconds of listening.
    """

    __slots__ = ("ended", "heard_ms")

    def __init__(self) -> None:
        self.ended = False
        self.heard_ms = 0


class Service:
    """What is known of one key.

    Attributes:
        key: the key of its records.
        name: the key as text.
        environment: as its latest source says; empty for not said.
        voices: its sources.
        since_ms: the first record time of a stretch without a long pause.
        latest_ms: the latest record time, never ahead of the clock.
        heard_ms: when it was last heard, in milliseconds of listening.
        silent: whether it has fallen silent.
    """

    __slots__ = ("environment", "heard_ms", "key", "latest_ms", "name", "silent", "since_ms", "voices")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.name = key.decode("utf-8", "replace")[:_MAX_NAME_CHARS]
        self.environment = ""
        self.voices: set[Voice] = set()
        self.since_ms = 0
        self.latest_ms = 0
        self.heard_ms = 0
        self.silent = False


class Silence:
    """Tells when the services of one partition fall silent, and when they are back.

    Attributes:
        silent: how many are silent now.
        told: whether silence is told at all.
        pause_ms: how long a pause is at the most for a service to stay regular, in milliseconds.
    """

    def __init__(self, silence_ms: int) -> None:
        """Begin.

        Args:
            silence_ms: how long a regular service has to be quiet, in milliseconds; 0: nothing is told.
        """
        self.silent = 0
        self.told = silence_ms > 0
        self.pause_ms = silence_ms // 2
        self._silence_ms = silence_ms
        self._looked_ms = 0

    def hear(self, service: Service, times_ms: Sequence[int], now_ms: int, listened_ms: int) -> int | None:
        """Note that a service was heard.

        Args:
            service: who.
            times_ms: record times in milliseconds since the epoch, at least one, those between which there is
                a long pause among them.
            now_ms: the wall clock; no record was written later.
            listened_ms: how long the partition has been listened to.

        Returns:
            How long it had been silent, in milliseconds, if that had been told.
        """
        latest_ms = service.latest_ms
        for time_ms in times_ms:
            heard_ms = min(time_ms, now_ms)
            if heard_ms - latest_ms > self.pause_ms:
                service.since_ms = heard_ms
            latest_ms = max(latest_ms, heard_ms)
        service.latest_ms = latest_ms
        quiet_ms, service.heard_ms = listened_ms - service.heard_ms, listened_ms
        if not service.silent:
            return None
        self.forget(service)
        return quiet_ms

    def due(self, services: Iterable[Service], listened_ms: int) -> list[tuple[Service, int]]:
        """Return who has fallen silent since the last call, and for how long each has been, in milliseconds.

        Args:
            services: all services of the partition.
            listened_ms: how long it has been listened to.
        """
        if not self.told or listened_ms - self._looked_ms < self._silence_ms // 10:
            return []
        self._looked_ms = listened_ms
        fallen: list[tuple[Service, int]] = []
        for service in services:
            quiet_ms = listened_ms - service.heard_ms
            if quiet_ms < self._silence_ms:
                continue
            if service.silent:
                if quiet_ms >= _FORGOTTEN_MS:
                    self.forget(service)
            elif service.latest_ms - service.since_ms >= _REGULAR * self._silence_ms:
                # Whatever it is, it is found once: from here on it has to become regular anew.
                service.since_ms = service.latest_ms
                if self._left_without_a_word(service):
                    service.silent = True
                    self.silent += 1
                    fallen.append((service, quiet_ms))
        return fallen

    def _left_without_a_word(self, service: Service) -> bool:
        """Whether a source that was there at the end has not said that it ends."""
        return any(
            not voice.ended and service.heard_ms - voice.heard_ms < self._silence_ms
            for voice in service.voices
        )

    def forget(self, service: Service) -> None:
        """Count a service as silent no longer."""
        if service.silent:
            service.silent = False
            self.silent -= 1
