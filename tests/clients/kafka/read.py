"""Reads a topic of events from its beginning to where it ends now, with an independent client, and prints a line of
JSON for each record: partition, offset, key, headers and the value as it stands in the topic.

    read.py BROKERS TOPIC

What is read is judged here as well, with the library of the CloudEvents project: a record that is none ends it.
"""

import asyncio
import json
import sys

from aiokafka import AIOKafkaConsumer
from cloudevents.http import from_http


def judge(record):
    """Raises when the value is no CloudEvent in structured mode."""
    headers = {name: value.decode() for name, value in record.headers}
    event = from_http(headers, record.value)
    if event["specversion"] != "1.0" or event["type"] != headers["type"]:
        raise SystemExit(f"offset {record.offset}: not the event that its headers say")
    if event["userid"] != record.key.decode():
        raise SystemExit(f"offset {record.offset}: not under the key of its user")


async def read(brokers, topic):
    consumer = AIOKafkaConsumer(
        bootstrap_servers=brokers, enable_auto_commit=False, auto_offset_reset="earliest", request_timeout_ms=20000
    )
    await consumer.start()
    try:
        consumer.subscribe([topic])
        partitions = []
        for _ in range(100):
            await consumer.getmany(timeout_ms=200)
            partitions = sorted(consumer.assignment())
            if partitions:
                break
        else:
            raise SystemExit(f"there is no topic {topic}")
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        begins = await consumer.beginning_offsets(partitions)
        left = {at for at in partitions if ends[at] > begins[at]}
        while left:
            batches = await consumer.getmany(timeout_ms=1000)
            for at, records in batches.items():
                for record in records:
                    if record.offset >= ends[at]:
                        continue
                    judge(record)
                    line = {
                        "partition": at.partition,
                        "offset": record.offset,
                        "key": record.key.decode(),
                        "headers": {name: value.decode() for name, value in record.headers},
                        "value": json.loads(record.value),
                    }
                    print(json.dumps(line))
                if await consumer.position(at) >= ends[at]:
                    left.discard(at)
    finally:
        await consumer.stop()


asyncio.run(read(*sys.argv[1:]))
