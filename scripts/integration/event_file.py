#!/usr/bin/env python3
"""Prints, as hexadecimal digits, the event file that tensorboard's own writer makes of the events in the test of crates/tracking/src/event_file.rs.

usage: event_file.py > crates/tracking/tests/reference/events.hex    (with the Python of the environment of `just integration-tracking`)
"""

import io

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

WALL_TIME = 1_700_000_000.5

out = io.BytesIO()
writer = RecordWriter(out)
writer.write(Event(wall_time=WALL_TIME, file_version="brain.Event:2").SerializeToString())
value = Summary.Value(tag="tuned/loss", simple_value=0.25)
writer.write(Event(wall_time=WALL_TIME, step=300, summary=Summary(value=[value])).SerializeToString())
writer.flush()
print(out.getvalue().hex())
