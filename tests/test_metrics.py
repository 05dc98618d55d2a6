"""The metrics against closed forms, their own laws, simulations, and libraries that have them.

Those are PyTorch for divergence and loss, SciPy for Wilson's interval, scikit-learn for F1 and
calibration, seqeval for entities, sacreBLEU for BLEU.
"""

import itertools

import numpy as np
import pytest
import sacrebleu
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from seqeval.metrics import sequence_labeling as seqeval
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_fscore_support

from minillm import metrics
from minillm.numpy_nn import functional

properties = settings(deadline=None, max_examples=60, derandomize=True, database=None)
SEEDS = st.integers(0, 2**32 - 1)
LEADING = st.lists(st.integers(1, 3), max_size=2).map(tuple)


AVERAGES = st.sampled_from([None, "micro", "macro"])


def tolerance(p, n):
    """How far a share of n trials may stray from its probability p: four standard deviations."""
    return 4 * np.sqrt(p * (1 - p) / n)


def distribution(rng, shape):
    """A random distribution that rules out some outcomes, but never all of them."""
    weights = rng.random(shape) * (rng.random(shape) < 0.7)
    weights[..., 0] += 0.1
    return weights / weights.sum(-1, keepdims=True)


def test_closed_forms():
    assert metrics.surprisal(1.0) == 0
    assert metrics.surprisal(0.0) == np.inf
    assert np.isclose(metrics.surprisal(1 / 8, unit="bits"), 3)
    for n in (1, 2, 65, 50257):  # a uniform distribution has log n, a certain one nothing
        assert np.isclose(metrics.entropy(np.full(n, 1 / n)), np.log(n))
        assert metrics.entropy(np.eye(1, n)[0]) == 0
    p = np.array([0.9, 0.1])  # a bent coin
    assert np.isclose(metrics.entropy(p), -0.9 * np.log(0.9) - 0.1 * np.log(0.1))
    assert np.isclose(metrics.entropy(p, unit="bits"), 0.4689956)
    assert np.isclose(metrics.kl_divergence(p, [0.5, 0.5], unit="bits"), 1 - 0.4689956)
    assert metrics.cross_entropy([0.5, 0.5], [1.0, 0.0]) == np.inf
    assert metrics.kl_divergence([0.5, 0.5], [1.0, 0.0]) == np.inf
    assert metrics.kl_divergence([1.0, 0.0], [0.5, 0.5], unit="bits") == 1


@properties
@given(seed=SEEDS, leading=LEADING, size=st.integers(1, 6))
def test_laws(seed, leading, size):
    rng = np.random.default_rng(seed)
    p, q = distribution(rng, (*leading, size)), distribution(rng, (*leading, size))
    q = (q + p) / 2  # rules out nothing that p does not
    entropy, divergence = metrics.entropy(p), metrics.kl_divergence(p, q)
    assert entropy.shape == divergence.shape == leading
    assert np.all(entropy >= 0) and np.all(entropy <= np.log(size) + 1e-12)
    assert np.all(divergence >= -1e-12)  # Gibbs
    assert np.allclose(metrics.kl_divergence(p, p), 0, atol=1e-12)
    assert np.allclose(metrics.cross_entropy(p, q), entropy + divergence)
    for f in (metrics.cross_entropy, metrics.kl_divergence):
        assert np.allclose(f(p, q, unit="bits"), f(p, q) / np.log(2))
        assert np.allclose(f(p, q), f(p, np.broadcast_to(q, (2, *q.shape)))[0])
    own_of_torch = torch.nn.functional.kl_div(
        torch.tensor(q).log(), torch.tensor(p), reduction="none"
    )
    assert np.allclose(divergence, own_of_torch.nansum(-1))  # 0 log(0 / 0) is nan there


@properties
@given(seed=SEEDS, n=st.integers(1, 8), vocab_size=st.integers(1, 6))
def test_the_loss_is_a_cross_entropy(seed, n, vocab_size):
    """The training loss is the mean cross-entropy of one-hot targets and the softmax."""
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(size=(n, vocab_size)), rng.integers(vocab_size, size=n)
    loss, _ = functional.cross_entropy(logits, targets)
    p, q = np.eye(vocab_size)[targets], functional.softmax(logits)
    assert np.isclose(loss, metrics.cross_entropy(p, q).mean())
    assert np.isclose(loss, metrics.surprisal(q[np.arange(n), targets]).mean())
    geometric_mean = np.prod(q[np.arange(n), targets]) ** (1 / n)
    assert np.isclose(metrics.perplexity(loss), 1 / geometric_mean)


