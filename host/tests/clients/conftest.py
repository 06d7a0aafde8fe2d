"""What the programs share: where the host is, stubs made from proto/, and the reading of errors."""

import importlib
import os
import sys
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[3]
# No answer takes so long; a test that hangs fails.
TIMEOUT = 60
PASSWORD = "correct horse"


class Failed(Exception):
    """A call that was answered with an error, in the words of the REST API."""

    def __init__(self, error):
        self.code = error.code()
        self.message = error.details()
        self.metadata = dict(error.initial_metadata() or ()) | dict(error.trailing_metadata() or ())
        self.reason, self.fields, self.retry_after = None, [], None
        status = rpc_status.from_call(error)
        for detail in status.details if status else ():
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo()
                assert detail.Unpack(info)
                self.reason, self.domain = info.reason, info.domain
            elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                bad = error_details_pb2.BadRequest()
                assert detail.Unpack(bad)
                self.fields = [(violation.field, violation.reason) for violation in bad.field_violations]
                self.descriptions = [violation.description for violation in bad.field_violations]
            elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                retry = error_details_pb2.RetryInfo()
                assert detail.Unpack(retry)
                self.retry_after = retry.retry_delay.ToMilliseconds() / 1000
            else:
                # A client that knows the standard details knows all of ours.
                assert detail.Is(error_details_pb2.RequestInfo.DESCRIPTOR), detail.type_url
        super().__init__(f"{self.code} {self.reason} {self.message!r} {self.fields}")


def call(method, request, token=None, **options):
    """Calls a method of a stub; raises `Failed`."""
    metadata = list(options.pop("metadata", ()))
    if token:
        metadata.append(("authorization", f"Bearer {token}"))
    try:
        return method(request, metadata=metadata, timeout=options.pop("timeout", TIMEOUT), **options)
    except grpc.RpcError as error:
        raise Failed(error) from None


def failure(method, request, token=None, **options):
    """The error that a call is answered with."""
    with pytest.raises(Failed) as caught:
        call(method, request, token, **options)
    return caught.value


@pytest.fixture(scope="session")
def rest():
    """`http://address:port`"""
    return os.environ["ARCANA_REST"]


@pytest.fixture(scope="session")
def address():
    """`address:port` of the gRPC front end."""
    return os.environ["ARCANA_GRPC"]


@pytest.fixture(scope="session")
def channel(address):
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=TIMEOUT)
        yield channel


@pytest.fixture(scope="session")
def admin():
    """The access token of the first administrator."""
    return os.environ["ARCANA_ADMIN_TOKEN"]


class Stubs:
    """Modules generated from the files of a folder: `stubs("arcana/auth/v1/auth")` is its messages and its services."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, name):
        module = name.replace("/", ".")
        return importlib.import_module(f"{module}_pb2"), importlib.import_module(f"{module}_pb2_grpc")


@pytest.fixture(scope="session")
def stubs(tmp_path_factory):
    """What grpcio-tools makes of proto/, every file of it."""
    protos, out = ROOT / "proto", tmp_path_factory.mktemp("stubs")
    files = sorted(str(path.relative_to(protos)) for path in protos.rglob("*.proto"))
    assert files, "proto/ is empty"
    well_known = Path(protoc.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{protos}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}"]
    assert protoc.main(arguments + files) == 0
    sys.path.insert(0, str(out))
    return Stubs(out)
