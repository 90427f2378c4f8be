"""What the tests need to reach a running Fastable: three environment variables and the official MCP client."""

import os
import pathlib
import uuid
from contextlib import asynccontextmanager

import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client


def setting(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        pytest.exit(f"Set {name}: these tests run against a running Fastable.", returncode=2)
    return value


@pytest.fixture(scope="session")
def url() -> str:
    """The MCP endpoint."""
    return setting("FASTABLE_MCP_URL")


@pytest.fixture(scope="session")
def base(url: str) -> str:
    """The root of the API."""
    return url.removesuffix("/api/mcp")


@pytest.fixture(scope="session")
def token() -> str:
    return pathlib.Path(setting("FASTABLE_TOKEN_FILE")).read_text().strip()


@pytest.fixture(scope="session")
def project() -> str:
    return setting("FASTABLE_PROJECT")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def connect(url: str, token: str):
    """Opens a client in one of its modes: `legacy`, `auto` or a modern revision."""

    @asynccontextmanager
    async def open_client(mode: str):
        async with create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as http:
            async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
                yield client

    return open_client


@pytest.fixture
def folder() -> str:
    """A directory of its own for each test, relative to /workspace."""
    return f"mcp-test-{uuid.uuid4().hex[:12]}"
