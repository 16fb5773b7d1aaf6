"""Metrics for Prometheus: read from the stages' own counts at each scrape, so nothing is counted twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from pipeline.alert import to_ms
from pipeline.notify.notification import Reason, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import Metric

    from consumers.rules.live import Figures
    from pipeline.correlate.correlate import Correlate
    from pipeline.detect.detect import Detect
    from pipeline.notify.notification import Notification, Result
    from pipeline.notify.notify import Notify

__all__ = ["Metrics"]

_REPLAYED_MS = 3_600_000
_LATENCY_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """All metrics of a process.

    Attributes:
        registry: what `/metrics` shows.
        lag: topic → partition → records not read yet; the stages fill it in.
    """

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        """Begin with nothing to watch."""
        self.registry = CollectorRegistry()
        self.lag: dict[str, dict[int, int]] = {}
        self.waiting: Callable[[], int] = lambda: 0
        self._clock_ms = clock_ms
        self._detects: list[Detect] = []
        self._correlates: Callable[[], Iterable[Correlate]] = lambda: ()
        self._notifies: Callable[[], Iterable[Notify]] = lambda: ()
        self._cut_bytes: Callable[[], int] = lambda: 0
        self._figures: Callable[[], Figures | None] = lambda: None
        self._sends = Counter(
            "tocsin_notifications",
            "Notifications by receiver and outcome.",
            ["receiver", "result"],
            registry=self.registry,
        )
        self._latency = Histogram(
            "tocsin_end_to_end_latency_seconds",
            "From the last event counted to the first notification of its group.",
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self._dead = Counter(
            "tocsin_dead_letters",
            "Records put aside, by stage and error.",
            ["stage", "error"],
            registry=self.registry,
        )
        self._unreadable = Counter(
            "tocsin_unreadable_batches",
            "Batches that the Kafka client can't read, by stage and what became of them.",
            ["stage", "result"],
            registry=self.registry,
        )
        self.registry.register(self)

    def watch_detect(self, detect: Detect) -> None:
        """Show a detect stage's counts."""
        self._detects.append(detect)

    def watch_correlate(self, shards: Callable[[], Iterable[Correlate]]) -> None:
        """Show the counts of the correlate shards that `shards` returns."""
        self._correlates = shards

    def watch_notify(self, shards: Callable[[], Iterable[Notify]]) -> None:
        """Show the figures of the notify shards that `shards` returns."""
        self._notifies = shards

    def watch_rules(self, figures: Callable[[], Figures]) -> None:
        """Show what `figures` returns of the rules that run."""
        self._figures = figures

    def watch_cut(self, cut_bytes: Callable[[], int]) -> None:
        """Show how many bytes of overlong lines were left out of their events."""
        self._cut_bytes = cut_bytes

    def sent(self, notification: Notification, result: Result, now_ms: int) -> None:
        """Count an outcome."""
        self._sends.labels(notification.receiver, result.status.value).inc()
        if result.status is Status.SENT and notification.reason is Reason.FIRST:
            newest = max(to_ms(a.last_at) for a in notification.alerts)
            # Old logs that are read again are no latency of ours.
            if now_ms - newest < _REPLAYED_MS:
                self._latency.observe(max(now_ms - newest, 0) / 1000)

    def dead_letter(self, stage: str, error: str) -> None:
        """Count a record that was put aside."""
        self._dead.labels(stage, error).inc()

    def unreadable(self, stage: str, result: str) -> None:
        """Count a batch that the client could not read: `mended` or `skipped`."""
        self._unreadable.labels(stage, result).inc()

    def render(self) -> bytes:
        """Return the text of a scrape."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """Yield what is read from the stages (prometheus_client's collector protocol)."""
        yield from self._rule_metrics()
        yield from self._detect_metrics()
        yield from self._source_metrics()
        yield from self._python_metrics()
        yield from self._correlate_metrics()
        yield from self._notify_metrics()
        yield CounterMetricFamily(
            "tocsin_cut_bytes", "Bytes of overlong lines left out of their events.", value=self._cut_bytes()
        )
        lag = GaugeMetricFamily("tocsin_lag_records", "Records not read yet.", labels=["topic", "partition"])
        for topic, partitions in self.lag.items():
            for partition, records in partitions.items():
                lag.add_metric([topic, str(partition)], records)
        yield lag
        yield GaugeMetricFamily(
            "tocsin_outbox_waiting", "Notifications that wait for their turn.", value=self.waiting()
        )

    def _rule_metrics(self) -> Iterator[Metric]:
        if (figures := self._figures()) is None:
            return
        for name, text, value in (
            ("rules_loaded", "Rules that run.", figures.loaded),
            ("rules_refused", "Rules left out of them, as they can't be used.", figures.refused),
            ("rules_loaded_timestamp_seconds", "When they were loaded.", figures.loaded_ms / 1000),
            ("rule_reload_ok", "Whether the last reload worked; 1 before the first.", int(figures.ok)),
        ):
            yield GaugeMetricFamily(f"tocsin_{name}", text, value=value)
        reloads = CounterMetricFamily(
            "tocsin_rule_reloads", "Reloads of rules, by what came of them.", labels=["result"]
        )
        for result in ("ok", "refused"):
            reloads.add_metric([result], figures.reloads.get(result, 0))
        yield reloads

    def _python_metrics(self) -> Iterator[Metric]:
        for name, text, figures in (
            ("calls", "Calls of rules in Python.", [d.python.calls for d in self._detects]),
            ("failures", "Calls that raised.", [d.python.failures for d in self._detects]),
            ("seconds", "Time that their calls took.", [d.python.spent_ns for d in self._detects]),
        ):
            total: dict[str, int] = {}
            for by_rule in figures:
                for rule, n in by_rule.items():
                    total[rule] = total.get(rule, 0) + n
            family = CounterMetricFamily(f"tocsin_python_rule_{name}", text, labels=["rule_id"])
            for rule, n in total.items():
                family.add_metric([rule], n / 1e9 if name == "seconds" else n)
            yield family

    def _detect_metrics(self) -> Iterator[Metric]:
        counts = [d.counts for d in self._detects]
        for name, text, value in (
            ("events", "Events read.", sum(c.events for c in counts)),
            ("bytes", "Bytes of events read.", sum(c.bytes for c in counts)),
            (
                "candidates",
                "Events that were decoded because a rule might match.",
                sum(c.candidates for c in counts),
            ),
            ("empty_records", "Empty records and tombstones.", sum(c.empty for c in counts)),
            ("undecodable_events", "Events matched as raw text.", sum(c.undecodable for c in counts)),
            ("untimed_events", "Candidates without a time of their own.", sum(c.untimed for c in counts)),
            ("ungrouped_matches", "Matches without a group-by field.", sum(c.ungrouped for c in counts)),
        ):
            yield CounterMetricFamily(f"tocsin_{name}", text, value=value)
        matches = CounterMetricFamily("tocsin_matches", "Matches by rule.", labels=["rule_id"])
        by_rule: dict[str, int] = {}
        for count in counts:
            for rule, n in count.by_rule.items():
                by_rule[rule] = by_rule.get(rule, 0) + n
        for rule, n in by_rule.items():
            matches.add_metric([rule], n)
        yield matches

    def _source_metrics(self) -> Iterator[Metric]:
        counts = [d.sources for d in self._detects]
        lost = CounterMetricFamily(
            "tocsin_source_lost_records", "Records that are missing, by service.", labels=["service"]
        )
        by_service: dict[str, int] = {}
        for count in counts:
            for service, n in count.lost.items():
                by_service[service] = by_service.get(service, 0) + n
        for service, n in by_service.items():
            lost.add_metric([service], n)
        yield lost
        for name, text, value in (
            ("duplicate_records", "Records passed over, as read before.", sum(c.repeated for c in counts)),
            ("reordered_records", "Records that came after younger ones.", sum(c.reordered for c in counts)),
            ("returned_records", "Records that came after being lost.", sum(c.returned for c in counts)),
            ("words_dropped", "Words on sources that were not written.", sum(c.untold for c in counts)),
        ):
            yield CounterMetricFamily(f"tocsin_source_{name}", text, value=value)
        accounts = [d.accounts for d in self._detects]
        yield GaugeMetricFamily(
            "tocsin_sources", "Sources that accounts are kept of.", value=sum(known for known, _ in accounts)
        )
        yield GaugeMetricFamily(
            "tocsin_silent_services",
            "Services that have fallen silent.",
            value=sum(silent for _, silent in accounts),
        )

    def _correlate_metrics(self) -> Iterator[Metric]:
        shards = list(self._correlates())
        for name, text, value in (
            ("alert_changes", "Alerts told: new, extended, resolved.", sum(s.counts.alerts for s in shards)),
            ("repeated_matches", "Matches skipped as applied before.", sum(s.counts.repeats for s in shards)),
            (
                "late_matches",
                "Matches skipped as later than the lateness.",
                sum(s.counts.late for s in shards),
            ),
            (
                "unknown_rule_matches",
                "Matches of rules not loaded here.",
                sum(s.counts.unknown for s in shards),
            ),
            ("evicted_groups", "Groups dropped at the limit.", sum(s.counts.evicted for s in shards)),
            (
                "early_settlements",
                "Times a group settled events ahead of the watermark, at the limit.",
                sum(s.counts.settled_early for s in shards),
            ),
        ):
            yield CounterMetricFamily(f"tocsin_{name}", text, value=value)
        yield GaugeMetricFamily("tocsin_groups", "Groups held.", value=sum(s.groups for s in shards))
        delay = GaugeMetricFamily(
            "tocsin_watermark_delay_seconds", "How far event time is behind the clock; absent while unknown."
        )
        # A shard without a watermark knows nothing yet: no figure is better than one that looks healthy.
        marks = [s.watermarks.value_ms for s in shards]
        if marks and all(marks):
            delay.add_metric([], (self._clock_ms() - min(marks)) / 1000)
        yield delay

    def _notify_metrics(self) -> Iterator[Metric]:
        stats = [s.stats for s in self._notifies()]
        yield GaugeMetricFamily(
            "tocsin_notification_groups", "Groups of alerts held.", value=sum(s.groups for s in stats)
        )
        dropped = CounterMetricFamily(
            "tocsin_dropped_alerts", "Alerts not taken at a limit, by which one.", labels=["limit"]
        )
        dropped.add_metric(["groups"], sum(s.dropped_groups for s in stats))
        dropped.add_metric(["alerts"], sum(s.dropped_alerts for s in stats))
        yield dropped
