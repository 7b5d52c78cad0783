"""Entry point for Hugging Face Spaces and for `python app.py`; options: `python app.py --help`."""

import typer

from trimviz.ui import main

if __name__ == "__main__":
    cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    cli.command()(main)
    cli()
