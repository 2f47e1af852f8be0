"""The audits of npm's graphql-http, the specification's own reference: all of them pass, also those it only recommends.

``make test`` installs them where npm is. Elsewhere this is skipped, and pytest's summary says so.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from app.main import create_app
from app.settings import Settings
from tests.http_server import served

HERE = Path(__file__).parent
NODE = shutil.which("node")
AUDITS = 61

needs_audits = pytest.mark.skipif(
    NODE is None or not (HERE / "node_modules" / "graphql-http").is_dir(),
    reason="GraphQL over HTTP IS NOT AUDITED: no Node.js, or no packages (make audit-packages installs them)",
)


@needs_audits
@pytest.mark.parametrize("graphiql", [True, False])
def test_every_audit_passes(settings: Settings, graphiql: bool) -> None:
    assert NODE is not None
    with served(create_app(settings.model_copy(update={"graphiql": graphiql})), settings) as port:
        audited = subprocess.run(
            [NODE, HERE / "audit.mjs", f"http://127.0.0.1:{port}/graphql"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    results = json.loads(audited.stdout)
    assert [result for result in results if result["status"] != "ok"] == []
    assert len(results) == AUDITS
