"""A real desk: a book, a history, holds, and libvirt's own test driver; nothing runs by itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from office import MANIFEST, Office
from reconvirt.api.openapi import openapi_document
from reconvirt.api.server import Server
from reconvirt.cli.client import Client
from reconvirt.controller.config import Config
from reconvirt.controller.config.model import PageSettings, SocketSettings
from reconvirt.controller.desk import Desk
from reconvirt.controller.engine import Engine
from reconvirt.controller.history import History
from reconvirt.controller.holds import HoldStore
from reconvirt.controller.pruner import Pruner
from reconvirt.controller.state_store import StateStore
from reconvirt.controller.status import StatusBook
from reconvirt.domain.desired import desire
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import OperationFailed
from reconvirt.manifest.load import assemble, load_file
from reconvirt.manifest.model import SourceFile
from testbed.ports import free_port


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    hypervisor = Hypervisor("test:///default")
    content = load_file(SourceFile("test.yaml", MANIFEST.encode()))
    assert () == content.problems
    manifests = dict(assemble([content], "r1").manifests)
    history, book, poked = History(), StatusBook(), []

    def abort(name: str) -> None:
        if "aborted" in poked:
            raise OperationFailed(f"no migration of {name} runs")
        poked.append("aborted")

    engine = Engine(lambda: hypervisor)
    engine.want({name: desire(each) for name, each in manifests.items()})
    desk = Desk(
        engine=engine,
        book=book,
        history=history,
        holds=HoldStore(StateStore(tmp_path)),
        pruner=Pruner(lambda: hypervisor, "desired", history, lambda _orphans, _verdict: None),
        hypervisor=lambda: hypervisor,
        manifests=lambda: manifests,
        poke_source=lambda: poked.append("poked"),
        abort_migration=abort,
    )
    book.describe(connected=True, revision="r1")
    made = Office(desk, book, history, hypervisor, manifests, poked)
    made.write()
    yield made
    hypervisor.close()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A socket and a port of the test's own."""
    page = PageSettings(port=free_port())
    return Config(socket=SocketSettings(path=tmp_path / "api.sock"), page=page)


@pytest.fixture
def server(office: Office, config: Config) -> Iterator[Server]:
    with Server(office.desk, config) as running:
        yield running


@pytest.fixture
def client(server: Server, config: Config) -> Client:
    assert server.page_url
    return Client(config.socket.path)


@pytest.fixture
def keeps_to() -> Callable[[str, Any], None]:
    """Checks a document by the schema that the interface's description has of it."""
    document = json.loads(json.dumps(openapi_document()))

    def check(name: str, value: Any) -> None:
        schema = {**document, "$ref": f"#/components/schemas/{name}"}
        jsonschema.Draft202012Validator(schema).validate(value)

    return check
