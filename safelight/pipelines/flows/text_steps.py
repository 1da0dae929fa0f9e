"""Steps that ask a vision-language model: scans, readers, feedback. Each records the context version it used."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jsonschema

from safelight.db.generations.runs import TextUsage
from safelight.domain.errors.base import SchemaMismatch
from safelight.domain.preferences import hard_blocks
from safelight.domain.steps import StepType
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.engine.plans import Outcome, Plan
from safelight.pipelines.engine.run import Run
from safelight.pipelines.registry import Context
from safelight.providers.base import ReferenceImage, TextAnswer, TextRequest
from safelight.redaction import excerpt

Json = dict[str, Any]

TEXT_ENGINE = "gpt"
USER_MESSAGE_CHARS_MAX = 140


@dataclass(frozen=True, slots=True)
class TextStep:
    """`values` fill the context's template; `read` turns the checked answer into the step's outcome."""

    step_type: str
    context_key: str
    values: Mapping[str, str]
    given: Json
    read: Callable[[Json], Outcome]
    begin_line: str
    images: tuple[ReferenceImage, ...] = ()
    input_key: str | None = None  # the input key under which the text that was really sent is stored


async def ask(context: PipelineContext, run: Run, question: TextStep) -> Json:
    """Run the step that asks the model. Returns its output."""
    return await run.step(StepType(question.step_type), plan_of(context, run, question))


def plan_of(context: PipelineContext, run: Run, question: TextStep) -> Callable[[], Awaitable[Plan]]:
    """The plan of a step that asks the model."""

    async def plan() -> Plan:
        template = await context.configuration.context(question.context_key)
        engine = await context.serving(TEXT_ENGINE)
        run.note_engine(engine.adapter, engine.model)
        async with context.db.connection() as conn:
            await context.gate.admit(conn, run, engine)
        model = context.adapters.text(engine)
        user = template.render(question.values)
        request = TextRequest(
            step_type=question.step_type,
            model=engine.model,
            context_key=question.context_key,
            system=template.system,
            user=user,
            schema=template.output_schema,
        )

        async def act() -> Outcome:
            images = await context.presign(run.order.pass_id, question.images)
            answer = await context.gate.track_start(engine, model.complete(replace(request, images=images)))
            checked = _checked(answer, template)
            run.variables["meta"]["ctx_versions"][question.context_key] = template.version.version
            return _measured(question.read(checked), request, answer)

        sent = {question.input_key: user} if question.input_key else {}
        return Plan(
            input=question.given | sent | template.version.as_input("ctx"),
            act=act,
            provider=engine.adapter,
            model=engine.model,
            begin_line=question.begin_line,
        )

    return plan


def avoid_text(run: Run) -> str:
    """The things that must never be in a picture of this customer, as the prompts say it."""
    return ", ".join(hard_blocks(run.preferences))


def user_message(answer: Json, otherwise: str) -> str:
    return excerpt(str(answer.get("userMessage") or otherwise), USER_MESSAGE_CHARS_MAX)


def _checked(answer: TextAnswer, template: Context) -> Json:
    try:
        jsonschema.validate(answer.data, template.output_schema)
    except jsonschema.ValidationError as error:
        place = "/".join(str(part) for part in error.absolute_path) or "the answer"
        raise SchemaMismatch(f"{template.version.key}: {place}: {excerpt(error.message, 300)}") from error
    return answer.data


def _measured(outcome: Outcome, request: TextRequest, answer: TextAnswer) -> Outcome:
    usage = TextUsage(
        len(request.system) + len(request.user), len(answer.text), answer.input_tokens, answer.output_tokens
    )
    return replace(outcome, usage=usage)
