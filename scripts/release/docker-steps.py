#!/usr/bin/env python3
"""Does in a folder what the Dockerfile does in an image, where no images can be built:

    docker-steps.py FOLDER CONTEXT [PATH [DOCKERFILE]]

FOLDER stands for the base image, CONTEXT is what `docker build` would be given, and PATH where the
folder's programs are. Runs each RUN, and prints each ENV and the CMD, a word a line. Knows the
instructions that our Dockerfiles use and stops at any other.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
MOUNT = "--mount=type=bind,target=/release"


def instructions(text):
    """Each instruction as its name and the rest, continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [line.split(None, 1) for line in joined.splitlines() if line.strip()]


def main(folder, context, path="/usr/local/bin:/usr/bin:/bin", dockerfile=None):
    folder, context = pathlib.Path(folder), pathlib.Path(context)
    dockerfile = pathlib.Path(dockerfile or context / "Dockerfile")
    release = folder / "release"
    shell = ["/bin/sh", "-c"]
    for name, rest in instructions(dockerfile.read_text()):
        if name in ("ARG", "FROM", "USER"):
            continue
        if name == "ENV":
            print("ENV", rest)
            continue
        if name == "SHELL":
            shell = json.loads(rest)
        elif name == "RUN":
            assert rest.startswith(MOUNT), rest
            shutil.rmtree(release, ignore_errors=True)
            shutil.copytree(context, release)
            command = [*shell, rest.removeprefix(MOUNT).strip()]
            step = [HERE / "in-folder.sh", folder, "env", "-i", f"PATH={path}", *command]
            subprocess.run(step, check=True, stdout=sys.stderr)
            shutil.rmtree(release)
        elif name == "CMD":
            print("\n".join(json.loads(rest)))
        else:
            sys.exit(f"docker-steps: not known here: {name}")


main(*sys.argv[1:])
