"""Where this host's distribution has its packages: apt's lists of sources read, and a private one made of them.

Formats: sources.list(5). Nothing here writes below /etc/apt or /var/lib/apt: whatever apt is told to do with a private
list, it does in folders that are private too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_KEYRING = "usr/share/keyrings/{}-archive-keyring.gpg"
_ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)")


@dataclass(frozen=True)
class Source:
    """One entry of binary packages. signed_by: the field as written, which may be a key of many lines; "" for none."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""


def sources_of(root: Path = Path("/")) -> list[Source]:
    """All sources of this host, in apt's order; those that are switched off or cannot be read are left out."""
    apt = root / "etc/apt"
    parts = sorted((apt / "sources.list.d").glob("*.*"))
    found: list[Source] = []
    for path in (apt / "sources.list", *parts):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if path.suffix == ".sources":
            found += parse_deb822(text)
        elif path.suffix == ".list":
            found += parse_one_line(text)
    return found


def parse_deb822(text: str) -> list[Source]:
    """Sources of a file *.sources: paragraphs of fields, whose values may go on in indented lines."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        fields = dict(_fields(paragraph))
        words = {name: tuple(value.split()) for name, value in fields.items()}
        if "deb" in words.get("types", ()) and fields.get("enabled", "yes").strip().lower() not in ("no", "false"):
            uris, suites = words.get("uris", ()), words.get("suites", ())
            found.append(Source(uris, suites, words.get("components", ()), fields.get("signed-by", "")))
    return found


def _fields(paragraph: str) -> Iterator[tuple[str, str]]:
    name, lines = "", [""]
    for line in [line for line in paragraph.splitlines() if not line.startswith("#")]:
        if line[:1] in (" ", "\t"):
            lines.append(line)
            continue
        if name:
            yield name, "\n".join(lines)
        first, _, value = line.partition(":")
        name, lines = first.strip().lower(), [value.strip()]
    if name:
        yield name, "\n".join(lines)


def parse_one_line(text: str) -> list[Source]:
    """Sources of a file *.list: `deb [signed-by=…] URI SUITE COMPONENT…`, one a line."""
    found = []
    for line in text.splitlines():
        match = _ONE_LINE.fullmatch(line.partition("#")[0].strip())
        if match:
            options = dict(option.partition("=")[::2] for option in (match["options"] or "").split())
            suite, components = (match["suite"],), tuple(match["components"].split())
            found.append(Source((match["uri"],), suite, components, options.get("signed-by", "").replace(",", " ")))
    return found


def private_sources(
    sources: Sequence[Source], kind: str, codename: str, arch: str, extra: Sequence[str] = (), root: Path = Path("/")
) -> str:
    """A file *.sources of the distribution's own packages: those that this host installs from, and suites `extra`.

    kind: "debian" or "ubuntu". extra: suites of the same mirror, as bookworm-backports. Signed by the distribution's
    own keyring where it is there. "" where no source of this host has the suite `codename`.
    """
    mine = [source for source in sources if codename in source.suites and "main" in source.components]
    # Others use the same suite names; the distribution's own archive is a folder with its name on every mirror.
    own = next((source for source in mine if any(uri.rstrip("/").endswith(f"/{kind}") for uri in source.uris)), None)
    own = own or next(iter(mine), None)
    if own is None:
        return ""
    keyring = root / _KEYRING.format(kind)
    signed_by = str(keyring) if keyring.is_file() else own.signed_by
    updates = [f"{codename}-updates"] if _has(sources, own.uris, f"{codename}-updates") else []
    stanzas = [_stanza(own.uris, [codename, *updates, *extra], arch, signed_by)]
    security = next((source for source in sources if f"{codename}-security" in source.suites), None)
    if security is not None:
        stanzas.append(_stanza(security.uris, [f"{codename}-security"], arch, signed_by))
    return "\n".join(stanzas)


def _has(sources: Sequence[Source], uris: Sequence[str], suite: str) -> bool:
    return any(suite in source.suites and set(uris) & set(source.uris) for source in sources)


def _stanza(uris: Sequence[str], suites: Sequence[str], arch: str, signed_by: str) -> str:
    lines = [
        "Types: deb",
        f"URIs: {' '.join(uris)}",
        f"Suites: {' '.join(suites)}",
        "Components: main",
        f"Architectures: {arch}",
        *([f"Signed-By: {signed_by}"] if signed_by else []),
    ]
    return "".join(f"{line}\n" for line in lines)


def mirror_of(text: str) -> str:
    """The first URI of a list that `private_sources` made."""
    return re.sub(r"^URIs: (\S+).*", r"\1", next(line for line in text.splitlines() if line.startswith("URIs: ")))


def apt_config(folder: Path) -> str:
    """The configuration file of an apt that knows the list in `folder` and keeps everything there.

    Given by -c it is read after the host's own, whose proxy stays. The host's pins could hide what is asked for, and
    what the host runs after an update (an index of all packages, a daemon's refresh) would see the private list.
    """
    hooks = ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success")
    lines = [
        f'Dir::Etc::SourceList "{folder}/private.sources";',
        'Dir::Etc::SourceParts "/dev/null";',
        'Dir::Etc::Preferences "/dev/null";',
        'Dir::Etc::PreferencesParts "/dev/null";',
        f'Dir::State::Lists "{folder}/lists";',
        f'Dir::Cache "{folder}/cache";',
        'Acquire::Languages "none";',
        *(f"#clear APT::Update::{hook};" for hook in hooks),
    ]
    return "".join(f"{line}\n" for line in lines)
