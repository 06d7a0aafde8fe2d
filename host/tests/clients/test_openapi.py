"""The OpenAPI document: valid for a validator, and kept by the live host as far as schemathesis finds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from openapi_spec_validator import OpenAPIV31SpecValidator

from conftest import TIMEOUT
from test_reflection import plugin_methods

HERE = Path(__file__).resolve().parent
METHODS = {"get", "put", "post", "delete", "patch"}
TOKEN = os.environ.get("ARCANA_ADMIN_TOKEN")


@pytest.fixture(scope="module")
def document(rest):
    answer = requests.get(f"{rest}/api/openapi.json", timeout=TIMEOUT)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("application/json")
    return answer.json()


def check_document(document):
    assert document["openapi"].startswith("3.1.")
    errors = OpenAPIV31SpecValidator(document).iter_errors()
    assert not [f"{list(error.absolute_path)}: {error.message}" for error in errors]


def operations(document):
    """Each operation as (path, method, object)."""
    for path, item in document["paths"].items():
        yield from ((path, method, item[method]) for method in METHODS & set(item))


def test_the_document_is_openapi_3_1(document):
    check_document(document)


def test_so_is_the_document_of_each_plugin_and_together_they_are_all(document, rest):
    plugins = {tag["x-arcana-plugin"] for tag in document["tags"] if "x-arcana-plugin" in tag}
    assert plugins
    everything = {(path, method) for path, method, _ in operations(document)}
    for plugin in plugins:
        answer = requests.get(f"{rest}/api/openapi.json", params={"plugin": plugin}, timeout=TIMEOUT)
        assert answer.status_code == 200, plugin
        check_document(answer.json())
        own = {(path, method) for path, method, _ in operations(answer.json())}
        assert own and own <= everything, plugin
        everything -= own
    host = {"/health", "/metrics", "/api", "/.well-known"}
    assert all(any(path.startswith(own) for own in host) for path, _ in everything), everything


def test_the_document_and_reflection_name_the_same_methods(document, channel):
    documented = {operation["x-arcana-grpc"] for *_, operation in operations(document) if "x-arcana-grpc" in operation}
    # Every method of the plugins here has a route.
    assert documented == {f"{method.containing_service.full_name}/{method.name}" for method in plugin_methods(channel)}


def test_schemathesis_finds_nothing(document, rest, tmp_path):
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", HERE / "schemathesis.toml"]
    command += ["run", f"{rest}/api/openapi.json", "--checks", "all", "--no-color"]
    if TOKEN:
        command += ["--header", f"Authorization: Bearer {TOKEN}"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    print(run.stdout, run.stderr)
    assert run.returncode == 0
    # Each operation of the document was called, but the one that it came from.
    count = len([path for path, *_ in operations(document) if path != "/api/openapi.json"])
    assert f"{count} selected / {count} total" in run.stdout
