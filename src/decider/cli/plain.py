"""Messages of the protocol as plain values, so that an answer prints alike from a server and in process.

They are read by their own descriptors: nothing here knows the generated code.
"""

from __future__ import annotations

import datetime
import json
from typing import Any

_ENUM, _MESSAGE = 14, 11
"""Field types of protocol buffers (google.protobuf.FieldDescriptorProto.Type)."""


def plain(message: Any) -> dict[str, Any]:
    """Turn a message into names and values.

    Absent optional fields and messages are None. Enum values lose their prefix (``STRATUM_EXPLORE`` is
    ``explore``), times become RFC 3339 text, member ids numbers or text, named counts a mapping.
    """
    return {field.name: _field(message, field) for field in message.DESCRIPTOR.fields}


def model_of(message: Any) -> dict[str, Any]:
    """Turn a Model into names and values, as `decider model` prints those of the registry."""
    found = plain(message)
    found["trained"] = json.loads(found.pop("training_json") or "{}")
    return found


def _field(message: Any, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.has_presence and not message.HasField(field.name):
        return None
    if field.is_repeated:
        if field.type == _MESSAGE and field.message_type.name == "NamedCount":
            return {each.name: each.count for each in value}
        return [_value(each, field) for each in value]
    return _value(value, field)


def _value(value: Any, field: Any) -> Any:
    if field.type == _ENUM:
        kind = field.enum_type
        # The values of Stratum begin with STRATUM_, of BindingCap with BINDING_CAP_.
        prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
        return kind.values_by_number[value].name.removeprefix(prefix).lower()
    if field.type != _MESSAGE:
        return value
    match field.message_type.full_name:
        case "google.protobuf.Timestamp":
            micros = datetime.timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
            time = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + micros
            return time.isoformat().replace("+00:00", "Z")
        case "decider.v1.MemberId":
            held = value.WhichOneof(value.DESCRIPTOR.oneofs[0].name)
            return None if held is None else getattr(value, held)
    return plain(value)
