"""Every type over gRPC and over REST: what is said in one means the same in the other, mistakes included."""

import json
import math
import tomllib
from urllib.parse import quote

import grpc
import pytest
import requests
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor as Field
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import rest_json
from conftest import ROOT, TIMEOUT, Failed, call
from rest_json import NARROW, NARROW_FIELDS, CHAR_FIELDS
from test_reflection import camel, database, dynamic

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ALREADY_EXISTS,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
MANIFEST = tomllib.loads((ROOT / "host/tests/guests/echo/plugin.toml").read_text())
ROUTES = {camel(method["call"].split(".")[1]): method["http"] for method in MANIFEST["methods"]}
INTEGERS = {
    Field.TYPE_SINT32: (-(2**31), 2**31 - 1),
    Field.TYPE_UINT32: (0, 2**32 - 1),
    Field.TYPE_INT64: (-(2**63), 2**63 - 1),
    Field.TYPE_UINT64: (0, 2**64 - 1),
}
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
QUIET = settings(
    max_examples=60, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def kitchen(channel):
    return descriptor_pool.DescriptorPool(database(channel, "v1alpha")).FindServiceByName("test.echo.v1.Kitchen")


def edges(low, high):
    return st.integers(low, high) | st.sampled_from([low, high, max(low, 0), min(high, 1)])


def singles(field, wrong):
    """Values of a field, one at a time. Where `wrong`, some are such that the WIT type does not have them."""
    if field.type in INTEGERS:
        narrow = NARROW.get(NARROW_FIELDS.get(field.full_name))
        return edges(*(INTEGERS[field.type] if wrong or not narrow else narrow))
    if field.type == Field.TYPE_ENUM:
        numbers = [value.number for value in field.enum_type.values if value.number]
        # A zero that is said to be there has no JSON.
        zero = [] if field.has_presence and rest_json.choice(field.containing_type) is None else [0]
        return st.sampled_from(numbers + (zero + [99, -1]) * wrong)
    if field.type == Field.TYPE_MESSAGE:
        return filled(field.message_type, wrong)
    if field.type == Field.TYPE_STRING:
        one = st.characters(codec="utf-8")
        return (one | TEXT if wrong else one) if field.full_name in CHAR_FIELDS else TEXT
    return {
        Field.TYPE_BOOL: st.booleans(),
        Field.TYPE_BYTES: st.binary(max_size=40),
        Field.TYPE_FLOAT: st.floats(width=32),
        Field.TYPE_DOUBLE: st.floats(),
    }[field.type]


def put(message, field, value):
    if field.is_repeated:
        getattr(message, field.name).extend(value)
    elif field.type == Field.TYPE_MESSAGE:
        getattr(message, field.name).CopyFrom(value)
        getattr(message, field.name).SetInParent()
    else:
        setattr(message, field.name, value)


@st.composite
def filled(draw, descriptor, wrong=False):
    """Messages of a type."""
    message = message_factory.GetMessageClass(descriptor)()
    choice = rest_json.choice(descriptor)
    fields = descriptor.fields
    if choice:
        # `keep` is said by leaving the change out.
        cases = [case for case in choice.fields if not rest_json.is_change(descriptor) or case.name != "keep"]
        # Neither has a change that is there and says nothing.
        none = [None] if wrong and not rest_json.is_change(descriptor) else []
        fields = [draw(st.sampled_from(cases + none))]
    for field in fields:
        if field is None:
            continue
        values = singles(field, wrong)
        if field.is_repeated:
            flags = field.type == Field.TYPE_ENUM and field.name in ("toppings", "topped") or "Topp" in descriptor.name
            unique = flags and not wrong
            # Answers have flags in their order.
            values = st.lists(values, max_size=4, unique=unique).map(sorted if unique else list)
        elif not choice and may_be_absent(field, wrong):
            values = st.none() | values
        value = draw(values)
        if value is not None:
            put(message, field, value)
    return message


def may_be_absent(field, wrong):
    if field.containing_oneof:
        return True
    return field.message_type is not None and (wrong or rest_json.is_change(field.message_type))


class Rest:
    """The REST twin of a method."""

    def __init__(self, url, name):
        route = ROUTES[name]
        self.method, self.path = (route if isinstance(route, str) else route[-1]).split(" ")
        self.url = url

    def send(self, message):
        fields = {field.name: field for field in message.DESCRIPTOR.fields}
        said, path = rest_json.of_message(message), self.path
        bound = [name for name in fields if f"{{{name}}}" in path]
        for name in bound:
            text = said.pop(name)
            text = "" if text is None else str(text)
            # An empty segment is another route, and clients resolve dots before they send.
            assume(text not in ("", ".", ".."))
            path = path.replace(f"{{{name}}}", quote(text, safe=""))
        rest = [field for name, field in fields.items() if name not in bound]
        options = {}
        if self.method == "GET":
            assume(None not in [value for value in said.values() if isinstance(value, list)])
            options["params"] = {name: in_query(value) for name, value in said.items() if value is not None}
        else:
            derived = message.DESCRIPTOR.name.endswith("Request")
            whole = derived and len(rest) == 1 and rest_json.is_record(rest[0])
            body = said[rest[0].name] if whole else said
            # What a missing body is called differs.
            assume(body is not None)
            options["data"] = json.dumps(body, allow_nan=False).encode()
            options["headers"] = {"content-type": "application/json"}
        return requests.request(self.method, self.url + path, timeout=TIMEOUT, **options)


def in_query(value):
    if isinstance(value, list):
        return [in_query(one) for one in value]
    return str(value).lower() if isinstance(value, bool) else value


def json_of_answer(message):
    """The JSON of a result: of a record itself, or of the single value."""
    descriptor = message.DESCRIPTOR
    if not descriptor.fields:
        return None
    if descriptor.name.endswith("Response"):
        return rest_json.of_slot(message, descriptor.fields_by_name["value"])
    return rest_json.of_message(message)


def compare(channel, method, rest, message):
    """Sends a message both ways; answers the answer of gRPC, or the failure that both told."""
    over_rest = rest.send(message)
    try:
        answer = call(dynamic(channel, method), message)
    except Failed as error:
        told = over_rest.json()
        assert CODES[over_rest.status_code] == error.code, (told, error)
        assert (told["code"], told["message"]) == (error.reason, error.message)
        assert sorted(error.fields) == sorted((detail["field"], detail["code"]) for detail in told["details"])
        wait = over_rest.headers.get("retry-after")
        assert (wait is None) == (error.retry_after is None)
        if wait and int(wait) < 2**32:
            assert int(wait) == max(1, math.ceil(error.retry_after))
        return error
    assert over_rest.ok, (over_rest.status_code, over_rest.text)
    expected = json_of_answer(answer)
    assert (expected == over_rest.json()) if over_rest.content else expected is None, (expected, over_rest.text)
    return answer


ECHOES = [name for name in ROUTES if name.startswith("Echo")]
OTHERS = [name for name in ROUTES if not name.startswith("Echo")]


@pytest.mark.parametrize("name", ECHOES)
def test_what_is_sent_comes_back_and_is_the_same_over_rest(name, channel, kitchen, rest):
    method, twin = kitchen.FindMethodByName(name), Rest(rest, name)

    @QUIET
    @given(filled(method.input_type))
    def check(message):
        answer = compare(channel, method, twin, message)
        if answer.DESCRIPTOR.name.endswith("Response"):
            (sent,) = message.DESCRIPTOR.fields
            got = rest_json.of_slot(answer, answer.DESCRIPTOR.fields_by_name["value"])
            assert rest_json.of_slot(message, sent) == got
        elif answer.DESCRIPTOR == message.DESCRIPTOR:
            assert rest_json.of_message(message) == rest_json.of_message(answer)
            # Presence too, which the text of a message shows.
            assert str(message) == str(answer)

    check()


@pytest.mark.parametrize("name", [*ECHOES, *OTHERS])
def test_whatever_is_wrong_is_told_the_same_way(name, channel, kitchen, rest):
    method, twin = kitchen.FindMethodByName(name), Rest(rest, name)

    @QUIET
    @given(filled(method.input_type, wrong=True))
    def check(message):
        compare(channel, method, twin, message)

    check()


def test_zero_is_a_value_and_absence_is_none(channel, kitchen):
    method = kitchen.FindMethodByName("EchoOptions")
    options = message_factory.GetMessageClass(method.input_type)
    send = dynamic(channel, method)
    nothing = call(send, options())
    assert nothing == options() and nothing.SerializeToString() == b""
    zeros = options(number=0, text="", bytes=b"")
    zeros.point.SetInParent()
    zeros.words.SetInParent()
    zeros.twice.SetInParent()
    zeros.thrice.value.SetInParent()
    answer = call(send, zeros)
    present = ["number", "text", "point", "words", "bytes", "twice", "thrice"]
    assert [field.name for field, _ in answer.ListFields()] == present == [f.name for f, _ in zeros.ListFields()]
    assert not answer.twice.HasField("value") and answer.thrice.value.SerializeToString() == b""
    assert answer == zeros


def test_what_is_there_and_says_nothing_is_required(channel, kitchen):
    for name, field in [("EchoOptions", "color"), ("EchoPatch", "patch.name")]:
        method = kitchen.FindMethodByName(name)
        request = message_factory.GetMessageClass(method.input_type)()
        if name == "EchoOptions":
            request.color = 0
        else:
            request.patch.name.SetInParent()
        with pytest.raises(Failed) as caught:
            call(dynamic(channel, method), request)
        assert (caught.value.code, caught.value.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [(field, "REQUIRED")])


def test_keep_may_be_said_or_left_out(channel, kitchen):
    method = kitchen.FindMethodByName("EchoPatch")
    request = message_factory.GetMessageClass(method.input_type)(id="7")
    request.patch.name.keep.SetInParent()
    request.patch.nick_name.set = ""
    answer = call(dynamic(channel, method), request)
    assert [field.name for field, _ in answer.ListFields()] == ["nick_name"]
    assert answer.nick_name.WhichOneof("kind") == "set"


def test_many_mistakes_still_reach_the_client(channel, kitchen):
    method = kitchen.FindMethodByName("EchoShapes")
    request = message_factory.GetMessageClass(method.input_type)()
    for _ in range(1_000):
        request.shapes.add()
    # The metadata of an answer has a limit in grpcio, which must not turn this into another error.
    with pytest.raises(Failed) as caught:
        call(dynamic(channel, method), request)
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED")
    assert caught.value.fields[0] == ("shapes[0]", "REQUIRED")


def test_a_list_of_numbers_may_be_packed_or_not(channel, kitchen):
    method = kitchen.FindMethodByName("EchoLists")
    lists = message_factory.GetMessageClass(method.input_type)
    number = lists.DESCRIPTOR.fields_by_name["numbers"].number
    answers = []
    # 1 and 300, as two fields and as one.
    for wire in (bytes([number << 3, 1, number << 3, 0xAC, 0x02]), bytes([number << 3 | 2, 3, 1, 0xAC, 0x02])):
        path = f"/{method.containing_service.full_name}/{method.name}"
        send = channel.unary_unary(path, request_serializer=bytes, response_deserializer=lists.FromString)
        answers.append(list(call(send, wire).numbers))
    assert answers == [[1, 300], [1, 300]]
