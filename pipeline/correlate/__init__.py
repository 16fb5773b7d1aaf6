"""The second stage: detections in, alerts out; windows per rule and group, in event time."""
