#!/usr/bin/env python3
"""Fetches libtorch and LightGBM into the cache folder: `fetch.py [cpu | cuda]`.

Both come from the wheels of `torch` and `lightgbm`; only their headers and shared libraries are kept. pip does the
downloading, with its own configuration (index, proxy, certificates), and checks each wheel against the digest below.
What an interrupted run downloaded is kept, and the next run goes on from there. A folder in the cache is complete
as soon as it has its name, so a second run finds it and ends at once.

LIBTORCH and RETUNE_LIGHTGBM, where set, say that the user has these libraries; then they are not fetched.
"""

import os
import sys
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retune"
DOWNLOADS = CACHE / "downloads"
TORCH = {kind: CACHE / f"libtorch-2.13.0-{kind}" for kind in ("cpu", "cuda")}
# The wheel finds its CUDA libraries in ../../nvidia, so with CUDA libtorch lies one folder deeper.
LIBTORCH = {"cpu": TORCH["cpu"], "cuda": TORCH["cuda"] / "torch"}
LIGHTGBM = CACHE / "lightgbm-4.7.0"

# Project and version -> SHA-256 of its wheel for x86-64 Linux.
PIP_WHEEL = {"pip==26.0.1": "bdb1b08f4274833d62c1aa29e20907365a2ceb950410df15fc9521bad440122b"}
TORCH_WHEEL = {"torch==2.13.0": "60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7"}
LIGHTGBM_WHEEL = {"lightgbm==4.7.0": "d23e922acd891e77212e4d0fbcee9ba973c96dee479491341d05ba595357ebb7"}
# libtorch_cpu.so is linked to these two even where there is no GPU.
CUDA_STUBS = {
    "nvidia-cuda-cupti==13.0.85": "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
    "nvidia-cuda-runtime==13.0.96": "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
}
CUDA_WHEELS = {
    **CUDA_STUBS,
    "nvidia-cublas==13.1.1.3": "37936a16db8fe4ac1f065c2139360608a543a09275cb1a1af612e08cfa065436",
    "nvidia-cuda-nvrtc==13.0.88": "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
    "nvidia-cudnn-cu13==9.20.0.48": "0c45dd8eeb50b603f07995b1b300c62ffe6a1980482b82b3bcf94a4ca9d49304",
    "nvidia-cufft==12.0.0.61": "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3",
    "nvidia-cufile==1.15.1.6": "08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44",
    "nvidia-curand==10.4.0.35": "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc",
    "nvidia-cusolver==12.0.4.66": "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112",
    "nvidia-cusparse==12.6.3.3": "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b",
    "nvidia-cusparselt-cu13==0.8.1": "786ce87568c303fadb5afcc7102d454cd3040d75f6f8626f5db460d1871f4dd0",
    "nvidia-nccl-cu13==2.29.7": "edd81538446786ec3b73972543e53bb43bcaf0bfc8ef76cb679fcc390ffe136d",
    "nvidia-nvjitlink==13.5.37": "280d7cb9649704145f074b8dbde500de04ce02d0872e066e20a83c17bcaa93eb",
    "nvidia-nvshmem-cu13==3.4.5": "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80",
    "nvidia-nvtx==13.0.85": "4936d1d6780fbe68db454f5e72a42ff64d1fd6397df9f363ae786930fd5c1cd4",
}


def main():
    kind = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    if kind not in LIBTORCH or len(sys.argv) > 2:
        fail(f"no libtorch for `{' '.join(sys.argv[1:])}`; say `cpu` or `cuda`")
    wanted = []
    # The justfile exports our own folders under these names too.
    if not given("LIBTORCH", LIBTORCH.values(), "lib/libtorch_cpu.so") and not TORCH[kind].is_dir():
        wanted.append(cpu_torch if kind == "cpu" else cuda_torch)
    if not given("RETUNE_LIGHTGBM", [LIGHTGBM], "lib/lib_lightgbm.so") and not LIGHTGBM.is_dir():
        wanted.append(lightgbm)
    if wanted:
        with_lock(lambda: fetch(wanted))


def given(variable, ours, proof):
    """Whether the user points to a library of their own."""
    value = os.environ.get(variable, "")
    if not value or Path(value) in ours:
        return False
    if not (Path(value) / proof).is_file():
        fail(f"{variable} is {value}, which has no {proof}; correct it, or unset it to have the library fetched")
    return True


def fetch(wanted):
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    for library in wanted:
        library()
    # Only what another kind's interrupted set-up left may stay.
    for rest in [*DOWNLOADS.glob("pip-*.whl"), DOWNLOADS / "requirements.txt"]:
        rest.unlink(missing_ok=True)
    if not any(DOWNLOADS.iterdir()):
        DOWNLOADS.rmdir()


