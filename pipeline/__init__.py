"""The core: events in, detections, alerts and notifications out. No I/O and no clock here.

Only `pipeline.consumer`, the entry point, touches the world: it composes the core with `consumers`.
"""
