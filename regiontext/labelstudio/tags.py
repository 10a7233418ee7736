"""Walking the labeling config's XML as Label Studio's editor does: names in any case.

Refuses what no labeling config needs (entities, absurd depth or length). Knows nothing of what
the tags mean.
"""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET

from regiontext.errors import ConfigError

__all__ = [
    "MAX_CHARS",
    "MAX_DEPTH",
    "Parents",
    "canonical_hash",
    "get",
    "is_true",
    "listed",
    "parents_of",
    "parse_xml",
    "tag_of",
]

MAX_CHARS = 2_000_000
"""Longer configs are refused unread."""

MAX_DEPTH = 100
"""Configs nested more deeply are refused."""

Parents = dict[ET.Element, ET.Element]


def parse_xml(xml: str) -> ET.Element:
    """The root tag. Raises ConfigError when the text is empty, too long, unsafe or malformed."""
    if not isinstance(xml, str) or not xml.strip():
        raise ConfigError("the labeling config is empty; paste one of the templates")
    if len(xml) > MAX_CHARS:
        raise ConfigError(f"the labeling config has {len(xml)} characters, more than {MAX_CHARS}")
    # Entities can expand without end or read files.
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", xml, re.IGNORECASE):
        raise ConfigError("the labeling config has a DOCTYPE or ENTITY declaration; remove it")
    try:
        root = ET.fromstring(xml.strip())
    except (ET.ParseError, ValueError) as fault:
        raise ConfigError(f"the labeling config is not well-formed XML: {fault}") from fault
    level, depth = [root], 1
    while level := [inner for tag in level for inner in tag]:
        depth += 1
        if depth > MAX_DEPTH:
            raise ConfigError(f"the labeling config is nested more than {MAX_DEPTH} deep")
    return root


def canonical_hash(xml: str) -> str:
    """sha256 hex of the canonical XML: white space between tags, comments, order of attributes
    and kind of quotes do not change it.
    """
    canonical = ET.canonicalize(xml.strip(), strip_text=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def parents_of(root: ET.Element) -> Parents:
    """Each tag's parent."""
    return {inner: tag for tag in root.iter() for inner in tag}


def tag_of(tag: ET.Element) -> str:
    """A tag's name in lower case."""
    return tag.tag.lower()


def get(tag: ET.Element, name: str) -> str:
    """An attribute by its lower-case name, stripped; "" when it is absent."""
    for key, value in tag.attrib.items():
        if key.lower() == name:
            return value.strip()
    return ""


def is_true(tag: ET.Element, name: str) -> bool:
    """Whether an attribute says "true"."""
    return get(tag, name).lower() == "true"


def listed(value: str) -> tuple[str, ...]:
    """The parts of a comma-separated list, stripped, empty ones left out."""
    return tuple(part.strip() for part in value.split(",") if part.strip())