def cpu_torch():
    def place(name):
        folder, _, file = name.rpartition("/")
        if name.startswith("torch/include/"):
            return name[len("torch/") :]
        if file in ("libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libcudart.so.13", "libcupti.so.13"):
            return f"lib/{file}"
        return None

    publish(TORCH["cpu"], {**TORCH_WHEEL, **CUDA_STUBS}, place, link_torch_stub)


def link_torch_stub(folder):
    """Links a libtorch.so for the CPU alone, because the wheel's own asks for all of CUDA."""
    import subprocess

    command = [os.environ.get("CC", "cc"), "-shared", "-o", "libtorch.so", "-Wl,--no-as-needed", "-L."]
    command += ["-ltorch_cpu", "-lc10", "-Wl,-rpath,$ORIGIN", "-Wl,--allow-shlib-undefined"]
    try:
        subprocess.run(command, cwd=folder / "lib", check=True)
    except FileNotFoundError:
        fail(f"there is no C compiler `{command[0]}`; run: apt install gcc")
    except subprocess.CalledProcessError:
        fail("the C compiler could not link libtorch.so (its message is above)")


def cuda_torch():
    def place(name):
        folder, _, file = name.rpartition("/")
        headers = name.startswith("torch/include/")
        python = file.startswith(("libtorch_python", "libshm"))
        library = folder.startswith(("torch/lib", "nvidia/")) and ".so" in file and not python
        return name if headers or library else None

    publish(TORCH["cuda"], {**TORCH_WHEEL, **CUDA_WHEELS}, place)


def lightgbm():
    def place(name):
        return "lib/lib_lightgbm.so" if name == "lightgbm/lib/lib_lightgbm.so" else None

    publish(LIGHTGBM, LIGHTGBM_WHEEL, place)


def publish(target, wheels, place, finish=lambda folder: None):
    """Fills `target` with the files of `wheels` for which `place` names one, all or nothing."""
    import platform
    import shutil
    import zipfile

    if target.is_dir():  # another set-up made it while this one waited for the lock
        return
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        fail(
            "only libraries for x86-64 Linux can be fetched; set LIBTORCH to a libtorch 2.13 "
            "and RETUNE_LIGHTGBM to a folder with lib/lib_lightgbm.so (4.7)"
        )
    paths = download(wheels)
    print(f"Unpacking {target.name}", flush=True)
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed: only one holds the lock
    for path in paths:
        with zipfile.ZipFile(path) as wheel:
            for member in wheel.namelist():
                inside = place(member)
                if inside is None or member.endswith("/"):
                    continue
                file = partial / inside
                file.parent.mkdir(parents=True, exist_ok=True)
                with wheel.open(member) as source, open(file, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
    finish(partial)
    os.sync()  # the name is the proof of what is inside, so the contents go first
    partial.rename(target)
    for path in paths:
        path.unlink()


def download(wheels):
    """Returns the paths of the wheels, in the order given, each fetched and checked against its digest."""
    import subprocess

    pip = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
    if pip.returncode != 0:
        fail("Python's pip is missing; run: apt install python3-pip")
    # The system's pip, of whatever version, fetches the one that the rest relies on.
    download_by([sys.executable, "-m", "pip"], PIP_WHEEL)
    (pip_wheel,) = wheel_paths(PIP_WHEEL)
    download_by([sys.executable, str(Path(__file__).with_name("resuming_pip.py")), str(pip_wheel)], wheels)
    return wheel_paths(wheels)


def download_by(pip, wheels):
    import subprocess

    requirements = DOWNLOADS / "requirements.txt"
    requirements.write_text("".join(f"{name} --hash=sha256:{digest}\n" for name, digest in wheels.items()))
    glibc = [f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)]
    tags = [*glibc, "manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
    command = [*pip, "download", "--no-deps", "--only-binary", ":all:", "--python-version", "3.11"]
    command += [word for tag in tags for word in ("--platform", tag)]
    command += ["--disable-pip-version-check", "--no-cache-dir", "--no-input", "--quiet", "--progress-bar", "off"]
    command += ["--require-hashes", "--requirement", str(requirements), "--dest", str(DOWNLOADS)]
    # pip gets the lock's descriptor as well: it goes on writing where only this script is killed.
    if subprocess.run(command, check=False, close_fds=False).returncode != 0:
        fail("could not download what is needed (pip's message is above); run the same command again to go on from here")


def wheel_paths(wheels):
    def path(requirement):
        name, version = requirement.split("==")
        return next(DOWNLOADS.glob(f"{name.replace('-', '_')}-{version}-*.whl"))

    return [path(requirement) for requirement in wheels]


def with_lock(work):
    """Runs `work` while no other set-up does; the system frees the lock of a process that dies."""
    import fcntl

    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "setup.lock", "w") as lock:
        os.set_inheritable(lock.fileno(), True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another set-up to finish", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        work()


def fail(message):
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nInterrupted; run the same command again to go on from here", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        fail(str(error))
