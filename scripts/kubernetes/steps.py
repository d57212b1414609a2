#!/usr/bin/env python3
"""Does in a folder what a pod does with our init container, where there is no Kubernetes:

    steps.py FOLDER CONTEXT FILE [PATH]

FOLDER holds a Debian with the server, CONTEXT the release's archives, and PATH says where the folder's
programs are while the image is built. FILE is a manifest with a pod, or values for a chart. Builds the image
of the init container, makes the volumes, runs the init containers as the pod's user, and prints the server's
arguments, a word a line.
"""

import pathlib
import shutil
import subprocess
import sys

import yaml

HERE = pathlib.Path(__file__).parent
RELEASE = HERE.parent / "release"
USER = "999:999"


def pod_of(documents):
    """The pod of a manifest, with the files of its config maps."""
    files = {}
    for document in documents:
        if document["kind"] == "ConfigMap":
            files[document["metadata"]["name"]] = document["data"]
    pods = [document["spec"] for document in documents if document["kind"] == "Pod"]
    assert len(pods) == 1, "expected one pod"
    return pods[0], files


def pod_of_values(values):
    """A pod as a chart makes it of its values: the configuration in a file that the server may write."""
    node = values.get("master", values)
    redis = values.get("redis", {})
    lines = [f"{name} {value}" for name, value in redis.get("config", {}).items()]
    text = values.get("commonConfiguration") or values.get("valkeyConfig") or "\n".join(lines)
    mounts = node.get("extraVolumeMounts") or redis["extraVolumeMounts"]
    volumes = [*node["extraVolumes"], {"name": "data", "configMap": {"name": "conf"}}]
    pod = {
        "initContainers": node.get("initContainers") or node["extraInitContainers"],
        "containers": [
            {
                "args": ["/data/redis.conf"],
                "volumeMounts": [*mounts, {"name": "data", "mountPath": "/data"}],
            }
        ],
        "volumes": volumes,
    }
    return pod, {"conf": {"redis.conf": f"dir /data\n{text}\n"}}


def make_volumes(folder, pod, files):
    for volume in pod["volumes"]:
        place = folder / "volumes" / volume["name"]
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for name, text in files.get(volume.get("configMap", {}).get("name"), {}).items():
            (place / name).write_text(text)
        subprocess.run(["chown", "-R", USER, place], check=True)


def mount(folder, container):
    """The volumes where a container has them; another one's are taken away."""
    for mounted in container["volumeMounts"]:
        place = folder / mounted["mountPath"].lstrip("/")
        if place.is_symlink():
            place.unlink()
        assert not place.exists(), place
        place.symlink_to(f"/volumes/{mounted['name']}")


def run(folder, container, image):
    mount(folder, container)
    command = container.get("command") or image["command"]
    environment = image["env"] | {e["name"]: e["value"] for e in container.get("env", [])}
    words = ["env", "-i", *(f"{name}={value}" for name, value in environment.items())]
    step = [RELEASE / "in-folder.sh", "--user", USER, folder, *words, *command]
    subprocess.run(step, check=True, stdout=sys.stderr)


def build(folder, context, path):
    """The image: its command, and its environment."""
    step = [RELEASE / "docker-steps.py", folder, context, path, HERE / "Dockerfile"]
    printed = subprocess.run(step, check=True, text=True, stdout=subprocess.PIPE)
    lines = printed.stdout.splitlines()
    env = dict(line[4:].split("=", 1) for line in lines if line.startswith("ENV "))
    command = [line for line in lines if not line.startswith("ENV ")]
    return {"env": {"PATH": path, **env}, "command": command}


def main(folder, context, file, path="/usr/local/bin:/usr/bin:/bin"):
    folder = pathlib.Path(folder)
    documents = list(yaml.safe_load_all(pathlib.Path(file).read_text()))
    is_manifest = "kind" in documents[0]
    pod, files = pod_of(documents) if is_manifest else pod_of_values(documents[0])
    image = build(folder, context, path)
    make_volumes(folder, pod, files)
    for container in pod["initContainers"]:
        assert container["image"].startswith("redis-rl-init:"), container["image"]
        run(folder, container, image)
    (server,) = pod["containers"]
    mount(folder, server)
    print("\n".join(server["args"]))


main(*sys.argv[1:])
