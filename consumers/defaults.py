"""What applies where nothing was configured: everything that ships, and messages on the terminal."""

from __future__ import annotations

__all__ = ["DEFAULT_CONFIG", "DEFAULT_NAME"]

DEFAULT_NAME = "the built-in configuration"

# `tocsin run` reads it without --config. Groups wait a second, as a person is watching.
DEFAULT_CONFIG = """\
rules: [shipped]
sources:
  - kafka: logs
    logsource:
      - category: application
      - category: webserver
route:
  receiver: console
  group_by: [alertname, service]
  group_wait: 1s
  group_interval: 10s
  repeat_interval: 4h
receivers:
  - name: console
    console_configs: [{}]
"""
