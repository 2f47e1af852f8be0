"""A progress bar on standard error for work that takes long. Nothing is drawn where that is not a terminal."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@dataclass(frozen=True)
class Bar:
    """One bar: what is being done, and how much of it is done."""

    progress: Progress
    task: TaskID

    def advance(self, amount: int) -> None:
        """Count ``amount`` more of the total as done."""
        self.progress.advance(self.task, amount)

    def say(self, what: str) -> None:
        """Change the text before the bar."""
        self.progress.update(self.task, description=what)


@contextmanager
def progress_bar(total: int) -> Generator[Bar]:
    """Draw a bar while the block runs; it goes when the block ends."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, progress.add_task("", total=total))
