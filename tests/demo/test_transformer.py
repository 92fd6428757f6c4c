"""The demo's model does real work: decoding with the cache says what a pass over the whole text says."""

import numpy as np

from observe.demo.transformer import CONTEXT, Sequence, Transformer


def test_decoding_one_token_at_a_time_equals_reading_everything_at_once():
    model = Transformer()
    sequence = model.prefill(b"why is the queue never empty")
    said = [model.decode(sequence) for _ in range(12)]

    again = []
    for _ in range(12):
        whole = Sequence(list(b"why is the queue never empty") + again)
        again.append(int(np.argmax(model._forward(whole))))

    assert again == said


def test_answers_depend_on_the_prompt():
    model = Transformer()
    answers = []
    for prompt in (b"alpha", b"omega"):
        sequence = model.prefill(prompt)
        answers.append([model.decode(sequence) for _ in range(8)])

    assert answers[0] != answers[1]


def test_the_context_is_bounded():
    model = Transformer()
    sequence = model.prefill(b"x" * 10_000)
    for _ in range(2 * CONTEXT):
        model.decode(sequence)

    assert len(sequence.tokens) <= CONTEXT
