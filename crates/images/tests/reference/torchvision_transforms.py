"""What torchvision and Pillow make of small images, for tests/torchvision.rs and tests/decode.rs. Writes tests/fixtures/torchvision.json and tests/fixtures/decode.json: files,
8-bit pixels [height, width, channels] and 32-bit numbers [channels, height, width], all in base64."""

import base64
import io
import json
import pathlib

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode, RandAugment
from torchvision.transforms import functional as F
from torchvision.transforms.autoaugment import _apply_op

random = np.random.default_rng(5)
FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"


def picture(height, width):
    """Smooth colours with an edge, so that turns, shapes and channels can be told apart."""
    y, x = np.mgrid[0:height, 0:width]
    red = 255 * x / max(width - 1, 1)
    green = 255 * y / max(height - 1, 1)
    blue = np.where(x + y < (height + width) / 3, 230, 20) + random.integers(0, 20, (height, width))
    return Image.fromarray(np.stack([red, green, blue], axis=2).clip(0, 255).astype(np.uint8))


def text(content):
    return base64.b64encode(content).decode()


def pixels(image):
    array = np.asarray(image)
    array = array[..., None] if array.ndim == 2 else array
    return {"shape": array.shape, "pixels": text(np.ascontiguousarray(array).tobytes())}


def write(name, lines, **others):
    rows = ",\n".join(json.dumps(line, separators=(",", ":")) for line in lines)
    others = "".join(f'"{key}":{json.dumps(value, separators=(",", ":"))},\n' for key, value in others.items())
    (FIXTURES / name).write_text("{" + others + '"cases":[\n' + rows + "\n]}\n", encoding="utf-8")


# Transforms on fixed parameters.

rgb = picture(17, 22)
sources = {"rgb": rgb, "grey": rgb.convert("L"), "pixel": picture(1, 1), "noise": Image.fromarray(random.integers(0, 256, (30, 30, 3), dtype=np.uint8))}
cases = []


def case(source, operation, parameters, image, most=0):
    """`most`: how far a pixel may be off, where two roundings differ."""
    cases.append({"source": source, "operation": operation, "parameters": parameters, "most": most, **pixels(image)})


for source in ["rgb", "grey"]:
    image = sources[source]
    for factor in [0.0, 0.3, 0.99, 1.0, 1.7, 3.0]:
        case(source, "brightness", factor, F.adjust_brightness(image, factor))
        case(source, "contrast", factor, F.adjust_contrast(image, factor))
        case(source, "saturation", factor, F.adjust_saturation(image, factor))
        case(source, "sharpness", factor, F.adjust_sharpness(image, factor))
    for turn in [-0.5, -0.13, 0.0, 0.1, 0.25, 0.5]:
        case(source, "hue", turn, F.adjust_hue(image, turn))
    for bits in [1, 4, 7, 8]:
        case(source, "posterize", bits, F.posterize(image, bits))
    for threshold in [0.0, 100.5, 178.5, 255.0]:
        case(source, "solarize", threshold, F.solarize(image, threshold))
    case(source, "auto_contrast", None, F.autocontrast(image))
    case(source, "equalize", None, F.equalize(image))
    case(source, "grayscale", None, F.to_grayscale(image, len(image.getbands())))
    case(source, "horizontal_flip", None, F.hflip(image))
    case(source, "vertical_flip", None, F.vflip(image))
    for box, size in [
        ([0, 0, 17, 22], [10, 10]), ([3, 5, 8, 13], [16, 16]), ([3, 5, 13, 8], [8, 9]), ([14, 0, 3, 22], [5, 30]), ([16, 21, 1, 1], [3, 3]), ([2, 2, 9, 9], [9, 9]),
    ]:
        case(source, "resized_crop", [*box, *size], F.resized_crop(image, *box, size, InterpolationMode.BILINEAR), 1)
    for mode, name in [("constant", "black"), ("edge", "edge"), ("reflect", "reflect")]:
        for [top, left, height, width] in [[-4, -3, 12, 12], [5, 15, 17, 15], [-6, -7, 30, 37], [1, 2, 5, 6]]:
            padded = F.pad(image, [10, 10, 10, 10], 0, mode)
            case(source, "crop", [top, left, height, width, name], F.crop(padded, top + 10, left + 10, height, width))
    bilinear = {"interpolation": InterpolationMode.BILINEAR}
    for degrees in [0, 10, -37.5, 90, 180, 270, 123.4]:
        case(source, "rotate", degrees, F.rotate(image, degrees, **bilinear), 1)
    for angle, translate, scale, shear in [
        (0, [0, 0], 1.0, [0, 0]), (25, [0, 0], 1.0, [0, 0]), (-12.5, [3, -4], 0.8, [10, 0]), (0, [5, 2], 1.0, [0, 0]), (0, [0, 0], 1.6, [0, 0]), (200, [-2, 1], 1.3, [-20, 15]),
    ]:
        case(source, "affine", [angle, *translate, scale, *shear], F.affine(image, angle, translate, scale, shear, **bilinear), 1)
    for magnitude in [9, 30]:
        space = RandAugment()._augmentation_space(31, image.size[::-1])
        for number, (name, (magnitudes, signed)) in enumerate(space.items()):
            for turned in [False, True][: 2 if signed else 1]:
                strength = float(magnitudes[magnitude].item()) if magnitudes.ndim > 0 else 0.0
                strength = -strength if turned else strength
                changed = _apply_op(image, name, strength, InterpolationMode.BILINEAR, None)
                case(source, "rand_augment", [number, magnitude, turned], changed, 1 if number in [1, 2, 3, 4, 5] else 0)
