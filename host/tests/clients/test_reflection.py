"""Reflection and health with grpcio's own clients, and the access rules over everything that reflection lists."""

import re
import tomllib

import grpc
import pytest
import requests
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import rest_json
from conftest import PASSWORD, ROOT, TIMEOUT, Failed, call, failure

VERSIONS = ["v1alpha", "v1"]
# What the host itself serves to everybody.
PUBLIC_OF_HOST = {
    "arcana.health.v1.HealthService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
}
SHIPPED = {"arcana.auth.v1.AuthService", "arcana.user.v1.UserService"}
# What it serves to administrators, with streams and without.
PLUGIN_METHODS = "List Get Enable Disable Rollback SetGrants Remove Changes Install TailLogs".split()
ADMIN_OF_HOST = {"arcana.plugin.v1.PluginService"}


class Version:
    """The stub of a version of reflection: their messages are the same, and grpcio has those of v1alpha."""

    def __init__(self, channel, version):
        self.ServerReflectionInfo = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )


def database(channel, version):
    database = ProtoReflectionDescriptorDatabase(channel)
    database._stub = Version(channel, version)
    return database


def every_message(message):
    yield message
    for nested in message.nested_types:
        yield from every_message(nested)


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_that_is_served_is_listed_and_can_be_resolved(channel, version):
    known = database(channel, version)
    services = list(known.get_services())
    assert services == sorted(set(services)) and set(services) == SHIPPED | PUBLIC_OF_HOST | ADMIN_OF_HOST | {"test.echo.v1.Kitchen"}
    pool = descriptor_pool.DescriptorPool(known)
    for name in services:
        service = pool.FindServiceByName(name)
        assert service.methods, name
        files = [service.file]
        while files:
            file = files.pop()
            # A file can be asked for by its own name, and its dependencies with it.
            asked = descriptor_pb2.FileDescriptorProto()
            file.CopyToProto(asked)
            fresh = database(channel, version).FindFileByName(file.name)
            assert (fresh.package, list(fresh.dependency)) == (asked.package, list(asked.dependency))
            files += file.dependencies
        for method in service.methods:
            fresh = database(channel, version)
            assert fresh.FindFileContainingSymbol(method.full_name).name == service.file.name
            for message in (method.input_type, method.output_type):
                for nested in every_message(message):
                    fresh = database(channel, version)
                    assert fresh.FindFileContainingSymbol(nested.full_name).name == nested.file.name
        for enum in service.file.enum_types_by_name.values():
            assert database(channel, version).FindFileContainingSymbol(enum.full_name).name == service.file.name


@pytest.mark.parametrize("version", VERSIONS)
def test_one_stream_answers_many_requests_and_tells_what_is_not_there(channel, version):
    request = reflection_pb2.ServerReflectionRequest
    asked = [
        request(list_services="*", host="anything"),
        request(file_by_filename="no/such.proto"),
        request(file_containing_symbol="arcana.user.v1.User"),
        request(file_containing_symbol="arcana.user.v1.Nobody"),
        request(file_containing_symbol=""),
        request(all_extension_numbers_of_type="arcana.user.v1.User"),
        request(all_extension_numbers_of_type="arcana.user.v1.Nobody"),
        request(
            file_containing_extension=reflection_pb2.ExtensionRequest(
                containing_type="arcana.user.v1.User", extension_number=100
            )
        ),
        request(),
        request(list_services=""),
    ]
    answers = list(Version(channel, version).ServerReflectionInfo(iter(asked), timeout=TIMEOUT))
    assert [answer.original_request for answer in answers] == asked
    assert answers[0].valid_host == "anything"
    kinds = [answer.WhichOneof("message_response") for answer in answers]
    error, file = "error_response", "file_descriptor_response"
    extensions = "all_extension_numbers_response"
    services = "list_services_response"
    assert kinds == [services, error, file, error, error, extensions, error, error, error, services]
    codes = [answer.error_response.error_code for answer in answers if answer.WhichOneof("message_response") == error]
    assert codes == [grpc.StatusCode.NOT_FOUND.value[0]] * 5 + [grpc.StatusCode.INVALID_ARGUMENT.value[0]]


def definitions(file):
    """The messages, enums and services of a file by name, in the words of descriptors."""
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    for message in proto.message_type:
        forget_json_names(message)
    for service in proto.service:
        # A manifest may list the functions in another order than the WIT: only names tell methods apart.
        service.method.sort(key=lambda method: method.name)
    return {part.name: str(part) for part in (*proto.message_type, *proto.enum_type, *proto.service)}


def forget_json_names(message):
    """Those of REST are derived from the names of fields, and protoc leaves them out of stubs."""
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        forget_json_names(nested)


def test_reflection_and_the_published_files_are_the_same(stubs, channel):
    pool = descriptor_pool.DescriptorPool(database(channel, "v1"))
    published = sorted(path.relative_to(ROOT / "proto") for path in (ROOT / "proto").rglob("*.proto"))
    for name in published:
        messages, _ = stubs(str(name.with_suffix("")))
        live = definitions(pool.FindFileByName(str(name)))
        for part, definition in definitions(messages.DESCRIPTOR).items():
            assert live[part] == definition
        # The live host has the echo guest too, which uses more of the types that all plugins share.
        assert name.parts[1] == "types" or live.keys() == definitions(messages.DESCRIPTOR).keys(), name


