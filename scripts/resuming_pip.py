"""Runs pip from its wheel so that an interrupted download goes on in a later call: `resuming_pip.py WHEEL ARGUMENTS`.

pip itself resumes a download whose connection broke, but forgets it when pip ends. Here a wheel is downloaded to
`NAME.whl.part` in the folder given by `--dest`, and one that is found there is gone on with, by pip's own code. This
relies on pip's insides, so the caller pins pip's version.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from pip._internal.cli.main import main  # noqa: E402
from pip._internal.exceptions import HashMismatch  # noqa: E402
from pip._internal.network import download as network  # noqa: E402
from pip._internal.utils.hashes import Hashes  # noqa: E402

ARGUMENTS = sys.argv[2:]
FOLDER = Path(ARGUMENTS[ARGUMENTS.index("--dest") + 1])
TERMINAL = sys.stdout.isatty()

whole_download = network.Downloader.__call__
check_digest = Hashes.check_against_path


class Download(network._FileDownload):
    """Shows how far it is: a bar on a terminal, a line every few seconds elsewhere."""

    shown = 0.0

    def write_chunk(self, data):
        super().write_chunk(data)
        done = self.bytes_received == self.size
        if self.size and (done or time.monotonic() - self.shown > (0.1 if TERMINAL else 5)):
            self.shown = time.monotonic()
            share = self.bytes_received / self.size
            text = f"  {self.bytes_received / 1e6:6.1f} of {self.size / 1e6:.1f} MB"
            bar = f"\r  [{'#' * int(30 * share):30}]{text}" if TERMINAL else text
            print(bar, end="" if TERMINAL and not done else "\n", flush=True)


def resuming_download(downloader, link, location):
    if not link.filename.endswith(".whl"):
        return whole_download(downloader, link, location)
    response = downloader._http_get(link)
    size = network._get_http_response_size(response)
    path = FOLDER / f"{link.filename}.part"
    with open(path, "ab") as file:
        download = Download(link, file, size, bytes_received=file.tell())
        if size is None or download.bytes_received > size:
            download.reset_file()
        print(f"Downloading {link.filename}", flush=True)
        if not download.bytes_received:
            downloader._process_response(download, response)
        response.close()
        if download.is_incomplete():
            downloader._attempt_resumes_or_redownloads(download, response)
    return str(path), response.headers.get("Content-Type", "")


def check_or_drop(hashes, path):
    try:
        check_digest(hashes, path)
    except HashMismatch:
        if path.endswith(".part"):  # damaged bytes are nothing to go on from
            Path(path).unlink()
        raise


network.Downloader.__call__ = resuming_download
Hashes.check_against_path = check_or_drop
code = main(ARGUMENTS)
for part in FOLDER.glob("*.whl.part"):
    if part.with_suffix("").exists():
        part.unlink()
sys.exit(code)
