"""Writes events into a topic as another service would: with an independent client, and with the library of the
CloudEvents project. The topic is made when it is missing.

    write.py BROKERS TOPIC PARTITIONS < LINES

Each line is JSON: `key`, and either `attributes` and `data` of an event with its `mode` (structured or binary), or the
`raw` text of a record that is none. With `pause` the line waits so many seconds first.
"""

import asyncio
import json
import sys

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError
from cloudevents.http import CloudEvent
from cloudevents.kafka import to_binary, to_structured


def record(line):
    """Value and headers of a line."""
    if "raw" in line:
        return line["raw"].encode(), []
    event = CloudEvent(line["attributes"], line["data"])
    message = {"structured": to_structured, "binary": to_binary}[line["mode"]](event)
    value = message.value if isinstance(message.value, bytes) else message.value.encode()
    return value, list(message.headers.items())


async def write(brokers, topic, partitions):
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, int(partitions), 1)])
    except TopicAlreadyExistsError:
        pass
    finally:
        await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=brokers, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        sent = []
        for text in sys.stdin:
            line = json.loads(text)
            if "pause" in line:
                await asyncio.sleep(line["pause"])
            value, headers = record(line)
            sent.append(await producer.send(topic, value, key=line["key"].encode(), headers=headers))
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


asyncio.run(write(*sys.argv[1:]))
