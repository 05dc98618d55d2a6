"""minillm: a small language-model package, by hand in NumPy and again in PyTorch.

The data's way, and where each part of it lives:

    text ─ tokens ─ batches ─ model ─ loss ─ gradients ─ update ─ evaluation ─ generation

=======================  ==============================================================
`minillm.data`           the data sets: registry, verified download, offline stand-ins
`minillm.tokenizer`      text to ids and back: characters, words, byte pairs
`minillm.batches`        what a model is given: ids, targets, masks
`minillm.words`          words, their windows and counts: what word vectors learn from
`minillm.tokens`         a text on the disk, and windows of it to train on
`minillm.config`         what a model, or a run, is made of: a checked record for each
`minillm.numpy_nn`       by hand, forward and backward: `functional`, `layers`, `recurrent`,
                         `attention`, `transformer`, `lora`, `models`, `word_vectors`,
                         `optim`, `gradcheck`
`minillm.torch_nn`       the twins: the same names, gradients from autograd
`minillm.schedules`      the learning rate over time
`minillm.distributed`    several processes that train one model
`minillm.weights`        copied between the halves, saved, loaded; `minillm.safetensors`
                         is the file format, `minillm.checkpoints` loads GPT-2 and Llama
`minillm.train`          one loop for both halves, which may be killed and goes on
`minillm.generate`       text from a model: drawn token by token, or searched for
`minillm.metrics`        perplexity, bits per byte, F1, BLEU, calibration, intervals
`minillm.plots`          the book's one figure style
`minillm.live`           live controls that also work in a page without a kernel
`minillm.exercise`       checks answers to exercises; `minillm.exercises` are those that ask to
                         build a piece again; `minillm.quiz` asks questions
`minillm.notebook`       what every notebook does first
`minillm.doctor`         does everything work on this machine?
=======================  ==============================================================

Each is imported by its name, ``from minillm.numpy_nn import functional``. ``import minillm``
alone loads none of them, so it needs neither PyTorch nor matplotlib.
"""
