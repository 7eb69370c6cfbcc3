"""A hook of MkDocs for `make site`: adds the pages outside docs/, and makes links to them work.

On GitHub, the guides link to files anywhere in the repository. On the site, such a link leads to the page or
file that this hook adds. A link to a file that does not exist is broken, which the strict build reports.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).resolve().parent.parent
_SCHEMAS = "supabase/schemas"
#: File of the repository → page of the site.
_PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "vulnerabilities.md",
    "panel/README.md": "panel/package.md",
    "docs/README.md": "guides.md",
    _SCHEMAS: f"{_SCHEMAS}/index.md",
}
_SOURCES = {page: source for source, page in _PAGES.items()}
_LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
_CODE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of `_PAGES`, the schema files, and other files that pages link to."""
    start_page = files.get_file_from_path("README.md")
    assert start_page is not None
    files.remove(start_page)  # It would be the site's first page, which is the repository's README.
    for source, page in _PAGES.items():
        if (_ROOT / source).is_file():
            files.append(File.generated(config, page, content=(_ROOT / source).read_text()))
    schemas = sorted((_ROOT / _SCHEMAS).glob("*.sql"))
    files.append(File.generated(config, _PAGES[_SCHEMAS], content=_list_schemas(schemas)))
    linked = {target for page in files.documentation_pages() for target in _linked(page)}
    for target in linked | {f"{_SCHEMAS}/{schema.name}" for schema in schemas}:
        files.append(File.generated(config, target, abs_src_path=str(_ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to where the site has their targets."""
    here = page.file.src_uri

    def moved(link: re.Match[str]) -> str:
        target = _target(here, link[2])
        on_site = _PAGES.get(target, target.removeprefix("docs/"))
        return link[1] + posixpath.relpath(on_site, posixpath.dirname(here) or ".") + link[3]

    if here == _PAGES[_SCHEMAS]:
        return markdown
    # Code is not Markdown, whatever it looks like.
    parts = _CODE.split(markdown)
    parts[::2] = [_LINK.sub(moved, part) for part in parts[::2]]
    return "".join(parts)


def _target(here: str, link: str) -> str:
    """The file of the repository to which a page's link leads."""
    source = _SOURCES.get(here, f"docs/{here}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))


def _linked(page: File) -> set[str]:
    """Files outside docs/, and without a page, that a page links to."""
    text = "".join(_CODE.split(page.content_string)[::2])
    targets = {_target(page.src_uri, link) for _, link, _ in _LINK.findall(text)}
    return {
        target
        for target in targets - _PAGES.keys()
        if not target.startswith("docs/") and (_ROOT / target).is_file()
    }


def _list_schemas(schemas: list[Path]) -> str:
    """A page with the first comment of each schema file."""
    lines = ["# Schema files", "", "The source of the database, in reading order.", ""]
    lines += ["| file | topic |", "|---|---|"]
    for schema in schemas:
        first, _, _ = schema.read_text().partition("\n")
        lines.append(f"| [{schema.name}]({schema.name}) | {first.removeprefix('-- ')} |")
    return "\n".join(lines) + "\n"
