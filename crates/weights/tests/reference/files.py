"""Files by PyTorch for tests/torch.rs and tests/hostile.rs: tests/fixtures/*, and in tests/fixtures/expected.json the values that PyTorch has of their tensors.

Run it with PyTorch 2.13. Every file is a few kB. Those of the kind before 1.6 name storages by their addresses, so that they differ from run to run. What PyTorch
does not write on this machine - another order of bytes, compressed records, text of Python 2 - is made from what it wrote.
"""

import argparse
import collections
import json
import os
import pathlib
import warnings
import zipfile

import numpy as np
import torch
from torch import nn

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
torch.manual_seed(5)
FIXTURES = pathlib.Path(__file__).parent.parent / "fixtures"
FIXTURES.mkdir(exist_ok=True)
expected = {}


def values(tensor):
    """Kind, shape and little-endian bytes of the contiguous tensor."""
    tensor = tensor.detach().contiguous()
    dtype = str(tensor.dtype).removeprefix("torch.")
    return [dtype, list(tensor.shape), tensor.reshape(-1).view(torch.uint8).numpy().tobytes().hex()]


def save(name, value, tensors=None, **options):
    """Saves a value; its tensors are those expected, or else those that are given."""
    torch.save(value, FIXTURES / name, **options)
    expect(name, value if tensors is None else tensors)


def expect(name, tensors):
    expected[name] = [[key, *values(tensor)] for key, tensor in tensors.items()]


def repacked(name, source, change, compression=zipfile.ZIP_STORED):
    """The zip archive `source` with `change(name, bytes)` in place of its records; a record of None is left out."""
    with zipfile.ZipFile(FIXTURES / source) as old, zipfile.ZipFile(FIXTURES / name, "w", compression) as new:
        for record in old.namelist():
            changed = change(record, old.read(record))
            if changed is not None:
                new.writestr(zipfile.ZipInfo(record, (2020, 1, 1, 0, 0, 0)), changed, compress_type=compression)


# A module's state dict: an OrderedDict with the attribute _metadata, parameters and buffers, one of them a single whole number.
network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
network(torch.randn(8, 3))
state = network.state_dict()
save("module.pt", state)
save("module-legacy.pt", state, _use_new_zipfile_serialization=False)
save("module-protocol-4.pt", state, pickle_protocol=4)
save("module-protocol-5-legacy.pt", state, pickle_protocol=5, _use_new_zipfile_serialization=False)
save("plain-dict.pt", dict(state))

# Every kind, an empty tensor and single numbers.
numbers = torch.tensor([[0, 1, -2], [3, 100, -7]])
kinds = {str(dtype).removeprefix("torch."): numbers.abs().to(dtype) if dtype == torch.uint8 else numbers.to(dtype)
         for dtype in [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]}
kinds |= {"empty": torch.empty(0, 3), "single": torch.tensor(0.5), "not_finite": torch.tensor([1.0, float("nan"), float("inf")])}
save("kinds.pt", kinds)
save("kinds-legacy.pt", kinds, _use_new_zipfile_serialization=False)

# Views of storages that others share.
base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
image = torch.arange(24, dtype=torch.float16).reshape(1, 2, 3, 4)
views = {
    "base": base,
    "transposed": base.t(),
    "row": base[2],
    "column": base[:, 1],
    "every_other": base[::2, 1::2],
    "expanded": torch.tensor([[1.0], [2.0]]).expand(2, 3),
    "channels_last": image.to(memory_format=torch.channels_last),
    "permuted": image.permute(3, 0, 2, 1),
    "tied": base,
}
save("views.pt", views)
save("views-legacy.pt", views, _use_new_zipfile_serialization=False)

# As Python 2 and PyTorch 0.1 wrote: an OrderedDict made of pairs, text of bytes, a storage that is a part of another.
PAIR = (b"](U\x06weightctorch._utils\n_rebuild_tensor\n((U\x07storagectorch\nFloatStorage\nU\x01aU\x03cpuK\x06(U\x01bK\x02K\x04ttQ"
        b"K\x01K\x03\x85K\x01\x85tRe")
head = (FIXTURES / "module-legacy.pt").read_bytes().split(b"ccollections")[0].removesuffix(b"\x80\x02")
storage = (6).to_bytes(8, "little") + np.arange(6, dtype="<f4").tobytes()
(FIXTURES / "python-2.pt").write_bytes(head + b"\x80\x02ccollections\nOrderedDict\n]" + PAIR + b"a\x85R.\x80\x02]U\x01aa." + storage)
expect("python-2.pt", torch.load(FIXTURES / "python-2.pt", weights_only=False))

