"""Start the service: ``python server.py --config decider.toml`` is ``decider serve --config decider.toml``."""

from __future__ import annotations

import sys

from decider.cli.main import app

if __name__ == "__main__":
    app(["serve", *sys.argv[1:]], prog_name="server.py")
