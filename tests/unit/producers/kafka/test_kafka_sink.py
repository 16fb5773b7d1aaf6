"""The sink's locks: whoever holds the queue's may wait for the sink's, so never the other way around."""

from __future__ import annotations

import threading

from producers.event.renderer import RenderedEvent
from producers.kafka.buffer import Buffer
from producers.kafka.delivery import KafkaTarget
from producers.kafka.sink import KafkaSink

EVENT = RenderedEvent(b"x", b"k", 0, "error")


class Observed(Buffer):
    """Says when somebody is about to tell of losses."""

    def __init__(self) -> None:
        self.telling = threading.Event()
        super().__init__(10_000, 100)

    def take_untold(self) -> dict[str, int]:
        self.telling.set()
        return super().take_untold()


def test_finalizer_that_logs_within_a_log_call_does_not_wait_for_who_tells_of_losses() -> None:
    queue = Observed()
    target = KafkaTarget("127.0.0.1:1", "logs", None, linger_ms=0)
    sink = KafkaSink(target, lambda _: EVENT, queue, flush_timeout_s=0)
    queue.lose("error")
    teller = threading.Thread(target=sink._tell, daemon=True)

    def log() -> None:
        # As in the midst of `put`, where a finalizer may log.
        with queue._lock:
            teller.start()
            assert queue.telling.wait(10)
            sink.write(EVENT)

    logging = threading.Thread(target=log, daemon=True)
    logging.start()
    logging.join(10)
    teller.join(10)
    assert not logging.is_alive()
    assert not teller.is_alive()
    assert queue.pending == 2
    sink.close()
