"""Entities in tagged sentences: which are there, and how well were they found?

A tag is O (outside), or B-, I-, E- or S- and a type: the beginning, inside or end of an entity, or
a single token that is one. What a model predicts need not make sense, I-PER after O, say; this is
read generously, as the CoNLL shared tasks did.
"""

from collections import Counter

from .labels import scores_from_counts


def entities(tags):
    """The entities in the tags of one sentence: tags (T,) -> list of (type, start, end).

    An entity begins at a B- or S-, and also at any I- or E- that cannot go on with what is before
    it: after O, after E- or S-, or after another type.

    Parameters
    ----------
    tags : list of str
        "O", or "B-", "I-", "E-" or "S-" and a type. Without one the type is "_".

    Returns
    -------
    list of (str, int, int)
        Type, first position, and the position after the last.

    Raises
    ------
    ValueError
        If a tag is none of these.

    References
    ----------
    Ramshaw & Marcus 1995 for the tags; Tjong Kim Sang & De Meulder 2003. As ``seqeval`` reads them
    unless told to be strict.

    Examples
    --------
    >>> entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC", "I-PER"])
    [('PER', 0, 2), ('LOC', 3, 4), ('LOC', 4, 5), ('PER', 5, 6)]
    """
    found = []
    start, last, last_type = 0, "O", ""
    for i, tag in enumerate([*tags, "O"]):  # an O more ends what is open at the end
        kind, _, type_ = str(tag).partition("-")
        if tag != "O" and kind not in ("B", "I", "E", "S"):
            raise ValueError(f"tags[{i}] = {tag!r}, expected O, or B-, I-, E- or S- and a type")
        begins = tag != "O" and (kind in "BS" or last in "OES" or type_ != last_type)
        if last != "O" and (begins or tag == "O"):
            found.append((last_type or "_", start, i))
        if begins:
            start = i
        last, last_type = kind, type_
    return found


def entity_scores(predictions, targets, *, average="micro"):
    """Precision, recall and F1 of the entities in tagged sentences: -> `Scores`.

    An entity is right if its type, beginning and end all are. The "entity F1" of the literature is
    ``entity_scores(predictions, targets).f1``. With no entity on either side it is 0.

    Parameters
    ----------
    predictions, targets : list of list of str
        The tags of each sentence, as `entities` takes them.
    average : "micro", "macro" or None
        Over all entities, the mean over their types, or a number for each type.

    Raises
    ------
    TypeError
        If a sentence is not a list.
    ValueError
        If there is no sentence, their numbers or lengths differ, a tag is none, or the average is
        unknown.

    References
    ----------
    Tjong Kim Sang & De Meulder 2003. As ``seqeval`` in its default mode.

    Examples
    --------
    >>> targets = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-LOC"]]
    >>> predictions = [["B-PER", "I-PER", "O", "B-PER"], ["O", "B-LOC"]]
    >>> scores = entity_scores(predictions, targets)  # 2 of 3 right, 2 of 3 found
    >>> round(scores.f1, 4), scores.support
    (0.6667, 3)
    """
    if not len(targets) or len(predictions) != len(targets):
        n = f"{len(predictions)} predictions and {len(targets)} targets"
        raise ValueError(f"{n}, expected as many sentences in both, and at least one")
    for i, (predicted, true) in enumerate(zip(predictions, targets)):
        for name, tags in (("predictions", predicted), ("targets", true)):
            if not isinstance(tags, (list, tuple)):
                raise TypeError(f"{name}[{i}] = {tags!r}, expected the list of a sentence's tags")
        if len(predicted) != len(true):
            raise ValueError(f"predictions[{i}] has {len(predicted)} tags, targets {len(true)}")
    predicted, true = (
        {(i, *entity) for i, tags in enumerate(side) for entity in entities(tags)}
        for side in (predictions, targets)
    )
    types = sorted({type_ for _, type_, _, _ in predicted | true})
    counts = [Counter(type_ for _, type_, _, _ in x) for x in (predicted & true, predicted, true)]
    return scores_from_counts(types, [[n[type_] for type_ in types] for n in counts], average)


__all__ = ["entities", "entity_scores"]
