"""Whether this worker can do its work: each right, place and process that it needs."""

from datetime import timedelta

from prefect.artifacts import acreate_markdown_artifact

from flows.support.common import flow, well, workspace
from flows.support.report import slug
from keyturn.doctor.nightly import insist_on_ready
from keyturn.doctor.results import CheckResult, Diagnosis, Grade
from tasks import doctor as tasks
from tasks.step import look
from tasks.workspace import names


@flow("doctor", timeout=timedelta(minutes=10), looks=True)
async def doctor() -> str:
    """What `keyturn doctor` says on the worker's host, with the worker's login; it changes nothing.

    Whatever hinders the work, and what nobody could look at, fails the run: so people are told of it.
    """
    await workspace()
    diagnosis = await look(tasks.examine_worker)
    await show_diagnosis(diagnosis)
    insist_on_ready(diagnosis)
    return well(diagnosis.summary, diagnosis.summary)


async def show_diagnosis(diagnosis: Diagnosis) -> None:
    """The page of how it stands, in names; what is well is only counted."""
    await acreate_markdown_artifact(
        to_markdown(diagnosis), key=slug(names().artifact("doctor")), description=diagnosis.summary
    )


def to_markdown(diagnosis: Diagnosis) -> str:
    """What hinders first, each with its remedy."""
    order = (Grade.FAILED, Grade.UNKNOWN, Grade.ADVICE)
    shown = sorted((r for r in diagnosis.results if r.grade in order), key=lambda result: order.index(result.grade))
    rows = [
        f"| {result.grade} | {cell(f'{result.area} {result.name}')} | {cell(words_of(result))} |" for result in shown
    ]
    head = ["| | what | how it is, and what to do |", "|---|---|---|"] if rows else []
    return "\n".join([f"**{diagnosis.summary}**", "", *head, *rows])


def words_of(result: CheckResult) -> str:
    """One result, and what to do about it."""
    return f"{result.words}. {result.remedy}" if result.remedy else result.words


def cell(text: str) -> str:
    """Text that stays in its column."""
    return " ".join(text.replace("|", "\\|").split())
