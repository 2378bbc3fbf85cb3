"""The built site loads nothing from elsewhere: `python docs/offline.py docs/_build/html`."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

ELSEWHERE = re.compile(r"(https?:)?//", re.IGNORECASE)
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
# Links that a browser does not follow by itself.
NAMED = {"canonical", "next", "prev", "search", "index", "author", "license"}


class Page(HTMLParser):
    """The addresses that a page loads from another host."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note what a tag loads."""
        attributes = dict(attrs)
        address = attributes.get(LOADED.get(tag, ""))
        if address and ELSEWHERE.match(address) and attributes.get("rel") not in NAMED:
            self.found.append(address)


def main(folder):
    """Print what is loaded from elsewhere; return how much that is."""
    found = []
    pages = list(Path(folder).rglob("*.html"))
    for page in pages:
        found += [(page, address) for address in Page(page.read_text(encoding="utf-8")).found]
    for sheet in Path(folder).rglob("*.css"):
        for address in re.findall(r"(?:url\(|@import )['\"]?([^'\")]+)", sheet.read_text("utf-8")):
            found += [(sheet, address)] if ELSEWHERE.match(address) else []
    for page, address in found:
        print(f"{page}: loads {address}")
    print(f"{len(pages)} pages, {len(found)} things from elsewhere")
    return len(found) if pages else 1


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1])))
