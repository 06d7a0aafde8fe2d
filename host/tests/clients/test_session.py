"""Sign-in and accounts through stubs that grpcio-tools made from proto/."""

import grpc
import pytest
import requests

from conftest import PASSWORD, TIMEOUT, call, failure


@pytest.fixture(scope="module")
def auth(stubs, channel):
    messages, services = stubs("arcana/auth/v1/auth")
    return messages, services.AuthServiceStub(channel)


@pytest.fixture(scope="module")
def users(stubs, channel):
    messages, services = stubs("arcana/user/v1/user")
    return messages, services.UserServiceStub(channel)


def register(auth, email, **fields):
    messages, service = auth
    return call(service.Register, messages.RegisterRequest(email=email, password=PASSWORD, **fields))


def test_a_session_from_its_beginning_to_its_end(auth, rest):
    messages, service = auth
    session = register(auth, "Ada@grpc.example", name="Ada Lovelace \U0001f980", first_name="")
    assert session.token_type == "Bearer" and session.expires_in > 0
    assert session.user.email == "Ada@grpc.example" and session.user.name == "Ada Lovelace \U0001f980"
    # An empty name is none; what was not said is absent.
    assert not session.user.HasField("username") and not session.user.HasField("last_name")

    session = call(service.Login, messages.LoginRequest(username_or_email="ada@GRPC.example", password=PASSWORD))
    token = session.access_token
    assert call(service.GetCurrentUser, messages.GetCurrentUserRequest(), token) == session.user
    shown = requests.get(f"{rest}/api/v1/auth/me", headers={"authorization": f"Bearer {token}"}, timeout=TIMEOUT).json()
    assert shown["id"] == session.user.id and shown["last_login_at"] == session.user.last_login_at

    info = call(service.ValidateToken, messages.ValidateTokenRequest(token=token))
    assert info.valid and info.subject == session.user.id and list(info.roles) == ["user"] and info.expires_at > 2**30
    info = call(service.ValidateToken, messages.ValidateTokenRequest(token=token + "x"))
    assert info == messages.TokenInfo() and not info.HasField("subject") and not info.HasField("expires_at")

    renewed = call(service.Refresh, messages.RefreshRequest(refresh_token=session.refresh_token))
    assert renewed.refresh_token != session.refresh_token
    request = messages.LogoutRequest(refresh_token=renewed.refresh_token)
    assert call(service.Logout, request) == messages.LogoutResponse()
    error = failure(service.GetCurrentUser, messages.GetCurrentUserRequest(), renewed.access_token)
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "INVALID_TOKEN")
    error = failure(service.Refresh, messages.RefreshRequest(refresh_token=renewed.refresh_token))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "INVALID_TOKEN")


def test_a_token_is_taken_in_the_same_forms_as_over_rest(auth, rest):
    messages, service = auth
    token = register(auth, "form@grpc.example").access_token
    request = messages.GetCurrentUserRequest()
    for value in (token, f"Basic {token}", "Bearer a.b.c", "Bearer", "Bearer  ", f"Bearer {token} {token}"):
        error = failure(service.GetCurrentUser, request, metadata=[("authorization", value)])
        answer = requests.get(f"{rest}/api/v1/auth/me", headers={"authorization": value}, timeout=TIMEOUT)
        assert (error.code, answer.status_code) == (grpc.StatusCode.UNAUTHENTICATED, 401), value
        assert error.reason == answer.json()["code"], value
    assert call(service.GetCurrentUser, request, metadata=[("authorization", f"bearer {token}")]).email


