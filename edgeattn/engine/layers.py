"""Reads a file of layer information, of any version of TensorRT."""

from __future__ import annotations

from pathlib import Path

from edgeattn.base import documents
from edgeattn.base.errors import InputError
from edgeattn.engine import layer_log
from edgeattn.engine.layer_json import of_document, read_json
from edgeattn.engine.layer_text import document_of
from edgeattn.records.layers import LayerInformation


def read(path: Path) -> LayerInformation:
    """Read a file that holds layer information, in any form.

    Args:
        path: What `trtexec --exportLayerInfo` or an engine inspector wrote as JSON, the manifest of
            an engine, or a log of a build: with VERBOSE messages, or of `--dumpLayerInfo`.

    Returns:
        The layer information.

    Raises:
        InputError: The file is missing, holds no layer information, or cannot be read.
    """
    text = documents.read_text(
        path,
        otherwise="holds no layer information: it is no text",
        mend="Give the JSON that trtexec --exportLayerInfo writes, or a build log.",
    )
    try:
        # A log may start with a bracket, that of a severity; no JSON of layers does.
        if text.lstrip("\ufeff \t\r\n").startswith("{"):
            return read_json(text)
        text = text.replace("\r\n", "\n")
        listed = document_of(text)
        return layer_log.read_log(text) if listed is None else of_document(listed)
    except InputError as error:
        raise type(error)(f"{path}: {error.fact}", mend=error.mend) from error
