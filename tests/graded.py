"""What the tests of all graded exercises share."""


def verdict(check, answer, capsys):
    """What a checker prints on an answer."""
    check(answer)
    return capsys.readouterr().out


def check_no_answer(check, capsys):
    """No answer is called that, and an answer that raises is told what it raised."""
    for empty in (..., None, lambda *given: ...):
        assert "not answered yet" in verdict(check, empty, capsys)

    def raises(*given):
        raise IndexError("out of range")

    assert "IndexError" in verdict(check, raises, capsys)
