"""Check every right, place and process that this worker needs."""

from datetime import timedelta

from prefect.artifacts import acreate_markdown_artifact

from flows.support.common import flow, well, workspace
from keyturn.core.workspaces import slug
from keyturn.doctor.nightly import insist_on_ready
from keyturn.doctor.results import CheckResult, Diagnosis, Grade
from tasks import doctor as tasks
from tasks.step import look
from tasks.workspace import names


@flow("doctor", timeout=timedelta(minutes=10), looks=True)
async def doctor() -> str:
    """Do what `keyturn doctor` does on the worker's host, with the worker's login and without changes.

    A failed or unknown check fails the run so that people are notified.
    """
    await workspace()
    diagnosis = await look(tasks.examine_worker)
    await show_diagnosis(diagnosis)
    insist_on_ready(diagnosis)
    return well(diagnosis.summary, diagnosis.summary)


async def show_diagnosis(diagnosis: Diagnosis) -> None:
    await acreate_markdown_artifact(
        to_markdown(diagnosis), key=slug(names().artifact("doctor")), description=diagnosis.summary
    )


def to_markdown(diagnosis: Diagnosis) -> str:
    order = (Grade.FAILED, Grade.UNKNOWN, Grade.ADVICE)
    shown = sorted((r for r in diagnosis.results if r.grade in order), key=lambda result: order.index(result.grade))
    rows = [
        f"| {result.grade} | {cell(f'{result.area} {result.name}')} | {cell(words_of(result))} |" for result in shown
    ]
    head = ["| | what | how it is, and what to do |", "|---|---|---|"] if rows else []
    return "\n".join([f"**{diagnosis.summary}**", "", *head, *rows])


def words_of(result: CheckResult) -> str:
    return f"{result.words}. {result.remedy}" if result.remedy else result.words


def cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
