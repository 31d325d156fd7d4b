"""Image formats: which files are images, by their first bytes where the name does not say."""

from __future__ import annotations

import re
from collections.abc import Callable

EXTENSIONS = frozenset(
    {
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".dib", ".webp"),
        *(".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif"),
        *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".qoi", ".tga", ".pcx", ".sgi"),
    }
)
"""Names of images. What is called otherwise is looked at: its content decides."""
FORMATS = (
    *("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"),
    *("AVIF", "JPEG2000", "QOI", "PCX", "SGI", "PSD", "DDS"),
)
"""What is decoded; Pillow's other plug-ins (some start programs) are never reached."""
START = 512
"""Bytes of a file that are looked at."""

_TGA_END = b"TRUEVISION-XFILE.\0"
_OTHER = frozenset(
    {
        *(
            ".txt",
            ".md",
            ".rst",
            ".log",
            ".csv",
            ".tsv",
            ".json",
            ".jsonl",
            ".xml",
            ".yaml",
            ".yml",
        ),
        *(".toml", ".ini", ".cfg", ".html", ".htm", ".css", ".js", ".py", ".ipynb", ".cls", ".tex"),
        *(".pdf", ".doc", ".docx", ".xls", ".xlsx", ".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z"),
        *(".rar", ".npy", ".npz", ".mat", ".h5", ".hdf5", ".pkl", ".pt", ".pth", ".safetensors"),
        *(".onnx", ".mp4", ".avi", ".mov", ".mkv", ".webm", ".mp3", ".wav", ".flac", ".svg"),
        *(".tar", ".parquet"),
        # raw photographs and slides call themselves TIFF; Pillow would show their thumbnail
        *(".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".sr2", ".orf", ".rw2", ".raf", ".pef"),
        *(".srw", ".svs", ".ndpi", ".mrxs", ".scn"),
    }
)
"""Names of what is no image: such a file is not even opened."""
_MAGIC = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|II\*\0|MM\0\*|II\+\0|MM\0\+|RIFF....WEBP"
    rb"|BM.{12}(?:\x0c|\x28|\x34|\x38|\x40|\x6c|\x7c)\0\0\0|P[1-6][\s#]"
    rb"|....ftyp(?:avif|avis)|\0\0\0\x0cjP  \r\n|\xff\x4f\xff\x51|qoif|8BPS\0\x01|DDS"
    rb" |\x01\xda[\0\x01]"
    rb"|\x0a[\0\x02\x03\x05]\x01[\x01\x02\x04\x08]",
    re.S,
)


def is_image(start: bytes) -> bool:
    """Return whether a file that starts so is an image of a known format."""
    return _MAGIC.match(start) is not None


def is_tar(start: bytes) -> bool:
    """Return whether a file that starts so is an uncompressed tar archive."""
    return start[257:262] == b"ustar"


def is_parquet(start: bytes) -> bool:
    """Return whether a file that starts so is a Parquet file."""
    return start.startswith(b"PAR1")


RECOGNISE: dict[frozenset[str], Callable[[bytes], bool]] = {
    EXTENSIONS: is_image,
    frozenset({".tar"}): is_tar,
    frozenset({".parquet"}): is_parquet,
}
"""Extensions of one kind of file → what recognises it where the name has another."""


def may_be(extension: str) -> bool:
    """Return whether a file of this extension (lower case, with the dot) is worth opening."""
    return extension not in _OTHER


def formats_of(content: bytes) -> tuple[str, ...]:
    """Return the formats Pillow may try: TGA, which any bytes may pass for, only where it says so.

    Old TGA files have no mark; they are not read.
    """
    return (*FORMATS, "TGA") if content.endswith(_TGA_END) else FORMATS
