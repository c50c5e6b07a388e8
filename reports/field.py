"""The field's claims about better recurrent networks, each as what would have to be found for it to hold."""

from __future__ import annotations

from collections.abc import Iterator

from suite import Claim, Expectation, hookimpl

EQUAL = 0.1
"""Skills that differ by less are called equal quality here."""


CLAIMS = (
    Claim(
        "fewer-gates",
        "Fewer gates train faster at equal quality (GRU).",
        (Expectation("gru", "time", "less"), Expectation("gru", "skill", "not worse", margin=EQUAL)),
        caveat="With its parameters matched, a GRU has more units than the LSTM. Time depends on the engine and the size: see speed.",
        paper="Chung et al., 2014, arXiv:1412.3555",
        figure="speed",
    ),
    Claim(
        "layer-norm-converges",
        "Layer normalisation converges in fewer steps.",
        (Expectation("layernorm", "steps", "less"),),
        caveat="Steps, not seconds: a step of it takes longer. Learning rates are chosen by validation loss, not by the steps to solve.",
        paper="Ba et al., 2016, arXiv:1607.06450",
        figure="learning_curves",
    ),
    Claim(
        "residual-depth",
        "Residual connections make eight layers trainable.",
        (Expectation("residual(depth=8)", "skill", "more", against="residual(depth=8, skip=false)"),),
        caveat="Both stacks have the parameters of one LSTM layer, so that each of their layers is small.",
        paper="He et al., 2016, arXiv:1512.03385; Wu et al., 2016, arXiv:1609.08144",
        figure="scoreboard",
    ),
    Claim(
        "attention-horizon",
        "Attention over past states extends the horizon.",
        (Expectation("attention", "skill", "more"),),
        caveat="It keeps every past state, so that what it carries grows with the sequence while the LSTM's stays.",
        paper="Cheng et al., 2016, arXiv:1601.06733",
        figure="long_range",
    ),
    Claim(
        "both-ways",
        "Reading in both directions helps.",
        (Expectation("bilstm", "skill", "more"),),
        caveat="It reads the future, which a causal model cannot: where the answer is at the first steps, its backward half has them last, "
        "and needs no memory. It is ranked with nobody.",
        paper="Schuster & Paliwal, 1997, doi:10.1109/78.650093",
        figure="scoreboard",
    ),
    Claim(
        "better-gates-robust",
        "Refined gates and normalisation make it more robust to noise.",
        (Expectation("refined", "retained", "more"), Expectation("layernorm", "retained", "more")),
        caveat="Of trials that solved their task, undamaged in training; what they keep of their skill under damage to the test stream.",
        paper="Gu et al., 2020, arXiv:1910.09890; Ba et al., 2016, arXiv:1607.06450",
        figure="robustness",
    ),
    Claim(
        "gates-remember",
        "Gates let a network remember what a plain one forgets.",
        (Expectation("lstm", "skill", "more", against="rnn"),),
        caveat="What is compared is what was learned over the plan's lengths; both have the same parameters, and a tanh network more units.",
        paper="Hochreiter & Schmidhuber, 1997, doi:10.1162/neco.1997.9.8.1735",
        figure="long_range",
    ),
    Claim(
        "gates-gradient",
        "Gates cure vanishing gradients.",
        (Expectation("lstm", "reach", "more", against="rnn"),),
        caveat="After training: the part of the way back on which the loss's gradient is at least a hundredth of that at the last step.",
        paper="Hochreiter & Schmidhuber, 1997, doi:10.1162/neco.1997.9.8.1735; Bengio et al., 1994, doi:10.1109/72.279181",
        figure="long_range",
    ),
)


@hookimpl
def suite_claims() -> Iterator[Claim]:
    yield from CLAIMS
