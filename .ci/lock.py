"""Write the two lock files: .ci/dev.lock for work on the project, .ci/runtime.lock for what ships.

The second is resolved under the first, so that what is tested is what is shipped.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
FLAGS = [
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--no-emit-trusted-host",
    "--no-emit-options",
    "--strip-extras",
    "--quiet",
    "--no-header",
    "--no-annotate",
]


def compile_lock(name: str, *extra: str) -> Path:
    out = HERE / name
    command = [sys.executable, "-m", "piptools", "compile", *FLAGS, *extra, "-o", str(out)]
    subprocess.run([*command, "pyproject.toml"], cwd=HERE.parent, check=True)
    return out


extras = ("--extra=dev", "--extra=test", "--extra=wire")
dev = compile_lock("dev.lock", *extras, "--allow-unsafe", "--build-deps-for=wheel")
with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
    constraints.write("\n".join(re.findall(r"^\S+==[^ \\]+", dev.read_text(), re.MULTILINE)))
    constraints.flush()
    compile_lock("runtime.lock", "-c", constraints.name)
