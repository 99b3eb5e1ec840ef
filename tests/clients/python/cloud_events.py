"""Holds events against CloudEvents 1.0, by the library of that project, and their data against the schemas they name.

    cloud_events.py SCHEMAS [ADDRESS] < EVENTS

SCHEMAS is the folder of Plinth's own schemas (openapi/events), ADDRESS a server that registered ones are asked from. Each
line of the input is an event in structured JSON mode, as `GET /v1/events`, the live stream and the Kafka topic have it.
Every fault is told with its line; the last line tells how many events there were. Exit 1 when there was a fault.
"""

import json
import pathlib
import sys
import urllib.request

from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator, FormatChecker

EXTENSIONS = {"userid", "actorid", "impersonatorid", "requestid", "sequence"}
KNOWN = EXTENSIONS | {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"}


class Schemas:
    """Validators by the name that events call them by."""

    def __init__(self, folder, address):
        self.folder, self.address, self.known = pathlib.Path(folder), address, {}

    def of(self, event):
        """The validator that an event names, checked against the metaschema once."""
        name = event.get_dataschema()
        if name not in self.known:
            kind, version = name.split(":")[-2:]
            if kind != event.get_type():
                raise ValueError(f"dataschema {name} is of another type")
            if name.startswith("urn:plinth:schema:"):
                schema = json.loads((self.folder / kind / f"{version}.json").read_text())
            elif self.address and name.startswith(event.get_source() + ":schema:"):
                with urllib.request.urlopen(f"{self.address}/v1/event-types/{kind}/versions/{version}") as answer:
                    body = json.load(answer)
                if (body["dataschema"], body["type"], str(body["version"])) != (name, kind, version):
                    raise ValueError(f"{name} is answered as {body['dataschema']}")
                schema = body["schema"]
            else:
                raise ValueError(f"nobody knows dataschema {name}")
            Draft202012Validator.check_schema(schema)
            self.known[name] = Draft202012Validator(schema, format_checker=FormatChecker())
        return self.known[name]


def faults(line, schemas):
    """What is wrong with the event in a line, and whether its data was held against a schema."""
    # The library refuses what breaks a rule of the specification: missing or malformed attributes, names of extensions.
    event = JSONFormat().read(None, line)
    found = []
    if event.get_specversion() != "1.0" or event.get_datacontenttype() != "application/json":
        found.append("is no CloudEvent 1.0 of JSON")
    if event.get_time() is None or event.get_time().tzinfo is None:
        found.append("has no time with an offset")
    found += [f"has the unknown attribute {name}" for name in set(event.get_attributes()) - KNOWN]
    sequence = event.get_extension("sequence")
    if not (isinstance(sequence, str) and len(sequence) == 20 and sequence.isdigit()):
        found.append("has no sequence of twenty digits")
    if event.get_dataschema() is None:
        return found, False
    if "data" in json.loads(line):
        for error in schemas.of(event).iter_errors(event.get_data()):
            found.append(f"{error.json_path}: {error.message}")
    return found, True


def main():
    schemas = Schemas(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
    events = held = wrong = 0
    for number, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        events += 1
        try:
            found, has_schema = faults(line, schemas)
        except Exception as error:  # Whatever a line does to the libraries is a fault of the line.
            found, has_schema = [f"{type(error).__name__}: {error}"], False
        held += has_schema
        wrong += bool(found)
        for fault in found:
            print(f"line {number}: {fault}")
    print(f"{events} events, {held} of them of a schema, {wrong} with faults")
    return 1 if wrong or not events else 0


if __name__ == "__main__":
    sys.exit(main())