def test_perplexity_of_a_uniform_guess_is_the_vocabulary():
    losses = metrics.surprisal(np.full(10, 1 / 65))
    assert np.isclose(metrics.perplexity(losses.mean()), 65)
    assert metrics.perplexity(0.0) == 1
    assert np.allclose(metrics.perplexity(np.log([2, 4])), [2, 4])


def test_bits_do_not_depend_on_the_tokens():
    """One text cut into characters or into pairs of them; the same probability, the same bits."""
    text, p = "abcdefgh", 1 / 16
    by_characters = metrics.surprisal(np.full(8, p)).sum()
    by_pairs = metrics.surprisal(np.full(4, p**2)).sum()
    for nats in (by_characters, by_pairs):
        assert np.isclose(metrics.bits_per_byte(nats, len(text.encode())), 4)
        assert np.isclose(metrics.bits_per_character(nats, len(text)), 4)
    assert not np.isclose(*map(metrics.perplexity, (by_characters / 8, by_pairs / 4)))

    nats = metrics.surprisal(1 / 4)
    assert np.isclose(metrics.bits_per_character(nats, len("é")), 2)
    assert np.isclose(metrics.bits_per_byte(nats, len("é".encode())), 1)
    assert np.allclose(metrics.nats_to_bits(np.log([1, 2, 4])), [0, 1, 2])


def test_accuracy():
    targets = np.array([[1, 2, -100], [0, -100, 1]])
    assert metrics.accuracy(targets, targets) == 1
    assert metrics.accuracy(targets + 1, targets) == 0
    assert metrics.accuracy([[1, 2, 9], [9, 9, 9]], targets) == 0.5
    assert metrics.accuracy([0, 5], [0, 1], ignore_index=0) == 0
    assert isinstance(metrics.accuracy([1], [1]), float)
    assert metrics.accuracy(torch.tensor([1, 2]), torch.tensor([1, 0])) == 0.5
    low, high = metrics.accuracy_interval([[1, 2, 9], [9, 9, 9]], targets, confidence=0.9)
    assert (low, high) == metrics.wilson_interval(2, 4, confidence=0.9)


@properties
@given(n=st.integers(1, 2000), data=st.data(), confidence=st.floats(0.01, 0.999))
def test_wilson_interval(n, data, confidence):
    n_right = data.draw(st.one_of(st.just(0), st.just(n), st.integers(0, n)), label="n_right")
    interval = low, high = metrics.wilson_interval(n_right, n, confidence=confidence)
    oracle = stats.binomtest(n_right, n).proportion_ci(confidence, method="wilson")
    np.testing.assert_allclose(interval, oracle, atol=1e-12)
    assert 0 <= low <= n_right / n <= high <= 1 and low < high
    assert all(type(end) is float for end in interval)
    assert (low == 0) == (n_right == 0) and (high == 1) == (n_right == n)
    np.testing.assert_allclose(
        interval, 1 - np.array(metrics.wilson_interval(n - n_right, n, confidence=confidence))[::-1]
    )
    z = stats.norm.ppf((1 + confidence) / 2)  # its ends are just z standard deviations away
    for p in interval:
        np.testing.assert_allclose((n_right / n - p) ** 2, z**2 * p * (1 - p) / n, atol=1e-12)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("n", [3, 20, 200])
def test_wilson_interval_covers_the_true_share(n, confidence):
    """On average over all shares it does so about as often as it says, also with few trials."""
    n_trials = 20_000
    rng = np.random.default_rng(n)
    p = rng.random(n_trials)
    intervals = [metrics.wilson_interval(k, n, confidence=confidence) for k in range(n + 1)]
    low, high = np.array(intervals).T[:, rng.binomial(n, p)]
    covered = np.mean((low <= p) & (p <= high))
    # Exactly: by Bayes' rule p is beta distributed, given how many are right.
    posterior = stats.beta(np.arange(n + 1) + 1, n - np.arange(n + 1) + 1)
    from_low, to_high = map(posterior.cdf, zip(*intervals))
    exact = np.mean(to_high - from_low)
    assert abs(covered - exact) < tolerance(confidence, n_trials)
    assert abs(covered - confidence) < tolerance(confidence, n_trials) + 0.1 / n


