"""Ending tokens at a server that plays every format: what is ended, what is proven, and what is not claimed."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import cache

import pytest

from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.http.api_target import HttpApi
from keyturn.tokens.ending import SPLITS, Killer, LeakedToken, TokenOutcome, TokenResult
from keyturn.tokens.library import load_formats
from local.emulators.recipes.matching import Received
from local.emulators.recipes.server import Answer, RecipeServer, base_of
from local.emulators.tokens import IssuedTokens
from tests.support.leaked_tokens import make_token

FORMATS = load_formats()
ENDED = sorted(name for name, each in FORMATS.items() if each.end)
HOST = "self-hosted.example.com"


@pytest.fixture
def service() -> IssuedTokens:
    return IssuedTokens(FORMATS, HOST)


@pytest.fixture
def server(service: IssuedTokens) -> Iterator[RecipeServer]:
    with RecipeServer(service) as made:
        yield made


class Clock:
    """Time that passes only while somebody sleeps."""

    now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def read(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def killed(server: RecipeServer, tokens: Sequence[LeakedToken], clock: Clock) -> list[TokenOutcome]:
    """What becomes of tokens whose services all are this server."""
    with ExitStack() as opened:

        @cache
        def connect(address: str) -> HttpApi:
            api = HttpApi("api", url=server.url + base_of(address), admin=lambda: SecretFields({}))
            return opened.enter_context(closing(api))

        outcomes = {token.line: outcome for token, outcome in Killer(connect, clock.read, clock.sleep).kill(tokens)}
    return [outcomes[token.line] for token in tokens]


def leaked(name: str, text: str, line: int = 1) -> LeakedToken:
    each = FORMATS[name]
    return LeakedToken(line, Sensitive(text), name, each, HOST if each.asks_host else "")


@pytest.mark.parametrize("name", ENDED)
def test_a_living_token_is_ended_and_proven_where_it_can_be_tried(
    name: str, service: IssuedTokens, server: RecipeServer, clock: Clock
) -> None:
    text = make_token(FORMATS[name])
    service.issue(name, text)
    (outcome,) = killed(server, [leaked(name, text)], clock)
    assert service.live[text] is False
    assert outcome.result is (TokenResult.PROVEN if FORMATS[name].prove else TokenResult.ENDED), outcome


@pytest.mark.parametrize("name", ENDED)
def test_of_a_token_that_no_service_issued_nothing_is_claimed_that_it_did_not_say(
    name: str, service: IssuedTokens, server: RecipeServer, clock: Clock
) -> None:
    each = FORMATS[name]
    (outcome,) = killed(server, [leaked(name, make_token(each))], clock)
    if each.is_ambiguous and each.prove:
        assert outcome.result is TokenResult.FAILED
        assert "it had ended, or it belongs to" in outcome.why
    elif each.prove:
        assert outcome.result is TokenResult.PROVEN, "the only service that issues such tokens refuses it"
    else:
        assert outcome.result is TokenResult.ENDED


def test_many_tokens_of_several_kinds_go_in_one_request(
    service: IssuedTokens, server: RecipeServer, clock: Clock
) -> None:
    names = ["github-personal-access-token", "github-fine-grained-token", "github-oauth-token"] * 20
    texts = [make_token(FORMATS[name]) for name in names]
    for name, text in zip(names, texts, strict=True):
        service.issue(name, text)
    tokens = [leaked(name, text, line) for line, (name, text) in enumerate(zip(names, texts, strict=True))]
    assert {outcome.result for outcome in killed(server, tokens, clock)} == {TokenResult.PROVEN}
    assert len([each for each in service.received if each.method == "POST"]) == 1


class Slow(IssuedTokens):
    """Ends a token some requests after it took the order."""

    waits = 3

    def answer(self, received: Received) -> Answer:
        if received.method == "GET" and not all(self.live.values()):
            self.waits -= 1
            if self.waits > 0:
                return Answer(200, {"login": "octocat"})
        return super().answer(received)


def test_a_service_that_ends_a_token_later_is_waited_for(clock: Clock) -> None:
    service, name = Slow(FORMATS), "github-personal-access-token"
    text = make_token(FORMATS[name])
    service.issue(name, text)
    with RecipeServer(service) as server:
        (outcome,) = killed(server, [leaked(name, text)], clock)
    assert outcome.result is TokenResult.PROVEN
    assert clock.now > 1


class Lies(IssuedTokens):
    """Takes every order to end a token, and does nothing."""

    def answer(self, received: Received) -> Answer:
        self.received.append(received)
        return Answer(202 if "revoke" in received.path else 200, {"login": "octocat"})


def test_a_token_that_still_works_is_not_ended_whatever_the_service_said(clock: Clock) -> None:
    with RecipeServer(Lies(FORMATS)) as server:
        name = "github-personal-access-token"
        (outcome,) = killed(server, [leaked(name, make_token(FORMATS[name]))], clock)
    assert outcome == TokenOutcome(TokenResult.FAILED, "api.github.com took the request, and still accepts the token")


class Answers(IssuedTokens):
    """Gives these answers one after the other, then the last of them."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__(FORMATS)
        self.answers = list(answers)

    def answer(self, received: Received) -> Answer:
        self.received.append(received)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.mark.parametrize(
    ("answers", "result", "why", "requests"),
    [
        ([Answer(500)], TokenResult.FAILED, "answered 500", 3),
        ([Answer(503), Answer(204), Answer(401)], TokenResult.PROVEN, "api.buildkite.com refuses it", 3),
        ([Answer(429, headers={"retry-after": "3600"})], TokenResult.FAILED, "answered 429", 1),
        ([Answer(429, headers={"retry-after": "2"}), Answer(204), Answer(401)], TokenResult.PROVEN, "refuses it", 3),
        ([Answer(200, {"error": "x"})], TokenResult.FAILED, "answered 200", 1),
        ([Answer(204), Answer(403)], TokenResult.ENDED, "answered 403", 6),
        ([Answer(204), Answer(500)], TokenResult.ENDED, "answered 500", 6),
        ([Answer(403)], TokenResult.FAILED, "answered 403", 1),
    ],
)
def test_an_answer_counts_for_what_it_says_and_no_more(
    answers: list[Answer], result: TokenResult, why: str, requests: int, clock: Clock
) -> None:
    service, name = Answers(*answers), "buildkite-api-token"
    with RecipeServer(service) as server:
        (outcome,) = killed(server, [leaked(name, make_token(FORMATS[name]))], clock)
    assert outcome.result is result, outcome
    assert why in outcome.why
    assert len(service.received) == requests


