"""Start the service: ``python server.py --config decider.toml`` is the same as ``decider serve``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from decider.service.start import run_service


def main() -> int:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description="Serve decisions over gRPC until SIGTERM or Ctrl-C.")
    parser.add_argument("--config", type=Path, help="configuration file; default: built-in defaults")
    parser.add_argument("--listen", default="", help="address:port instead of the configuration's")
    parser.add_argument("--reuse-port", action="store_true", help="share the port with other processes")
    parser.add_argument("--log-json", action="store_true", help="log lines as JSON objects")
    options = parser.parse_args()
    return run_service(
        options.config, listen=options.listen, reuse_port=options.reuse_port, log_json=options.log_json
    )


if __name__ == "__main__":
    sys.exit(main())