@properties
@given(
    seed=SEEDS,
    n=st.integers(1, 20),
    n_label=st.integers(1, 4),
    names=st.booleans(),
    subset=st.booleans(),
    average=AVERAGES,
)
def test_class_scores(seed, n, n_label, names, subset, average):
    rng = np.random.default_rng(seed)
    vocabulary = np.array(["cat", "dog", "cow", "owl", "bee"]) if names else np.arange(5)
    predictions, targets = vocabulary[rng.integers(n_label, size=(2, n))]
    labels = vocabulary[rng.permutation(5)[:3]] if subset else None  # some never occur
    scores = metrics.class_scores(predictions, targets, average=average, labels=labels)
    oracle = precision_recall_fscore_support(
        targets, predictions, average=average, labels=labels, zero_division=0
    )
    for ours, theirs in zip(scores[1:4], oracle[:3]):
        np.testing.assert_allclose(ours, theirs)
        assert average is None or type(ours) is float
    everything = np.union1d(predictions, targets)
    assert scores.labels == (everything if labels is None else labels).tolist()
    counted = [np.sum(targets == label) for label in scores.labels]
    np.testing.assert_array_equal(scores.support, counted if average is None else sum(counted))
    if average == "micro" and not subset:
        assert np.isclose(scores.f1, metrics.accuracy(predictions, targets))


def test_class_scores_leave_out_what_does_not_count():
    assert metrics.class_scores([1, 0, 1], [1, -100, 0]).labels == [0, 1]
    with_ignored = metrics.class_scores([[1, 7], [1, 0]], [[1, -100], [0, 0]], average="macro")
    assert with_ignored == metrics.class_scores([1, 1, 0], [1, 0, 0], average="macro")


TAGS = ["O", *(f"{kind}-{type_}" for kind in "BIES" for type_ in ("LOC", "PER", "X-Y"))]
TAGS += ["O", "B-LOC", "I-LOC"] * 3 + ["B", "I", "I-"]  # more of what is usual; no type at all
SENTENCES = st.lists(st.lists(st.sampled_from(TAGS), max_size=8), min_size=1, max_size=5)


@properties
@given(tags=st.lists(st.sampled_from(TAGS), max_size=12))
def test_entities(tags):
    theirs = [(type_, first, last + 1) for type_, first, last in seqeval.get_entities(tags)]
    assert metrics.entities(tags) == theirs


@settings(properties, max_examples=150)
@given(targets=SENTENCES, data=st.data(), average=AVERAGES)
def test_entity_scores(targets, data, average):
    """Predictions keep most of the tags, so that some entities are right."""
    keep = st.sampled_from([True, True, True, False])
    predictions = [
        [tag if data.draw(keep) else data.draw(st.sampled_from(TAGS)) for tag in sentence]
        for sentence in targets
    ]
    scores = metrics.entity_scores(predictions, targets, average=average)
    if not scores.labels:  # where seqeval divides 0 by 0
        assert average is None or scores == ([], 0.0, 0.0, 0.0, 0)
        return
    oracle = seqeval.precision_recall_fscore_support(
        targets, predictions, average=average, zero_division=0
    )
    for ours, theirs in zip(scores[1:], oracle):
        np.testing.assert_allclose(ours, theirs)
    if average == "micro":
        assert scores == metrics.entity_scores(predictions, targets)


def test_entities_end_with_their_sentence():
    targets = [["O", "B-PER"], ["I-PER", "O"]]
    assert metrics.entity_scores(targets, targets).support == 2
    moved = [["O", "B-PER", "I-PER"], ["O"]]
    same_place = [["O", "B-PER"], ["I-PER", "O"], ["B-LOC"]]
    assert metrics.entity_scores(moved, [["O", "B-PER", "O"], ["B-PER"]]).f1 == 0
    assert metrics.entity_scores([*targets, ["O"]], same_place).recall == 2 / 3


