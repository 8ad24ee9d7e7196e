"""Writes the JPEGs of the image loading benches: `python image_loading_data.py FILES FOLDER`.

500 pixels on the longer side, three quarters of them across, of gradients, shapes with edges and noise at several scales, so that files are of the size of
photographs (60 to 100 kB at quality 90 with halved colours). The same files each time.
"""

import pathlib
import sys

import numpy as np
from PIL import Image

SHAPES = [(375, 500), (333, 500), (500, 375), (400, 500)]


def picture(index: int) -> Image.Image:
    rng = np.random.default_rng([11, index])
    height, width = SHAPES[index % len(SHAPES)]
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.empty((height, width, 3))
    for channel in range(3):
        a, b, c = rng.normal(size=3)
        pixels[..., channel] = 120 + 70 * np.sin(a * x / 80 + b * y / 60 + 3 * c)
    # Shapes with edges.
    for _ in range(12):
        cy, cx, radius = rng.integers(0, height), rng.integers(0, width), rng.integers(10, 120)
        inside = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        pixels[inside] = 0.4 * pixels[inside] + 0.6 * rng.integers(0, 256, 3)
    # Noise of halving strength at halving scales, mostly grey.
    for step, strength in [(16, 16), (8, 10), (4, 8), (2, 6), (1, 4)]:
        coarse = rng.normal(size=(height // step + 2, width // step + 2, 1)) + 0.3 * rng.normal(size=(height // step + 2, width // step + 2, 3))
        pixels += strength * np.kron(coarse, np.ones((step, step, 1)))[:height, :width]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def main() -> None:
    n_files, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(n_files):
        picture(index).save(folder / f"{index:05}.jpg", quality=90)


if __name__ == "__main__":
    main()