for turn in [-0.3, 0.0, 0.2]:
    case("noise", "hue", turn, F.adjust_hue(sources["noise"], turn))
for [height, width] in [[1, 1], [3, 2]]:
    case("pixel", "resized_crop", [0, 0, 1, 1, height, width], F.resized_crop(sources["pixel"], 0, 0, 1, 1, [height, width], InterpolationMode.BILINEAR))
for operation, function in [("auto_contrast", F.autocontrast), ("equalize", F.equalize)]:
    case("pixel", operation, None, function(sources["pixel"]))
case("pixel", "sharpness", 2.0, F.adjust_sharpness(sources["pixel"], 2.0))
case("pixel", "rotate", 30, F.rotate(sources["pixel"], 30, **bilinear))

# What a network sees at prediction.

inputs = []
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
for source, declared, (mean, std) in [
    ("rgb", {"size": [17, 22]}, IMAGENET),
    ("grey", {"size": [17, 22], "mode": "grey"}, ([0.5], [0.5])),
    ("rgb", {"size": [17, 22], "mean": 0.25, "std": [0.5, 1.0, 2.0]}, ([0.25] * 3, [0.5, 1.0, 2.0])),
    ("rgb", {"size": [12, 10]}, IMAGENET),
    ("rgb", {"size": [12, 10], "fit": "crop"}, IMAGENET),
    ("rgb", {"size": [12, 10], "fit": "pad"}, IMAGENET),
    ("grey", {"size": [40, 37], "fit": "pad", "mode": "grey"}, ([0.5], [0.5])),
    ("rgb", {"size": [64, 64], "fit": "crop"}, IMAGENET),
]:
    image, [height, width] = sources[source], declared["size"]
    resize = {"stretch": Image.Image.resize, "crop": ImageOps.fit, "pad": ImageOps.pad}[declared.get("fit", "stretch")]
    seen = resize(image, (width, height), Image.Resampling.BILINEAR) if image.size != (width, height) else image
    numbers = F.normalize(F.to_tensor(seen), mean, std)
    assert numbers.dtype == torch.float32
    # A grey level, where it was resized.
    most = 1e-6 if seen is image else 1.001 / 255 / min(std)
    inputs.append({"source": source, "input": declared, "most": most, "numbers": text(numbers.numpy().tobytes())})

write("torchvision.json", cases, sources={name: pixels(image) for name, image in sources.items()}, inputs=inputs)

# Files.

cases = []


def file(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def files(name, content, most=0, modes=("RGB", "L"), image=None):
    for mode in modes:
        decoded = image or ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert(mode)
        cases.append({"name": name, "file": text(content), "mode": "rgb" if mode == "RGB" else "grey", "most": most, **pixels(decoded)})


def deep(image):
    """16 bits, of which the upper 8 are the image's."""
    return np.asarray(image).astype(np.uint16) * 257


small = picture(6, 9)
grey = small.convert("L")
for kind, options in [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "tiff_deflate"}), ("WEBP", {"lossless": True})]:
    files(f"{kind} {options}", file(small, kind, **options))
for quality, options in [(95, {}), (75, {"progressive": True}), (90, {"subsampling": 0}), (90, {"optimize": True})]:
    files(f"JPEG {quality} {options}", file(picture(17, 23), "JPEG", quality=quality, **options), 4)
files("WebP with losses", file(picture(16, 16), "WEBP", quality=90), 4)
files("grey JPEG", file(grey, "JPEG", quality=95), 2)
files("grey PNG", file(grey, "PNG"))
files("grey PNG with alpha", file(Image.merge("LA", [grey, grey.rotate(180)]), "PNG"))
files("PNG with alpha", file(Image.merge("RGBA", [*small.split(), small.split()[0]]), "PNG"))
files("WebP with alpha", file(Image.merge("RGBA", [*small.split(), Image.new("L", small.size, 200)]), "WEBP", lossless=True))
# Pillow's luma of a palette is cut off, not rounded.
files("PNG of a palette", file(small.quantize(16), "PNG"), 0, ["RGB"])
files("PNG of a palette in grey", file(small.quantize(16), "PNG"), 1, ["L"])
files("PNG of a palette with a transparent colour", file(small.quantize(16), "PNG", transparency=3), 0, ["RGB"])
files("PNG of one bit", file(small.convert("1"), "PNG"))
files("TIFF of one bit", file(small.convert("1"), "TIFF"))
files("PNG of one pixel", file(picture(1, 1), "PNG"))
files("CMYK JPEG", file(small.convert("CMYK"), "JPEG", quality=95), 4)
files("CMYK TIFF", file(small.convert("CMYK"), "TIFF"), 1)
# Pillow cuts grey of 16 bits off at 255; ours are its upper bits, as Pillow does in colour.
files("grey PNG of 16 bits", file(Image.fromarray(deep(grey)), "PNG"), 0, ["L"], grey)
files("grey TIFF of 16 bits", file(Image.fromarray(deep(grey)), "TIFF"), 0, ["L"], grey)
frames = [picture(5, 4).quantize(8), picture(5, 4).quantize(8).transpose(Image.Transpose.ROTATE_180)]
files("animated GIF", file(frames[0], "GIF", save_all=True, append_images=frames[1:]), 0, ["RGB"])
frames = [picture(16, 16), picture(16, 16).transpose(Image.Transpose.ROTATE_180)]
files("animated WebP", file(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True), 0, ["RGB"])
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    files(f"JPEG turned {orientation}", file(picture(16, 24), "JPEG", quality=100, subsampling=0, exif=exif), 4, ["RGB"])
files("PNG turned", file(picture(5, 7), "PNG", exif=exif), 0, ["RGB"])
write("decode.json", cases)