WORDS = st.lists(st.sampled_from("abc"), max_size=9)
ITEMS = st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=1, max_size=3)), min_size=1, max_size=5)


def bleu_of_sacrebleu(hypotheses, references, *, max_order=4, smoothing="exp"):
    """Its references are columns, in which a missing one is None."""
    columns = itertools.zip_longest(*([" ".join(r) for r in choices] for choices in references))
    oracle = sacrebleu.BLEU(tokenize="none", smooth_method=smoothing, max_ngram_order=max_order)
    return oracle.corpus_score([" ".join(h) for h in hypotheses], [list(c) for c in columns]).score


@settings(properties, max_examples=300)
@given(items=ITEMS, max_order=st.integers(1, 5), smoothing=st.sampled_from(["exp", "none"]))
def test_bleu(items, max_order, smoothing):
    hypotheses, references = map(list, zip(*items))
    options = {"max_order": max_order, "smoothing": smoothing}
    ours = metrics.bleu(hypotheses, references, **options)
    assert type(ours) is float
    assert np.isclose(ours, bleu_of_sacrebleu(hypotheses, references, **options), rtol=1e-10)
    ids = [[ord(token) for token in tokens] for tokens in hypotheses]
    reference_ids = [[[ord(token) for token in r] for r in choices] for choices in references]
    assert ours == metrics.bleu(ids, reference_ids, **options)


@properties
@given(seed=SEEDS, n=st.integers(1, 10), n_reference=st.integers(1, 3))
def test_bleu_of_whole_sentences(seed, n, n_reference):
    """Sentences long enough that all orders match; the identical; counts many at a time."""
    rng = np.random.default_rng(seed)
    references = [
        [rng.integers(5, size=rng.integers(4, 20)).tolist() for _ in range(n_reference)]
        for _ in range(n)
    ]
    assert np.isclose(metrics.bleu([choices[-1] for choices in references], references), 100)
    hypotheses = [choices[0][: rng.integers(4, 20)] + [0] for choices in references]
    text = [[str(token) for token in h] for h in hypotheses]
    references_text = [[[str(t) for t in r] for r in choices] for choices in references]
    score = metrics.bleu(hypotheses, references)
    assert np.isclose(score, bleu_of_sacrebleu(text, references_text), rtol=1e-10)
    assert score > 0

    counts = metrics.bleu_counts(hypotheses, references)
    rows = rng.integers(n, size=(2, 3, n))
    many = metrics.bleu_from_counts(counts[rows].sum(-2))
    assert many.shape == (2, 3)
    drawn = [[x[i] for i in rows[1, 2]] for x in (hypotheses, references)]
    assert np.isclose(many[1, 2], metrics.bleu(*drawn))


@properties
@given(seed=SEEDS, n=st.integers(1, 60), n_bins=st.integers(1, 20))
def test_calibration_error(seed, n, n_bins):
    """As the paper writes it, bin by bin, also for confidences that lie on an edge."""
    rng = np.random.default_rng(seed)
    edges = np.linspace(0, 1, n_bins + 1)
    confidences = np.where(rng.random(n) < 0.5, rng.random(n), rng.choice(edges, size=n))
    right = rng.random(n) < 0.6
    ours = metrics.calibration_error(confidences, right, n_bins=n_bins)

    by_hand = 0.0
    for m in range(n_bins):
        inside = (confidences > edges[m]) & (confidences <= edges[m + 1])
        inside |= (m == 0) & (confidences == 0)  # the paper has no bin for it
        if inside.any():
            by_hand += inside.mean() * abs(right[inside].mean() - confidences[inside].mean())
    assert np.isclose(ours, by_hand)

    in_bins = np.searchsorted(edges[1:-1], confidences)
    share = np.unique(in_bins, return_counts=True)[1] / n
    accuracy, confidence = calibration_curve(right, confidences, n_bins=n_bins)
    assert np.isclose(ours, share @ np.abs(accuracy - confidence))
    assert metrics.calibration_error(confidences[None], right[None], n_bins=n_bins) == ours


