"""The first stage: raw records in, detections out; drops what no rule wants before it is parsed."""
