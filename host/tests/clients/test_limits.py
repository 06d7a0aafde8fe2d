"""Rate limits: a host that enforces those of its plugins."""

import grpc

from conftest import call, failure


def test_a_refusal_says_when_to_come_back(stubs, channel):
    messages, services = stubs("arcana/auth/v1/auth")
    login = services.AuthServiceStub(channel).Login
    request = messages.LoginRequest(email="nobody@grpc.example", password="wrong password")
    for _ in range(20):
        error = failure(login, request)
        if error.code != grpc.StatusCode.UNAUTHENTICATED:
            break
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMIT_EXCEEDED")
    assert 0 < error.retry_after <= 60
    # Methods without a limit are served on.
    assert call(services.AuthServiceStub(channel).ValidateToken, messages.ValidateTokenRequest(token="")).valid is False
