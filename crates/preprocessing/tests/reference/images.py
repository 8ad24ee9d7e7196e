"""What Pillow makes of small images, for tests/images.rs. Writes tests/fixtures/images.json: files in base64, and their pixels channel by channel."""

import base64
import io
import json
import pathlib

import numpy as np
from PIL import Image, ImageOps

random = np.random.default_rng(5)
cases = []


def picture(height, width):
    """Smooth colours with an edge, so that turns, shapes and channels can be told apart."""
    y, x = np.mgrid[0:height, 0:width]
    red = 255 * x / max(width - 1, 1)
    green = 255 * y / max(height - 1, 1)
    blue = np.where(x + y < (height + width) / 3, 230, 20) + random.integers(0, 20, (height, width))
    return Image.fromarray(np.stack([red, green, blue], axis=2).clip(0, 255).astype(np.uint8))


def file(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def case(name, content, step, most=0):
    """`most`: how far a pixel may be off, where two decoders of a lossy format, or two roundings, differ."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    image = image.convert("RGB" if step.get("mode") == "rgb" else "L")
    if "size" in step:
        height, width = step["size"]
        fit = step.get("fit", "stretch")
        if fit == "stretch":
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        elif fit == "crop":
            image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
        else:
            image = ImageOps.pad(image, (width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    cases.append({"name": name, "file": base64.b64encode(content).decode(), "step": step, "shape": pixels.shape, "most": most, "pixels": pixels.ravel().tolist()})


small = picture(6, 9)
for kind, options, most in [
    ("PNG", {}, 0), ("BMP", {}, 0), ("TIFF", {}, 0), ("TIFF", {"compression": "tiff_lzw"}, 0), ("WEBP", {"lossless": True}, 0), ("JPEG", {"quality": 95}, 4),
]:
    for mode in ["grey", "rgb"]:
        case(f"{kind} {options} {mode}", file(small, kind, **options), {"mode": mode}, most)
case("grey PNG", file(small.convert("L"), "PNG"), {})
case("grey PNG in colour", file(small.convert("L"), "PNG"), {"mode": "rgb"})
case("PNG of a palette", file(small.quantize(16), "PNG"), {"mode": "rgb"})
case("transparent PNG", file(Image.merge("RGBA", [*small.split(), small.split()[0]]), "PNG"), {"mode": "rgb"})
case("PNG of one bit", file(small.convert("1"), "PNG"), {})
frames = [picture(5, 4).quantize(8), picture(5, 4).quantize(8).transpose(Image.Transpose.ROTATE_180)]
case("GIF's first frame", file(frames[0], "GIF", save_all=True, append_images=frames[1:]), {"mode": "rgb"})
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    case(f"JPEG turned {orientation}", file(picture(16, 24), "JPEG", quality=100, subsampling=0, exif=exif), {"mode": "rgb"}, 4)
for fit in ["stretch", "crop", "pad"]:
    for size in [[5, 5], [12, 31], [3, 8], [40, 10]]:
        for mode in ["grey", "rgb"]:
            case(f"{fit} to {size} {mode}", file(picture(20, 30), "PNG"), {"size": size, "fit": fit, "mode": mode}, 1)

target = pathlib.Path(__file__).parents[1] / "fixtures" / "images.json"
target.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n", encoding="utf-8")
