"""minillm: a small language-model package, by hand in NumPy and again in PyTorch.

The data's way, and where each part of it lives:

    text ─ tokens ─ batches ─ model ─ loss ─ gradients ─ update ─ evaluation ─ generation

=======================  ==============================================================
`minillm.data`           the data sets: registry, verified download, offline stand-ins
`minillm.numpy_nn`       by hand, forward and backward: `functional`, `optim`, `gradcheck`
`minillm.torch_nn`       the twins: the same names, gradients from autograd
`minillm.metrics`        entropy, perplexity, bits per byte, accuracy
`minillm.plots`          the book's one figure style
`minillm.live`           live controls that also work in a page without a kernel
`minillm.exercise`       checks answers to exercises; `minillm.quiz` asks questions
`minillm.notebook`       what every notebook does first
=======================  ==============================================================

Each is imported by its name, ``from minillm.numpy_nn import functional``. ``import minillm``
alone loads none of them, so it needs neither PyTorch nor matplotlib.
"""
