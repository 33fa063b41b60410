"""The manifests and scripts of examples/cluster: what they would run on a cluster runs here."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import ENGINES
from tests.live import ENVIRONMENT, PROGRAMS, LiveDask, LiveRay, free_port, wait_for

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples" / "cluster"
MANIFESTS = sorted(EXAMPLES.glob("*.yaml"))
SMALL = ["--epochs", "2", "--rows", "2000"]

# `srun` with this machine as all the nodes: `--nodes=2 --ntasks-per-node=1` starts two.
SRUN = """#!/bin/bash
nodes=${SLURM_NNODES}
while [[ $1 == --* ]]; do
  case $1 in --nodes=*) nodes=${1#*=} ;; esac
  shift
done
for ((i = 0; i < nodes; i++)); do "$@" & done
trap 'kill $(jobs -p)' TERM
wait
"""
# The pause: whoever reads one line alone, and goes, has ended it.
SCONTROL = """#!/bin/bash
[ "$*" = "show hostnames n[1-2]" ] && echo 127.0.0.1 && sleep 0.2 && echo 127.0.0.1
"""
# The nodes of a real cluster do not share their ports, as these do.
RAY = """#!/bin/bash
if [ "$1" != start ]; then exec {ray} "$@"; fi
port() {{ {python} -c 'from tests.live import free_port; print(free_port())'; }}
exec {ray} "$@" --dashboard-agent-listen-port "$(port)" --dashboard-agent-grpc-port "$(port)" \\
  --metrics-export-port "$(port)" --disable-usage-stats --object-store-memory 100000000 \\
  $([[ $* == *--head* ]] && echo --temp-dir {folder} --ray-client-server-port "$(port)")
"""


def documents(name: str) -> list[dict[str, Any]]:
    """The objects of a manifest."""
    import yaml  # with Dask and Ray

    return list(yaml.safe_load_all((EXAMPLES / name).read_text()))


def container(thing: dict[str, Any]) -> dict[str, Any]:
    """The container of a part of a manifest."""
    found: dict[str, Any] = thing.get("template", thing)["spec"]["containers"][0]
    return found


@pytest.mark.needs("dask")
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_agree_with_each_other(path: Path) -> None:
    """Images, claims, services and secrets have the names by which others ask for them."""
    claims = {each["metadata"]["name"] for each in documents("checkpoints.yaml")}
    images = re.findall(r"image: (\S+)", path.read_text())
    assert {*images} <= {"registry.example.com/chainrule:1"}
    for thing in documents(path.name):
        if thing["kind"] != "Job":
            continue
        cluster = documents(path.name)[0]["metadata"]["name"]
        pod = thing["spec"]["template"]["spec"]
        assert {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"]} <= claims
        mounted = [mount["mountPath"] for mount in container(thing["spec"])["volumeMounts"]]
        assert container(thing["spec"])["command"][-1] in mounted
        address = container(thing["spec"])["command"][2]
        service = {"dask": "scheduler:8786", "ray": "head-svc:10001"}[path.stem]
        assert address == f"{path.stem}://{cluster}-{service}"
        assert f"{cluster}-train" == thing["metadata"]["name"]


def trained(command: list[str], folder: Path, **env: str) -> list[str]:
    """Run the command of the job, and return what it printed."""
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / command[1]), *command[2:], *SMALL], cwd=folder,
        capture_output=True, text=True, env=ENVIRONMENT | env, timeout=200,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout.split("\n")


def alone() -> str:
    """Return the digest of the same training in this process."""
    run = subprocess.run(
        [sys.executable, "-c", ALONE, str(EXAMPLES), *SMALL], capture_output=True, text=True,
        env=ENVIRONMENT, check=True,
    )  # fmt: skip
    return run.stdout.split("\n")[1]


ALONE = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import train
from chainrule import distributed
fit = distributed.fit
distributed.fit = lambda net, data, on, workers, **how: fit(net, data, **how)
sys.argv.insert(1, "nowhere")
train.main()
"""


@pytest.mark.needs("dask")
def test_the_commands_of_the_dask_cluster(tmp_path: Path) -> None:
    cluster, job = documents("dask.yaml")

    class Manifest(LiveDask):
        def lead(self, within: Any = ()) -> Any:
            words = container(cluster["spec"]["scheduler"])["args"]
            words = [w.replace("8786", str(self.port)).replace(":8787", ":0") for w in words]
            command = self.command(words)
            command.says("Scheduler at:")
            return command

        def work(self, within: Any = (), host: Any = None) -> Any:
            about = container(cluster["spec"]["worker"])
            words = [w.replace("$(DASK_WORKER_NAME)", f"w{len(self.nodes)}") for w in about["args"]]
            env = {each["name"]: each["value"] for each in about["env"]}
            address = f"tcp://{self.host}:{self.port}"  # the operator sets it
            command = self.command(words, env=env | {"DASK_SCHEDULER_ADDRESS": address},
                                   cwd=self.folder)  # fmt: skip
            self.nodes.append(command)
            command.says("Registered to:")
            return command

    there = Manifest()
    try:
        there.work()
        there.work()
        about = container(job["spec"])
        command = [w.replace("chainrule-scheduler:8786", f"{there.host}:{there.port}")
                   for w in about["command"][:-1]]  # fmt: skip
        said = trained([*command, str(tmp_path / "run")], tmp_path, CHAINRULE_ISA="avx2")
        assert said[1] == alone()
        assert len(list((tmp_path / "run").glob("epoch-*"))) == 2
    finally:
        there.stop()


@pytest.mark.needs("ray-client")
def test_the_commands_of_the_ray_cluster(tmp_path: Path) -> None:
    """KubeRay turns rayStartParams into options of `ray start`."""
    cluster, job = documents("ray.yaml")

    class Manifest(LiveRay):
        def _start(self, host: str, cpus: int) -> list[str]:
            spec = cluster["spec"]
            group = spec["workerGroupSpecs"][0] if cpus else spec["headGroupSpec"]
            params = [f"--{name}={value}" for name, value in group["rayStartParams"].items()]
            words = super()._start(host, cpus)
            at = words.index("--num-cpus")
            return [*words[:at], *params, *words[at + 2 :]]

    there = Manifest()
    try:
        there.work()
        there.work()
        about = container(job["spec"])
        env = {each["name"]: each["value"] for each in about["env"] if "value" in each}
        env["RAY_AUTH_TOKEN"] = Path(there.env["RAY_AUTH_TOKEN_PATH"]).read_text()
        command = [w.replace("chainrule-head-svc:10001", f"{there.host}:{there.port}")
                   for w in about["command"][:-1]]  # fmt: skip
        said = trained([*command, str(tmp_path / "run")], tmp_path, **env)
        assert said[1] == alone()
    finally:
        there.stop()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_scripts_for_slurm(engine: str, tmp_path: Path) -> None:
    """With commands of Slurm that take this machine for two nodes."""
    import psutil

    programs, script = tmp_path / "bin", EXAMPLES / f"{engine}.sbatch"
    folder = Path(tempfile.mkdtemp(prefix="crs-", dir="/tmp"))  # Ray has sockets there
    programs.mkdir()
    ray = shutil.which("ray", path=PROGRAMS)
    start = RAY.format(ray=ray, python=sys.executable, folder=folder)
    for name, text in {"srun": SRUN, "scontrol": SCONTROL, "ray": start}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    env = {
        "PATH": f"{programs}{os.pathsep}{PROGRAMS}", "PORT": str(free_port()),
        "TMPDIR": str(folder),
        "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NNODES": "2", "SLURM_CPUS_PER_TASK": "1",
        "SLURM_JOB_ID": "17",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    try:
        for name in ("train.py", script.name):
            shutil.copy(EXAMPLES / name, tmp_path)
        copy = tmp_path / script.name
        text = copy.read_text().replace("--checkpoint", f"{' '.join(SMALL)} --checkpoint")
        copy.write_text(text)
        run = subprocess.run(
            ["bash", copy], cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT | env,
            timeout=280,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert alone() in run.stdout.split("\n")
        assert len(list((tmp_path / "run-17").glob("epoch-*"))) == 2
        wait_for(lambda: not left_of(folder), "the end of all that the script started")
    finally:
        for process in left_of(folder):
            with contextlib.suppress(psutil.Error):
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def left_of(folder: Path) -> list[Any]:
    """Return the processes whose environment has the folder as theirs for temporary files."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("TMPDIR") == str(folder) and process.status() != "zombie":
                found.append(process)
    return found
