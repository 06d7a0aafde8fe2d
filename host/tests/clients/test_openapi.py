"""The OpenAPI document: valid for a validator, and kept by the live host as far as schemathesis finds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from openapi_spec_validator import OpenAPIV31SpecValidator

from conftest import TIMEOUT

HERE = Path(__file__).resolve().parent
METHODS = {"get", "put", "post", "delete", "patch"}
TOKEN = os.environ.get("ARCANA_ADMIN_TOKEN")


@pytest.fixture(scope="module")
def document(rest):
    answer = requests.get(f"{rest}/api/openapi.json", timeout=TIMEOUT)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("application/json")
    return answer.json()


def test_the_document_is_openapi_3_1(document):
    assert document["openapi"].startswith("3.1.")
    errors = OpenAPIV31SpecValidator(document).iter_errors()
    assert not [f"{list(error.absolute_path)}: {error.message}" for error in errors]


def test_schemathesis_finds_nothing(document, rest, tmp_path):
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", HERE / "schemathesis.toml"]
    command += ["run", f"{rest}/api/openapi.json", "--checks", "all", "--no-color"]
    if TOKEN:
        command += ["--header", f"Authorization: Bearer {TOKEN}"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    print(run.stdout, run.stderr)
    assert run.returncode == 0
    # Each operation of the document was called, but the one that it came from.
    paths = [path for path in document["paths"] if path != "/api/openapi.json"]
    operations = sum(len(set(document["paths"][path]) & METHODS) for path in paths)
    assert f"{operations} selected / {operations} total" in run.stdout