# Parameters, with attributes and without, and a tensor with attributes.
annotated, tagged = nn.Parameter(torch.tensor([4.0, 5.0])), torch.tensor([6.0])
annotated.rule, tagged.rule = "decay", "none"
parameters = {"weight": nn.Parameter(base[:2]), "annotated": annotated, "tagged": tagged, "frozen": nn.Parameter(base[0], requires_grad=False)}
save("parameters.pt", parameters)

# Checkpoints of training programs.
optimizer = torch.optim.Adam(network.parameters())
network(torch.randn(8, 3)).sum().backward()
optimizer.step()
state = collections.OrderedDict((name, tensor.clone()) for name, tensor in network.state_dict().items())
small = {"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])}
save("lightning.ckpt", {
    "epoch": 3,
    "global_step": 1200,
    "pytorch-lightning_version": "2.4.0",
    "state_dict": {f"model.{name}": tensor for name, tensor in small.items()},
    "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 4}}}},
    "callbacks": {"ModelCheckpoint{'monitor': 'val_loss'}": {"best_model_score": torch.tensor(0.25), "kth_value": torch.tensor(0.25)}},
    "optimizer_states": [optimizer.state_dict()],
    "lr_schedulers": [],
    "hparams_name": "kwargs",
    "hyper_parameters": {"learning_rate": 0.1, "layers": [4, 2], "betas": (0.9, 0.999), "amsgrad": False, "seed": 2**70},
}, {f"model.{name}": tensor for name, tensor in small.items()})
save("timm.pt", {"model": small, "args": argparse.Namespace(lr=0.1, model="vit"), "best": np.float64(0.5), "history": np.arange(3.0),
                 "scaler": None, "device": torch.device("cpu"), "size": torch.Size([2, 3]), "kind": torch.float16, "tags": {"a", "b"}}, small)
save("python-dict-beside-tensors.pt", small | {"epoch": 3, "note": "text", "raw": b"\xff\x00", 7: torch.zeros(1)}, small)
save("deep.pt", {"run.1": {"model": small}, "step": 3}, {})
save("several.pt", {"state_dict": small, "ema": {name: tensor + 1 for name, tensor in small.items()}, "epoch": 1}, {})
save("nothing.pt", {"epoch": 3, "loss": 0.5}, {})
save("list.pt", [torch.zeros(1)], {})
save("single-tensor.pt", torch.zeros(2), {})
save("unusual.pt", {"detector": small, "step": 3}, {})

# What is not read.
save("module-object.pt", nn.Linear(2, 1), {})
save("complex.pt", {"bias": small["bias"], "weight": torch.zeros(2, dtype=torch.complex64)}, {})
save("sparse.pt", {"weight": torch.eye(2).to_sparse()}, {})
save("quantised.pt", {"weight": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, {})
save("uint16.pt", {"weight": torch.ones(2, dtype=torch.uint16)}, {})
save("negated.pt", {"weight": torch.ones(2, dtype=torch.complex64).conj().imag}, {})
torch.jit.save(torch.jit.script(nn.Linear(2, 1)), FIXTURES / "torchscript.pt")


class Evil:
    def __reduce__(self):
        return os.system, ("touch retune-was-here",)


torch.save({"weight": torch.zeros(1), "evil": Evil()}, FIXTURES / "evil.pt")
torch.save({"weight": torch.zeros(1), "evil": Evil()}, FIXTURES / "evil-legacy.pt", _use_new_zipfile_serialization=False)

# Another order of bytes, without the record that says it, compressed, and without checksums.
WIDTH = dict(float64=8, int64=8, float32=4, int32=4, float16=2, bfloat16=2, int16=2)
widths = [WIDTH.get(str(tensor.dtype).removeprefix("torch."), 1) for tensor in kinds.values()]


def swapped(record, content):
    if record.endswith("/byteorder"):
        return b"big"
    folder, _, place = record.rpartition("/")
    if folder.endswith("/data"):
        width = widths[int(place)]
        return b"".join(content[i:i + width][::-1] for i in range(0, len(content), width))
    return content


repacked("kinds-big-endian.pt", "kinds.pt", swapped)
expect("kinds-big-endian.pt", kinds)
repacked("no-byteorder.pt", "module.pt", lambda record, content: None if record.endswith("/byteorder") else content)
expected["no-byteorder.pt"] = expected["module.pt"]
repacked("deflated.pt", "module.pt", lambda _, content: content, zipfile.ZIP_DEFLATED)
torch.serialization.set_crc32_options(False)
save("no-checksums.pt", small)
torch.serialization.set_crc32_options(True)

with open(FIXTURES / "array.npz", "wb") as file:
    np.savez(file, weight=np.zeros(2))

(FIXTURES / "expected.json").write_text(
    "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(tensors)}" for name, tensors in sorted(expected.items())) + "\n}\n"
)
print(f"torch {torch.__version__}: {len(expected)} files")