def test_accounts_as_administrator(users, admin):
    messages, service = users
    request = messages.CreateUserRequest(
        email="Grace@grpc.example", password=PASSWORD, username="grace", role=messages.ROLE_MODERATOR
    )
    made = call(service.Create, request, admin)
    assert (made.role, made.status) == (messages.ROLE_MODERATOR, messages.STATUS_ACTIVE)
    assert call(service.Get, messages.GetRequest(id=made.id), admin) == made

    page = call(service.List, messages.ListRequest(search="grpc.example", role=messages.ROLE_MODERATOR), admin)
    assert (list(page.users), page.page, page.size, page.total_elements, page.total_pages) == ([made], 0, 20, 1, 1)
    page = call(service.List, messages.ListRequest(search="nobody is called so"), admin)
    assert (list(page.users), page.total_elements) == ([], 0)
    # Page 0 said and page 0 left out are the same page, and a size of 0 is not the default.
    assert failure(service.List, messages.ListRequest(page=0, size=0), admin).fields[0][0] == "size"

    profile = messages.UpdateUserRequest(email="grace@grpc.example", name="Grace Hopper", first_name="Grace")
    changed = call(service.Update, messages.UpdateRequest(id=made.id, user=profile), admin)
    assert changed.name == "Grace Hopper" and not changed.HasField("username")
    patch = messages.PatchUserRequest()
    patch.name.clear.SetInParent()
    patch.last_name.set = "Hopper"
    changed = call(service.Patch, messages.PatchRequest(id=made.id, user=patch), admin)
    assert (changed.first_name, changed.last_name, changed.HasField("name")) == ("Grace", "Hopper", False)
    assert call(service.Patch, messages.PatchRequest(id=made.id, user=messages.PatchUserRequest()), admin).email

    changed = call(service.UpdateRole, messages.UpdateRoleRequest(id=made.id, role=messages.ROLE_USER), admin)
    assert changed.role == messages.ROLE_USER
    changed = call(service.UpdateStatus, messages.UpdateStatusRequest(id=made.id, status=messages.STATUS_LOCKED), admin)
    assert changed.status == messages.STATUS_LOCKED
    assert call(service.Delete, messages.DeleteRequest(id=made.id), admin) == messages.DeleteResponse()
    error = failure(service.Get, messages.GetRequest(id=made.id), admin)
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


def test_oneself_is_the_id_of_the_message(auth, users):
    messages, service = users
    one, other = register(auth, "one@grpc.example"), register(auth, "other@grpc.example")
    assert call(service.Get, messages.GetRequest(id=one.user.id), one.access_token) == one.user
    for id in (other.user.id, "", "no id at all"):
        error = failure(service.Get, messages.GetRequest(id=id), one.access_token)
        assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN"), id
    error = failure(service.List, messages.ListRequest(), one.access_token)
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN")


def test_mistakes_have_the_codes_and_details_of_rest(auth, users, admin, rest):
    messages, service = auth
    taken = register(auth, "taken@grpc.example").user
    error = failure(service.Register, messages.RegisterRequest(email="taken@grpc.example", password=PASSWORD))
    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "CONFLICT")
    error = failure(service.Login, messages.LoginRequest(email="taken@grpc.example", password="wrong password"))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "INVALID_CREDENTIALS")

    wrong = {"email": "nobody", "password": "short", "username": "a b"}
    error = failure(service.Register, messages.RegisterRequest(**wrong))
    answer = requests.post(f"{rest}/api/v1/auth/register", json=wrong, timeout=TIMEOUT).json()
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, answer["code"])
    assert error.message == answer["message"]
    assert sorted(error.fields) == sorted((detail["field"], detail["code"]) for detail in answer["details"])
    assert len(error.fields) == 3 and all(error.descriptions)

    messages, service = users
    # The zero of an enum says nothing, and a number without a name says nothing known.
    for role, code in [(messages.ROLE_UNSPECIFIED, "REQUIRED"), (99, "UNKNOWN_VALUE")]:
        error = failure(service.UpdateRole, messages.UpdateRoleRequest(id=taken.id, role=role), admin)
        assert (error.code, error.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [("role", code)])


def test_text_in_messages_survives_whatever_it_is(auth):
    messages, service = auth
    # `grpc-message` is percent-encoded; what a client reads is what was meant.
    error = failure(service.Login, messages.LoginRequest(email="ä%20\n\U0001f980@grpc.example", password="x" * 9))
    assert error.code == grpc.StatusCode.UNAUTHENTICATED and error.message and "%" not in error.message


