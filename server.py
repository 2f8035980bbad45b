"""Start the service: ``python server.py --config decider.toml`` is ``decider serve --config decider.toml``."""

from __future__ import annotations

import sys

from decider.cli.main import run

if __name__ == "__main__":
    run(["serve", *sys.argv[1:]], program="server.py")
