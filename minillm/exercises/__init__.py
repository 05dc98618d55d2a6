"""Checkers for the exercises that ask to build a piece again, and what a course grades with.

Each module belongs to a chapter and holds one `minillm.exercise.Exercise` for each piece:

    from minillm.exercises.encoder import check_attention

    check_attention(my_attention)
"""
