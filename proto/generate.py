"""Generate the Python code of the protocol: ``proto/decider/v1/*.proto`` into ``src/decider/v1``.

Needs the extra `generate`: the compiler's version is pinned there, since generated code runs on newer
runtimes only. Running it twice changes nothing; ``--check`` changes nothing at all and fails when the
committed code differs from what would be generated.
"""

from __future__ import annotations

import argparse
import os
import sys
import sysconfig
import tempfile
from importlib.resources import files
from pathlib import Path

PROTO = Path(__file__).resolve().parent
TARGET = PROTO.parent / "src" / "decider" / "v1"
INIT = '"""Generated from proto/decider/v1 by proto/generate.py; never edited."""\n'


def generate(into: Path) -> dict[str, bytes]:
    """Run the compiler with output below `into`; return the generated files of the package by name.

    Raises
    ------
    SystemExit
        When the compiler or its plugins are not installed, or refuse a file.
    """
    try:
        from grpc_tools import protoc
    except ImportError:
        raise SystemExit("grpcio-tools is not installed: pip install '.[generate]'") from None
    # The stub plugins are scripts beside this interpreter, which need not be on the PATH.
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.glob("decider/v1/*.proto"))
    kinds = ("python", ""), ("grpc_python", ""), ("mypy", "quiet:"), ("mypy_grpc", "quiet:")
    outputs = [f"--{kind}_out={option}{into}" for kind, option in kinds]
    well_known = files("grpc_tools") / "_proto"
    status = protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", *outputs, *sources])
    if status:
        raise SystemExit(status)
    package = into / "decider" / "v1"
    generated = {path.name: path.read_bytes() for path in sorted(package.iterdir()) if path.is_file()}
    # Files without a service still get a gRPC module with nothing in it.
    services = {Path(name).stem for name in sources if name.endswith("_service.proto")}
    kept = {
        name: text
        for name, text in generated.items()
        if "_pb2_grpc" not in name or name.split("_pb2_grpc")[0] in services
    }
    return {"__init__.py": INIT.encode(), **kept}


def main() -> None:
    """Generate, or check that generating would change nothing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail when the code is stale")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        wanted = generate(Path(folder))
    present = {path.name: path.read_bytes() for path in TARGET.glob("*") if path.suffix in {".py", ".pyi"}}
    stale = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    if check:
        if stale:
            raise SystemExit(f"generated code is stale, run `make generate`: {', '.join(stale)}")
        return
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in stale:
        if name in wanted:
            (TARGET / name).write_bytes(wanted[name])
        else:
            (TARGET / name).unlink()
    sys.stdout.write(f"{len(wanted)} files, {len(stale)} changed\n")


if __name__ == "__main__":
    main()