def test_the_comments_of_the_authors_are_there(channel):
    file = database(channel, "v1").FindFileContainingSymbol("arcana.user.v1.User")
    comments = [location.leading_comments.strip() for location in file.source_code_info.location]
    assert "An account." in comments and "Makes an account." in comments


def test_a_call_without_stubs(channel, admin):
    pool = descriptor_pool.DescriptorPool(database(channel, "v1"))
    method = pool.FindServiceByName("arcana.user.v1.UserService").FindMethodByName("List")
    page = call(dynamic(channel, method), message_factory.GetMessageClass(method.input_type)(size=1), admin)
    assert (len(page.users), page.size) == (1, 1) and page.total_elements >= 1


def dynamic(channel, method):
    """The method of a stub; of streams it takes one message, and answers the first."""
    answer = message_factory.GetMessageClass(method.output_type)
    path = f"/{method.containing_service.full_name}/{method.name}"
    encode = lambda message: message.SerializeToString()
    kind = {(False, False): channel.unary_unary, (False, True): channel.unary_stream, (True, True): channel.stream_stream}
    stub = kind[method.client_streaming, method.server_streaming](
        path, request_serializer=encode, response_deserializer=answer.FromString
    )
    if not method.server_streaming:
        return stub
    return lambda message, **how: next(stub(iter([message]) if method.client_streaming else message, **how))


def camel(kebab):
    return "".join(word.capitalize() for word in kebab.split("-"))


def access_rules():
    """The access rule of each method, as the manifests say it: `{("AuthService", "Login"): ["public"], …}`."""
    rules = {}
    manifests = [*(ROOT / "components").glob("*/plugin.toml"), ROOT / "host/tests/guests/echo/plugin.toml"]
    for manifest in manifests:
        for method in tomllib.loads(manifest.read_text())["methods"]:
            interface, function = method["call"].split(".")
            allow = method["allow"]
            rules[camel(interface), camel(function)] = [allow] if isinstance(allow, str) else allow
    return rules | {("PluginService", function): ["role:admin"] for function in PLUGIN_METHODS}


def complete(message):
    """The message with every record in it that has to be there."""
    for field in message.DESCRIPTOR.fields:
        if rest_json.is_record(field):
            getattr(message, field.name).SetInParent()
            complete(getattr(message, field.name))
    return message


def plugin_methods(channel):
    known = database(channel, "v1")
    pool = descriptor_pool.DescriptorPool(known)
    for name in sorted(set(known.get_services()) - PUBLIC_OF_HOST):
        yield from pool.FindServiceByName(name).methods


def test_nobody_gets_past_the_access_rules(channel):
    rules, seen = access_rules(), set()
    for method in plugin_methods(channel):
        key = (method.containing_service.name, method.name)
        seen.add(key)
        empty = message_factory.GetMessageClass(method.input_type)()
        for token in (None, "a.b.c"):
            try:
                call(dynamic(channel, method), empty, token)
                reason = None
            except Failed as error:
                code, reason = error.code, error.reason
            if "public" in rules[key]:
                # It may well refuse an empty request, even with 401; but not for want of a token.
                assert reason != "UNAUTHORIZED", key
            else:
                expected = "INVALID_TOKEN" if token else "UNAUTHORIZED"
                assert (code, reason) == (grpc.StatusCode.UNAUTHENTICATED, expected), key
    # Each method of a manifest is served, and no other.
    assert seen == set(rules)


def test_a_user_gets_no_further_than_their_role(stubs, channel):
    messages, services = stubs("arcana/auth/v1/auth")
    request = messages.RegisterRequest(email="walker@grpc.example", password=PASSWORD)
    token = call(services.AuthServiceStub(channel).Register, request).access_token
    rules, refused = access_rules(), 0
    for method in plugin_methods(channel):
        rule = rules[method.containing_service.name, method.name]
        if any(allow == "public" or allow == "authenticated" for allow in rule):
            continue
        assert all(re.match("role:|self:", allow) for allow in rule), rule
        # Complete, as whether it is somebody else's is asked of what can be read.
        request = complete(message_factory.GetMessageClass(method.input_type)())
        error = failure(dynamic(channel, method), request, token)
        assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN"), method.full_name
        refused += 1
    assert refused >= 9


def test_how_the_host_is(stubs, channel, rest):
    messages, services = stubs("arcana/health/v1/health")
    health = services.HealthServiceStub(channel)
    found = call(health.Check, messages.CheckRequest())
    shown = requests.get(f"{rest}/health", timeout=TIMEOUT).json()
    assert (found.status, found.mode) == (messages.PHASE_OK, messages.MODE_DEVELOPMENT)
    assert (shown["status"], shown["version"], shown["plugins"]) == ("ok", found.version, found.plugins)
    for answer in (call(health.Live, messages.LiveRequest()), call(health.Ready, messages.ReadyRequest())):
        assert answer.status == messages.ANSWER_OK


def test_health_of_the_host_and_of_each_service(channel):
    health = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    for name in ["", *SHIPPED, "test.echo.v1.Kitchen"]:
        request = health_pb2.HealthCheckRequest(service=name)
        assert call(health.Check, request).status == serving, name
        watched = health.Watch(request, timeout=TIMEOUT)
        assert next(watched).status == serving, name
        watched.cancel()
    unknown = health_pb2.HealthCheckRequest(service="arcana.nothing.v1.Nothing")
    assert failure(health.Check, unknown).code == grpc.StatusCode.NOT_FOUND
    watched = health.Watch(unknown, timeout=TIMEOUT)
    assert next(watched).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watched.cancel()
