"""What the MCP endpoint refuses, seen on the wire."""

import json
import urllib.error
import urllib.request

import pytest

MODERN = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture
def post(url, token):
    """Sends a body and gives the status, the headers and the JSON of the answer."""

    def send(body, method="POST", authorized=True, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(url, data=None if method != "POST" else data, method=method)
        request.add_header("Content-Type", "application/json")
        request.add_header("Accept", "application/json, text/event-stream")
        if authorized:
            request.add_header("Authorization", f"Bearer {token}")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            response = urllib.request.urlopen(request, timeout=300)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            text = response.read()
            return response.status, response.headers, json.loads(text) if text else None

    return send


def message(method, params=None, id=1, modern=True):
    params = dict(params or {})
    if modern:
        params["_meta"] = {**META, **params.get("_meta", {})}
    body = {"jsonrpc": "2.0", "method": method, "params": params}
    return body if id is None else {**body, "id": id}


def headers(method, name=None, version=MODERN):
    result = {"Mcp_Protocol_Version": version, "Mcp_Method": method}
    return result if name is None else {**result, "Mcp_Name": name}


def error(answer, status, code):
    assert answer[0] == status, answer
    assert answer[2]["error"]["code"] == code, answer
    return answer[2]["error"]


def test_headers_and_body_must_agree(post):
    call = message("tools/call", {"name": "fs.list", "arguments": {}})
    error(post(call), 400, -32020)
    error(post(call, **headers("tools/list", "fs.list")), 400, -32020)
    error(post(call, **headers("tools/call", "fs.read")), 400, -32020)
    error(post(call, **headers("tools/call")), 400, -32020)
    error(post(call, **headers("tools/call", "fs.list", version="2025-11-25")), 400, -32020)


def test_metadata_is_required(post):
    bare = message("tools/list", modern=False)
    error(post(bare, **headers("tools/list")), 400, -32602)
    half = message("tools/list", modern=False)
    half["params"]["_meta"] = {"io.modelcontextprotocol/protocolVersion": MODERN}
    error(post(half, **headers("tools/list")), 400, -32602)


def test_unknown_versions_are_told_the_known_ones(post):
    future = message("tools/list", {"_meta": {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}})
    for answer in [
        post(future, **headers("tools/list", version="2099-01-01")),
        post(message("tools/list", modern=False), Mcp_Protocol_Version="1900-01-01"),
    ]:
        data = error(answer, 400, -32022)["data"]
        assert MODERN in data["supported"] and "2025-11-25" in data["supported"]


def test_unknown_methods(post):
    error(post(message("resources/list"), **headers("resources/list")), 404, -32601)
    error(post(message("initialize"), **headers("initialize")), 404, -32601)
    error(post(message("resources/list", modern=False), Mcp_Protocol_Version="2025-11-25"), 200, -32601)


def test_what_is_no_message(post):
    error(post(b"{"), 400, -32700)
    error(post([message("ping", modern=False)]), 400, -32600)
    error(post({"jsonrpc": "2.0", "id": None, "method": "ping"}), 400, -32600)
    error(post({"jsonrpc": "2.0", "id": 1, "result": {}}), 400, -32600)


def test_notifications_are_taken_without_an_answer(post):
    for body in [
        message("notifications/initialized", id=None, modern=False),
        message("notifications/cancelled", {"requestId": 99}, id=None, modern=False),
    ]:
        status, _, answer = post(body, Mcp_Protocol_Version="2025-11-25")
        assert status == 202 and answer is None


def test_origins(post):
    listing = message("tools/list")
    for origin, status in [("http://evil.example", 403), ("null", 403), ("http://localhost:3000", 200)]:
        assert post(listing, Origin=origin, **headers("tools/list"))[0] == status


def test_only_post_and_only_with_a_token(post):
    for method in ["GET", "DELETE"]:
        status, received, _ = post(b"", method=method)
        assert status == 405 and received["Allow"] == "POST"
    status, received, problem = post(message("tools/list"), authorized=False, **headers("tools/list"))
    assert status == 401 and received["WWW-Authenticate"].startswith("Bearer") and problem["code"] == "unauthenticated"


def test_discovery_has_what_the_revision_demands(post):
    status, _, answer = post(message("server/discover"), **headers("server/discover"))
    result = answer["result"]
    assert status == 200 and result["resultType"] == "complete" and MODERN in result["supportedVersions"]
    assert result["ttlMs"] >= 0 and result["cacheScope"] in ("public", "private") and "tools" in result["capabilities"]
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "fastable"