@pytest.mark.parametrize("n", [150, 15_000])
def test_calibration_error_of_a_simulated_model(n):
    """One that is right as often as it says has nearly none, one too sure by 0.2 has 0.2."""
    rng = np.random.default_rng(n)
    bound = np.sqrt(15 / (4 * n))  # by Jensen and Cauchy-Schwarz, of the mean
    confidences = 0.2 + 0.8 * rng.random((40, n))
    calibrated = rng.random((40, n)) < confidences
    too_sure = rng.random((40, n)) < confidences - 0.2
    assert np.mean(list(map(metrics.calibration_error, confidences, calibrated))) < bound
    assert abs(np.mean(list(map(metrics.calibration_error, confidences, too_sure))) - 0.2) < bound
    assert metrics.calibration_error(calibrated, calibrated) == 0
    assert metrics.calibration_error(calibrated, ~calibrated) == 1


def test_paired_bootstrap_is_the_distribution_of_all_samples():
    """Four items have 4^4 equally likely samples: what is estimated can be counted."""
    n_samples, rng = 40_000, np.random.default_rng(0)
    for scores in rng.normal([[0.5], [0.0]], size=(5, 2, 4)):
        gain = scores[0] - scores[1]
        every = np.array([gain[list(s)].mean() for s in itertools.product(range(4), repeat=4)])
        share = min(np.mean(every <= 0), np.mean(every >= 0))
        found = metrics.paired_bootstrap(*scores, n_samples=n_samples, confidence=0.8, rng=rng)
        assert np.isclose(found.difference, gain.mean())
        assert abs(found.p_value - min(1, 2 * share)) < 2 * tolerance(share, n_samples) + 1e-4
        for end, quantile in ((found.low, 0.1), (found.high, 0.9)):
            slack = tolerance(quantile, n_samples)
            assert np.mean(every < end - 1e-9) <= quantile + slack
            assert np.mean(every <= end + 1e-9) >= quantile - slack


@properties
@given(seed=SEEDS, n_items=st.integers(2, 30), n_samples=st.integers(1, 50))
def test_laws_of_the_paired_bootstrap(seed, n_items, n_samples):
    a, b = np.random.default_rng(seed).normal(size=(2, n_items)).round(1)

    def compare(a, b, **options):
        rng = np.random.default_rng(seed)
        return metrics.paired_bootstrap(a, b, n_samples=n_samples, rng=rng, **options)

    found = compare(a, b)
    assert found.low <= found.high and 0 < found.p_value <= 1
    assert np.allclose(compare(b, a), [-found[0], -found[2], -found[1], found[3]])
    assert np.allclose(compare(a + 5, b + 5)[:3], found[:3])
    assert compare(a, a) == (0, 0, 0, 1)
    by_function = compare(lambda i: (a - b)[i].mean(), lambda i: 0.0, n_items=n_items)
    assert np.allclose(by_function, found)


def test_paired_bootstrap_takes_large_numbers_of_items_in_pieces(monkeypatch):
    a, b = np.random.default_rng(0).normal(size=(2, 50))
    whole = metrics.paired_bootstrap(a, b, n_samples=99, rng=np.random.default_rng(1))
    monkeypatch.setattr("minillm.metrics.comparison.N_INDICES", 333)
    assert whole == metrics.paired_bootstrap(a, b, n_samples=99, rng=np.random.default_rng(1))


def test_paired_bootstrap_covers_the_true_difference():
    """Its interval of a mean of normal scores is nearly that of Student's t without the t."""
    n_trials, n, rng = 600, 80, np.random.default_rng(0)
    covered, significant = 0, 0
    for _ in range(n_trials):
        shared, *noise = rng.normal(size=(3, n))
        a, b = 3 * shared + noise[0] + 0.3, 3 * shared + noise[1]
        found = metrics.paired_bootstrap(a, b, n_samples=1000, rng=rng)
        covered += found.low <= 0.3 <= found.high
        significant += metrics.paired_bootstrap(a - 0.3, b, n_samples=1000, rng=rng).p_value < 0.05
    expected = 1 - 2 * stats.t.sf(stats.norm.ppf(0.975) * np.sqrt((n - 1) / n), n - 1)
    assert 0.94 < expected < 0.95
    assert abs(covered / n_trials - expected) < tolerance(expected, n_trials)
    assert abs(significant / n_trials - (1 - expected)) < tolerance(expected, n_trials)


