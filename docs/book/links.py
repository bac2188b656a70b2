"""Links of a static site that lead to nothing, and files that it would fetch from elsewhere."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """Addresses that a page links to, those that it loads itself, and its anchors."""

    def __init__(self, text: str):
        super().__init__()
        self.links, self.loaded, self.anchors = set(), set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href"):
            self.links.add(given["href"])
        elif address := given.get("src") or (tag == "link" and given.get("href")):
            self.loaded.add(address)


def broken_links(site: Path) -> list[str]:
    """Return a sentence for each link or picture of a site's pages that is not there.

    Links to other sites are not followed; what a page itself loads from one is a fault.
    """
    pages = {path.resolve(): _Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        for address in sorted(page.links | page.loaded):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if address in page.loaded and parts.scheme != "data":
                    found.append(f"{name} loads {address}, which is not on this site.")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                found.append(f"{name} links to {address}, which is not there.")
            elif parts.fragment and target in pages:
                found += _lacking(parts.fragment, pages[target], f"{name} links to {address}")
    return found


def _lacking(fragment: str, page: _Page, says: str) -> list[str]:
    return [] if unquote(fragment) in page.anchors else [f"{says}: the page has no such place."]