def test_one_entry_that_a_service_does_not_take_keeps_the_others_from_nothing(clock: Clock) -> None:
    class Picky(IssuedTokens):
        def answer(self, received: Received) -> Answer:
            if bad in received.body.decode():
                return Answer(422, {"message": "Validation failed"})
            return super().answer(received)

    service, name = Picky(FORMATS), "huggingface-user-token"
    texts = [make_token(FORMATS[name]) for _ in range(9)]
    bad = texts[4]
    for text in texts:
        service.issue(name, text)
    with RecipeServer(service) as server:
        outcomes = killed(server, [leaked(name, text, line) for line, text in enumerate(texts)], clock)
    assert [outcome.result for outcome in outcomes].count(TokenResult.PROVEN) == 8
    assert outcomes[4].result is TokenResult.FAILED
    assert service.live[bad] is True


def test_a_service_that_refuses_every_batch_is_not_asked_for_each_token(clock: Clock) -> None:
    service, name = Answers(Answer(403)), "huggingface-user-token"
    texts = [make_token(FORMATS[name]) for _ in range(100)]
    with RecipeServer(service) as server:
        outcomes = killed(server, [leaked(name, text, line) for line, text in enumerate(texts)], clock)
    assert {outcome.result for outcome in outcomes} == {TokenResult.FAILED}
    assert len(service.received) <= 2 * SPLITS + 1


def test_a_batch_is_no_longer_than_the_service_takes(service: IssuedTokens, server: RecipeServer, clock: Clock) -> None:
    name = "huggingface-user-token"
    texts = [make_token(FORMATS[name]) for _ in range(150)]
    killed(server, [leaked(name, text, line) for line, text in enumerate(texts)], clock)
    sent = [len(each.data["credentials"]) for each in service.received if each.method == "POST"]
    assert sorted(sent) == [50, 100]
