"""What makes the repository's own files into pages of the site: a hook of MkDocs, see mkdocs.yml.

The README is the first page, the notebooks of docs/tutorials are pages, the reference names all that is public.
Nothing is written twice, and every page stays readable where it lies.
"""

from __future__ import annotations

import ast
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
# Files outside docs/ that are on the site, and where.
OUTSIDE = {
    "README.md": "index.md",
    **{name: name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")},
    **{name: f"files/{name}" for name in ("ray_cluster.yaml", "kuberay.yaml", "Dockerfile")},
    **{name: f"files/{name}.txt" for name in ("LICENSE", "NOTICE")},
}
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace what ends in * in the navigation by the pages that are there."""
    for section in config.nav or []:
        for title, entries in section.items():
            if isinstance(entries, list):
                section[title] = [page for entry in entries for page in _pages(entry)]
    return config


def _pages(entry: Any) -> list[Any]:
    if not isinstance(entry, str) or not entry.endswith("*"):
        return [entry]
    docs = ROOT / "docs"
    return sorted(str(path.relative_to(docs)) for path in docs.glob(f"{entry}.md"))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files from outside docs/, the notebooks as pages, and the reference."""
    made = {there: _moved(here, there) for here, there in OUTSIDE.items()}
    for notebook in sorted((ROOT / "docs" / "tutorials").glob("*.ipynb")):
        made[f"tutorials/{notebook.stem}.md"] = as_markdown(notebook)
    made["reference.md"] = reference()
    for uri, text in made.items():
        files.append(File.generated(config, uri, content=text))
    return files


def _moved(here: str, there: str) -> str:
    """A file's text, its links leading where their targets are on the site."""
    text = (ROOT / here).read_text()
    if not here.endswith(".md"):
        return text
    return LINK.sub(lambda found: _on_site(os.path.normpath(found[1])), text)


def _on_site(path: str) -> str:
    return OUTSIDE.get(path, path.removeprefix("docs/"))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links of pages below docs/ that lead out of it lead to what is on the site instead."""
    folder = os.path.dirname(page.file.src_uri)

    def lead(found: re.Match[str]) -> str:
        target = os.path.normpath(os.path.join("docs", folder, found[1]))
        if target.startswith("docs/"):
            return found[1]
        return os.path.relpath(_on_site(target), folder or ".")

    return LINK.sub(lead, re.sub(r"^(```\w+) [^\n]*", r"\1", markdown, flags=re.M))


def as_markdown(notebook: Path) -> str:
    """The cells of a notebook, and a link to it."""
    parts = []
    for cell in json.loads(notebook.read_text())["cells"]:
        text = "".join(cell["source"])
        language = "sh" if text.startswith("%%bash\n") else "python"
        text = text.removeprefix("%%bash").replace("%%writefile", "#").strip()  # what isn't of the language
        code = f"```{language}\n{text}\n```"
        parts.append(text if cell["cell_type"] == "markdown" else code)
    title, *rest = parts
    return "\n\n".join([title, f"*This page is a notebook: [{notebook.name}]({notebook.name}).*", *rest])


def public_names() -> list[str]:
    """Names that `import freelabels` offers, as its stub lists them."""
    tree = ast.parse((ROOT / "freelabels" / "__init__.pyi").read_text())
    return sorted(
        (a.asname for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names if a.asname),
        key=str.lower,
    )


def reference() -> str:
    """A page with the docstring of every public name, from where it is defined."""
    tree = ast.parse((ROOT / "freelabels" / "__init__.pyi").read_text())
    home = {
        alias.asname: f"freelabels.{node.module}.{alias.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    entries = [f"::: {home[name]}" for name in public_names() if not name.startswith("__")]
    return "\n\n".join(["# Reference", "All of `freelabels`, by name.", *entries])
