"""The README's Python code runs as printed."""

import re
from pathlib import Path

import pytest

_README = Path(__file__).resolve().parents[1] / "README.md"
_BLOCK = re.compile(
    r"(?P<skip><!-- skip: [^\n]*? -->\n\s*)?^```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def _blocks(text: str) -> list[str]:
    """Python blocks in order, each padded so that its line numbers are those of the README."""
    return [
        "\n" * text.count("\n", 0, match.start("code")) + match["code"]
        for match in _BLOCK.finditer(text)
        if match["skip"] is None
    ]


def test_readme_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = _blocks(_README.read_text(encoding="utf-8"))
    assert blocks, "README.md shows no Python code that runs"
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, str(_README), "exec"), namespace)


def test_what_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", _README.read_text(encoding="utf-8"))
    assert links, "README.md links to nothing"
    assert [link for link in links if not (_README.parent / link).exists()] == []


def test_blocks_are_found_and_skipped() -> None:
    text = (
        "# title\n```python\nfirst = 1\n```\n```bash\nls\n```\n"
        "<!-- skip: needs your own songs -->\n```python\nsecond = 2\n```\n"
        "<!-- skip: what follows is no code -->\ntext\n```python\nthird = first + 2\n```\n"
    )
    assert [block.strip() for block in _blocks(text)] == ["first = 1", "third = first + 2"]
    assert _blocks(text)[0] == "\n\nfirst = 1\n"
