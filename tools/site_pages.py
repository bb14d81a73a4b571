"""Hook of MkDocs: pages that lie outside docs/ join the site, and links follow them there."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

# Files of the repository, and their pages.
PAGES = {
    'README.md': 'index.md',
    'CONTRIBUTING.md': 'contributing.md',
    'CHANGELOG.md': 'changelog.md',
    'gsc_ros/models/weights/MODEL_CARD.md': 'model_card.md',
}
_SOURCES = {page: source for source, page in PAGES.items()}
_LINK = re.compile(r'(\]\()([^)\s#:]+)')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    root = Path(config.config_file_path).parent
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(root / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages."""
    source = _SOURCES.get(page.file.src_uri, f'docs/{page.file.src_uri}')

    def target(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        return match[1] + PAGES.get(path, path.removeprefix('docs/'))

    return _LINK.sub(target, markdown)
