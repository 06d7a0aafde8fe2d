"""The JSON that REST has for a protobuf message, by the rules of docs/contract.md and nothing of the host."""

import base64
import math
import struct

from google.protobuf.descriptor import FieldDescriptor as Field

# The smallest and largest of the numbers that are narrower than their field, by the end of the field's path.
NARROW = {"s8": (-128, 127), "s16": (-(2**15), 2**15 - 1), "u8": (0, 255), "u16": (0, 2**16 - 1)}
NARROW_FIELDS = {
    "test.echo.v1.Scalars.s8": "s8",
    "test.echo.v1.Scalars.s16": "s16",
    "test.echo.v1.Scalars.u8": "u8",
    "test.echo.v1.Scalars.u16": "u16",
    "test.echo.v1.Options.ThriceValue.ValueValue.value": "u8",
    "test.echo.v1.Tuples.NestedTuple.F0Tuple.f0": "u8",
    "test.echo.v1.Outcomes.SeveralResult.ok": "u8",
}
CHAR_FIELDS = {"test.echo.v1.Scalars.letter"}


def choice(message):
    """The oneof of a variant or a result."""
    real = [oneof for oneof in message.oneofs if len(oneof.fields) > 1 or not oneof.name.startswith("_")]
    return real[0] if real else None


def is_wrapper(message):
    return message.name.endswith("Value") and [field.name for field in message.fields] == ["value"]


def is_change(message):
    oneof = choice(message)
    return bool(oneof) and [field.name for field in oneof.fields] == ["keep", "clear", "set"]


def is_empty(field):
    return field.message_type is not None and field.message_type.full_name == "google.protobuf.Empty"


class Single(float):
    """A float of single precision: equal to every number that is written for it."""

    def __eq__(self, other):
        return isinstance(other, (int, float)) and struct.pack("<f", self) == struct.pack("<f", other)

    __hash__ = None


def number(field, value):
    """NaN and the infinities are strings."""
    if math.isfinite(value):
        return Single(value) if field.type == Field.TYPE_FLOAT else value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def of_enum(field, value):
    """The zero is what is missing, and a number without a name a word that the enum has not."""
    cases = field.enum_type.values_by_number
    if value not in cases:
        return f"no such case as {value}"
    prefix = cases[0].name.removesuffix("UNSPECIFIED")
    return cases[value].name.removeprefix(prefix).lower() if value else None


def of_single(field, value):
    """One value of a field, whatever its presence and number."""
    if field.type == Field.TYPE_MESSAGE:
        return of_message(value)
    if field.type == Field.TYPE_BYTES:
        return base64.b64encode(value).decode()
    if field.type == Field.TYPE_ENUM:
        return of_enum(field, value)
    return number(field, value) if isinstance(value, float) else value


def of_slot(message, field):
    """The value of a field: plain, a list, an option, or what a wrapper holds."""
    value = getattr(message, field.name)
    if field.is_repeated:
        if field.message_type and is_wrapper(field.message_type):
            inner = field.message_type.fields_by_name["value"]
            return [of_slot(one, inner) for one in value]
        return [of_single(field, one) for one in value]
    if field.message_type and is_wrapper(field.message_type):
        if not message.HasField(field.name):
            return None
        inner = field.message_type.fields_by_name["value"]
        held = of_slot(value, inner)
        # An option of an option says `{"value": …}`; an option of a list is the list.
        return held if inner.is_repeated else {"value": held}
    if field.has_presence and not message.HasField(field.name):
        return None
    return of_single(field, value)


def is_record(field):
    """Whether a field is a record, which alone can be a body as a whole."""
    message = field.message_type
    if message is None or field.is_repeated or field.containing_oneof:
        return False
    return not (choice(message) or is_wrapper(message) or message.name.endswith("Tuple"))


def of_choice(message, oneof):
    case = message.WhichOneof(oneof.name)
    if case is None:
        return None
    field = oneof.fields[[field.name for field in oneof.fields].index(case)]
    if oneof.name.startswith("result"):
        return {case: None if is_empty(field) else of_payload(message, field)}
    return case if is_empty(field) else {case: of_payload(message, field)}


def of_payload(message, field):
    value = getattr(message, field.name)
    if field.message_type and is_wrapper(field.message_type):
        return of_slot(value, field.message_type.fields_by_name["value"])
    return of_single(field, value)


def of_message(message):
    """The JSON of a message that is a record, a tuple, a variant or a result."""
    descriptor = message.DESCRIPTOR
    oneof = choice(descriptor)
    if oneof:
        return of_choice(message, oneof)
    if descriptor.name.endswith("Tuple"):
        return [of_slot(message, field) for field in descriptor.fields]
    json = {}
    for field in descriptor.fields:
        if field.message_type and is_change(field.message_type):
            change = getattr(message, field.name)
            case = change.WhichOneof("kind")
            if case in ("clear", "set"):
                json[field.name] = None if case == "clear" else change.set
            continue
        json[field.name] = of_slot(message, field)
    return json
