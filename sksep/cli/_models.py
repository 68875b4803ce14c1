"""`sksep models`: the models that ship."""

from __future__ import annotations

import shutil
from typing import Any

import click

from sksep.cli._command import DEFAULT_MODEL, Command

_EXAMPLES = """\
sksep models                # all of them, in short
sksep models uhnet          # the whole card of one
sksep separate song.wav -o out --model small
"""
_TERMS = (
    "The weights are for research and non-commercial use, because the recordings that they were "
    "trained on are; the code of sksep is under the BSD-3-Clause license."
)


@click.command("models", cls=Command, examples=_EXAMPLES)
@click.argument("name", required=False)
def models(name: str | None) -> None:
    """List the models that ship, or show the card of one.

    The list shows what each model was trained on, and how well it separates songs that it was not
    trained on, with the kind of the SDR. The card of a model has the whole protocol and its limits.
    """
    from sksep.pretrained import list_pretrained

    cards = {card.name: card for card in list_pretrained()}
    if name is not None and name not in cards:
        raise click.UsageError(f"There is no model {name!r}; there are {', '.join(cards)}.")
    if name is not None:
        card = cards[name]
        _write(card, {"architecture": card.architecture, **_facts(card), **_details(card)})
    else:
        for card in cards.values():
            _write(card, _facts(card))
    formatter = click.HelpFormatter(width=_width())
    formatter.write_text(_TERMS)
    click.echo(formatter.getvalue())
    click.echo(f"Use one:  sksep separate song.wav -o out --model {name or DEFAULT_MODEL}")


def _facts(card: Any) -> dict[str, str]:
    """Facts about a model in the list."""
    measure, _, _ = card.protocol.partition(". ")
    return {
        "trained on": card.training_data,
        "figures": "; ".join(f"{what}: {value}" for what, value in card.figures.items()),
        "measured as": measure.rstrip("."),
        "terms of the weights": card.terms,
    }


def _details(card: Any) -> dict[str, str]:
    """Further facts about a model on its card."""
    return {"measured as": card.protocol, "limits": card.limits}


def _write(card: Any, facts: dict[str, str]) -> None:
    formatter = click.HelpFormatter(width=_width())
    formatter.write_text(f"{card.name} ({card.size_mb:.1f} MB): {card.summary}")
    with formatter.indentation():
        formatter.write_dl([(f"{what}:", text) for what, text in facts.items() if text])
    click.echo(formatter.getvalue())


def _width() -> int:
    """Width of the terminal, limited so that lines are easy to read."""
    return min(shutil.get_terminal_size().columns, 100)
