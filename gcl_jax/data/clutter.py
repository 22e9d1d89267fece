"""Names of files and folders that desktops, cameras, NAS, archives, servers and version control leave among images."""

import fnmatch
import re

# Whatever the case of their letters. Names that a class could have ("trash", "recycled") are not here.
PATTERNS = (
    ".*",  # hidden: ._*, .git, .svn, .AppleDouble, .Trash-1000, .thumbnails, .snapshot, .zfs, .stversions, .dtrash, ...
    # Synology, QNAP, NetApp, Samba's shadow copies, AFP servers
    "@eadir", "*@synoeastream", "*@synoresource", "#recycle", "#trash", "#snapshot", "@recycle", "@recently-snapshot",
    "@snapshot", "@snapshots", "@__thumb", "@tmp", "@sharebin", "@sharesnap", "~snapshot", "@gmt-*", "_recycle",
    "_nas_recycle_*", "network trash folder", "temporary items", "thevolumesettingsfolder", "dfsrprivate",
    # Windows, Linux and Android: bins, recovered pieces, indexes, thumbnails
    "$recycle.bin", "recycler", "system volume information", "found.[0-9][0-9][0-9]", "lost+found", "lost.dir",
    "thumbs.db*", "ehthumbs*.db", "desktop.ini", "zbthumbnail.info", "albumart_{*", "albumartsmall.jpg",
    # archives, version control, caches, web servers
    "__macosx", "_macosx", "icon\r", "_svn", "_darcs", "__pycache__", "node_modules", "_vti_*", "_notes",
    # photo libraries with their previews, galleries, synchronization
    "*.lrdata", "*.lrcat-data", "*.photoslibrary", "*.photolibrary", "*.aplibrary", "*.migratedphotolibrary",
    "captureone", "thmbnl", "canonmsc", "_thumbs", "__thumbs", "_thumbnails", "thumbnails", "*.sync-conflict-[0-9]*",
    "*conflicted copy*",
)  # fmt: skip
_CLUTTER = re.compile(rf"(?i:{'|'.join(map(fnmatch.translate, PATTERNS))})|(CVS|RCS|SCCS)\Z")  # these in capitals only


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name belongs to another program, and is no data.

    >>> [is_clutter(name) for name in ("@eaDir", "._1.jpg", "Thumbs.db", "trash", "1.jpg")]
    [True, True, True, False, False]
    """
    return bool(_CLUTTER.match(name))


def title(name: str) -> str:
    """The name under which a report counts it: one for all the files that macOS puts beside others.

    >>> title("._1.jpg"), title("@eaDir")
    ('._*', '@eaDir')
    """
    return "._*" if name.startswith("._") else name
