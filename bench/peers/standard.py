"""Standard execution: the gateway as it is, but that resolvers and dataloaders run all operations and no plan does.

python -m bench.peers.standard PORT
"""

import sys

import uvicorn

from app import logs
from app.main import create_app
from app.serving import config_of, settle_memory
from app.settings import load_settings


def main() -> None:
    """Serve on 127.0.0.1 until a signal ends it. The settings are those of the environment."""
    settings = load_settings()
    logs.configure(settings)
    config = config_of(create_app(settings, compiles=False), settings)
    config.port = int(sys.argv[1])
    settle_memory()
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
