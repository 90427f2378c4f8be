"""The OpenAPI document of a running Fastable is one, by the official rules."""

import json
import urllib.request

import jsonschema
from openapi_spec_validator import OpenAPIV31SpecValidator


def test_the_document_is_valid(base):
    with urllib.request.urlopen(f"{base}/openapi.json", timeout=300) as response:
        document = json.load(response)
    OpenAPIV31SpecValidator(document).validate()
    assert "/api/tools/shell.exec" in document["paths"]
    for path, item in document["paths"].items():
        if path.startswith("/api/tools/"):
            schema = item["post"]["requestBody"]["content"]["application/json"]["schema"]
            jsonschema.Draft202012Validator.check_schema(schema)