def test_paired_bootstrap_of_a_metric_of_the_corpus():
    """BLEU from counts and from the sentences themselves, on the same samples."""
    rng = np.random.default_rng(0)
    references = [[rng.integers(3, size=12).tolist()] for _ in range(20)]
    good = [[*choices[0][: rng.integers(9, 13)], 9] for choices in references]
    bad = [[*choices[0][:5], 9, *choices[0][6:]] for choices in references]

    def by_counts(hypotheses):
        counts = metrics.bleu_counts(hypotheses, references)
        return lambda rows: metrics.bleu_from_counts(counts[rows].sum(0))

    def by_sentences(hypotheses):
        return lambda rows: metrics.bleu(
            [hypotheses[i] for i in rows], [references[i] for i in rows]
        )

    found = [
        metrics.paired_bootstrap(
            of(good), of(bad), n_items=20, n_samples=50, rng=np.random.default_rng(1)
        )
        for of in (by_counts, by_sentences)
    ]
    assert np.allclose(*found)
    difference = metrics.bleu(good, references) - metrics.bleu(bad, references)
    assert np.isclose(found[0].difference, difference)
    assert 0 < found[0].low < difference < found[0].high
    assert np.isclose(found[0].p_value, 2 / 51)  # better in each of 50 samples


BAD = [
    ("a sum of 0.9", lambda: metrics.entropy([0.5, 0.4]), "expected probabilities"),
    ("negative", lambda: metrics.kl_divergence([0.5, 0.5], [1.5, -0.5]), "q is [ 1.5 -0.5]"),
    ("nan", lambda: metrics.entropy([np.nan, 1.0]), "sums to 1"),
    ("nothing", lambda: metrics.entropy([]), "sums to 1"),
    ("a number", lambda: metrics.entropy(1.0), "p is 1.0"),
    ("sizes", lambda: metrics.cross_entropy([1.0], [0.5, 0.5]), "1 outcomes and q 2"),
    ("unit", lambda: metrics.entropy([1.0], unit="bans"), "unit = 'bans'"),
    ("above 1", lambda: metrics.surprisal(1.5), "0 ... 1"),
    ("below 0", lambda: metrics.surprisal([0.5, -0.5]), "0 ... 1"),
    ("nan", lambda: metrics.surprisal(np.nan), "p = nan"),
    ("negative loss", lambda: metrics.perplexity(-0.1), "nats_per_token = -0.1"),
    ("negative loss", lambda: metrics.bits_per_byte(-1.0, 3), "nats_total = -1.0"),
    ("no bytes", lambda: metrics.bits_per_byte(1.0, 0), "n_bytes = 0"),
    ("no characters", lambda: metrics.bits_per_character(1.0, 0), "n_characters = 0"),
    ("shapes", lambda: metrics.accuracy([1, 2], [1]), "predictions has shape (2,), expected (1,)"),
    ("nothing counts", lambda: metrics.accuracy([1], [-100]), "no position counts"),
    ("nothing at all", lambda: metrics.accuracy([], []), "of 0 targets"),
    ("too many right", lambda: metrics.wilson_interval(4, 3), "n_right = 4, expected 0 <= n_right"),
    ("fewer than none", lambda: metrics.wilson_interval(-1, 3), "n_right = -1"),
    ("no trial", lambda: metrics.wilson_interval(0, 0), "n = 0"),
    ("confidence in %", lambda: metrics.wilson_interval(1, 3, confidence=95), "confidence = 95"),
    ("average", lambda: metrics.class_scores([1], [1], average="weighted"), "average = 'weighted'"),
    ("no label", lambda: metrics.class_scores([1], [1], labels=[]), "labels = []"),
    ("shapes", lambda: metrics.class_scores([1, 2], [1]), "predictions has shape (2,)"),
    ("above 1", lambda: metrics.calibration_error([1.1], [True]), "confidences = [1.1]"),
    ("nan", lambda: metrics.calibration_error([np.nan], [True]), "0 ... 1"),
    ("nothing", lambda: metrics.calibration_error([], []), "at least one answer"),
    ("shapes", lambda: metrics.calibration_error([0.5], [1, 0]), "right has shape (2,)"),
    ("labels for right", lambda: metrics.calibration_error([0.5], [3]), "right = [3]"),
    ("no bins", lambda: metrics.calibration_error([0.5], [1], n_bins=0), "n_bins = 0"),
    ("no tag", lambda: metrics.entities(["O", "PER"]), "tags[1] = 'PER', expected O, or B-"),
    ("an id for a tag", lambda: metrics.entities([3]), "tags[0] = 3"),
    ("outside of what", lambda: metrics.entities(["O-PER"]), "tags[0] = 'O-PER'"),
    ("no sentence", lambda: metrics.entity_scores([], []), "0 predictions and 0 targets"),
    ("sentences", lambda: metrics.entity_scores([["O"]], [["O"], []]), "1 predictions and 2"),
    ("lengths", lambda: metrics.entity_scores([["O"]], [["O", "O"]]), "predictions[0] has 1 tags"),
    ("average", lambda: metrics.entity_scores([["O"]], [["O"]], average="mean"), "average = 'mean"),
    ("nothing", lambda: metrics.bleu([], []), "0 hypotheses and 0 references"),
    ("items", lambda: metrics.bleu([["a"]], []), "1 hypotheses and 0 references"),
    ("no reference", lambda: metrics.bleu([["a"], ["b"]], [[["a"]], []]), "references[1] is empty"),
    ("n-grams", lambda: metrics.bleu([["a"]], [[["a"]]], max_order=0), "max_order = 0"),
    ("smoothing", lambda: metrics.bleu([["a"]], [[["a"]]], smoothing="floor"), "smoothing = "),
    ("counts", lambda: metrics.bleu_from_counts([3, 3, 3]), "counts has shape (3,)"),
    ("unpaired", lambda: bootstrap([1, 2], [1, 2, 3]), "b has shape (3,), expected (2,)"),
    ("not a list", lambda: bootstrap([[1, 2]], [[1, 2]]), "a has shape (1, 2), expected (2,)"),
    ("n_items", lambda: bootstrap([1, 2], [1, 2], n_items=3), "a has shape (2,), expected (3,)"),
    ("no items", lambda: bootstrap([], []), "n_items = 0"),
    ("one item", lambda: bootstrap([1], [2]), "n_items = 1, expected 2 <= n_items"),
    ("nan", lambda: bootstrap([1, np.nan], [1, 2]), "nan or infinity"),
    ("infinite", lambda: bootstrap([1, np.inf], [1, np.inf]), "nan or infinity"),
    ("no samples", lambda: bootstrap([1, 2], [2, 1], n_samples=0), "n_samples = 0"),
    ("confidence", lambda: bootstrap([1, 2], [2, 1], confidence=1.0), "confidence = 1"),
    ("undefined", lambda: bootstrap(lambda i: np.nan, lambda i: 0, n_items=3), "on some samples"),
]  # fmt: skip
BAD_TYPES = [
    ("a share", lambda: metrics.wilson_interval(0.87, 100), "n_right = 0.87, expected an integer"),
    ("n", lambda: metrics.wilson_interval(1, 2.5), "n = 2.5"),
    ("a string", lambda: metrics.entity_scores(["O"], ["O"]), "predictions[0] = 'O', expected the"),
    ("text", lambda: metrics.bleu(["a b"], [[["a", "b"]]]), "item 0: 'a b', expected a list"),
    ("one reference", lambda: metrics.bleu([["a"]], [["a"]]), "a list of such lists as references"),
    ("ids", lambda: metrics.bleu([[3]], [[3]]), "item 0: 3, expected a list"),
    ("an array", lambda: metrics.bleu([np.arange(2)], [[[0, 1]]]), "item 0: array([0, 1])"),
    ("one of each", lambda: bootstrap([1, 2], lambda i: 0), "not one of each"),
    ("no n_items", lambda: bootstrap(lambda i: 0, lambda i: 0), "n_items = None"),
    ("bins", lambda: metrics.calibration_error([0.5], [1], n_bins=1.5), "n_bins = 1.5"),
]  # fmt: skip


def bootstrap(a, b, **options):
    return metrics.paired_bootstrap(a, b, rng=np.random.default_rng(0), **options)


@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        pytest.param(error, call, message, id=f"{error.__name__}: {name}")
        for error, table in ((ValueError, BAD), (TypeError, BAD_TYPES))
        for name, call, message in table
    ],
)
def test_bad_input(error, call, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
