"""Reads a folder of JPEGs with torchvision and PyTorch's DataLoader as for training - RandomResizedCrop(224), flips, ToTensor, Normalize - and prints the images per
second of each epoch as JSON, as crates/images/examples/image_loading.rs does.

Run: image_loading.py FOLDER [WORKERS] [EPOCHS] [jitter]; two workers unless said otherwise. `image_loading_data.py` makes the folder.
"""

import json
import pathlib
import sys
import time

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

FOLDER = pathlib.Path(sys.argv[1])
WORKERS = int(sys.argv[2]) if len(sys.argv) > 2 else 2
EPOCHS = int(sys.argv[3]) if len(sys.argv) > 3 else 3
BATCH = 64


class Pictures(Dataset):
    def __init__(self):
        self.paths = sorted(FOLDER.iterdir())
        jitter = [transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)] if "jitter" in sys.argv else []
        self.transform = transforms.Compose([
            transforms.RandomResizedCrop(224),
            transforms.RandomHorizontalFlip(),
            *jitter,
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ])

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, row):
        # As torchvision's ImageFolder loads them.
        with open(self.paths[row], "rb") as file:
            return self.transform(Image.open(file).convert("RGB"))


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    pictures = Pictures()
    # Workers stay from one epoch to the next, so that only the first pays for starting them.
    loader = DataLoader(pictures, batch_size=BATCH, num_workers=WORKERS, persistent_workers=WORKERS > 0)
    for _ in range(EPOCHS):
        start = time.perf_counter()
        for batch in loader:
            batch[0, 0, 0, 0].item()
        print(json.dumps({"images_per_second": round(len(pictures) / (time.perf_counter() - start), 1)}), flush=True)


if __name__ == "__main__":
    main()