def test_a_request_id_comes_back(auth):
    messages, service = auth
    request = messages.ValidateTokenRequest(token="")
    for sent, kept in [("grpc-1.2:3_4", True), ("not a usable id", False), (None, False)]:
        metadata = [("x-request-id", sent)] if sent else []
        _, answer = service.ValidateToken.with_call(request, metadata=metadata, timeout=TIMEOUT)
        all_of_it = dict(answer.initial_metadata()) | dict(answer.trailing_metadata())
        assert (all_of_it["x-request-id"] == sent) == kept and all_of_it["x-request-id"]
    error = failure(service.Refresh, messages.RefreshRequest(), metadata=[("x-request-id", "of-an-error")])
    assert error.metadata["x-request-id"] == "of-an-error"


def test_deadlines(auth):
    messages, service = auth
    request = messages.RegisterRequest(email="late@grpc.example", password=PASSWORD)
    assert failure(service.Register, request, timeout=0.000_001).code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert call(service.ValidateToken, messages.ValidateTokenRequest(token=""), timeout=3600).valid is False


def test_compression(stubs, auth, address):
    messages, _ = auth
    _, services = stubs("arcana/auth/v1/auth")
    long = messages.ValidateTokenRequest(token="a" * 100_000)
    for algorithm in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        with grpc.insecure_channel(address, compression=algorithm) as channel:
            assert call(services.AuthServiceStub(channel).ValidateToken, long) == messages.TokenInfo()
    # One that the host does not have is refused as the protocol says, never read as something else.
    with grpc.insecure_channel(address, compression=grpc.Compression.Deflate) as channel:
        error = failure(services.AuthServiceStub(channel).ValidateToken, long)
        assert error.code == grpc.StatusCode.UNIMPLEMENTED


def test_limits_of_messages(auth):
    messages, service = auth
    # server.grpc.max_message, of what the message is and not of how it comes.
    for algorithm in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        large = messages.ValidateTokenRequest(token="a" * (4 << 20))
        error = failure(service.ValidateToken, large, compression=algorithm)
        assert error.code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_broken_and_unknown_wire_data(auth, channel):
    messages, _ = auth
    as_it_is = {"request_serializer": bytes, "response_deserializer": messages.TokenInfo.FromString}
    method = channel.unary_unary("/arcana.auth.v1.AuthService/ValidateToken", **as_it_is)
    for broken in (b"\x0a\xff", b"\x0a", b"\x08\x01", b"\x0b", b"\x0a\x02\xff\xfe", b"\x00", b"\xff" * 12):
        assert failure(method, broken).code == grpc.StatusCode.INVALID_ARGUMENT, broken
    # Fields that a newer client knows are skipped: a varint, 64 bits, text, a group, 32 bits.
    unknown = [b"\xf8\x07\x01", b"\xf9\x07" + b"\0" * 8, b"\xfa\x07\x02hi", b"\xfb\x07\x08\x01\xfc\x07", b"\xfd\x07\0\0\0\0"]
    assert call(method, b"".join(unknown)) == messages.TokenInfo()


def test_what_is_not_there_is_unimplemented(channel):
    for path in ("AuthService/Nothing", "Nothing/Get", "authservice/Login", "AuthService/login"):
        method = channel.unary_unary(f"/arcana.auth.v1.{path}", request_serializer=bytes, response_deserializer=bytes)
        assert failure(method, b"").code == grpc.StatusCode.UNIMPLEMENTED, path


def test_many_calls_at_once_over_one_connection(auth):
    messages, service = auth
    asked = [messages.ValidateTokenRequest(token=str(n)) for n in range(200)]
    calls = [service.ValidateToken.future(request, timeout=TIMEOUT) for request in asked]
    assert all(not answer.result().valid for answer in calls)
