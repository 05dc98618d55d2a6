"""The twins of `minillm.numpy_nn` in PyTorch: the same names and arguments, written out.

``diff minillm/numpy_nn/functional.py minillm/torch_nn/functional.py`` shows what autograd saves.
"""
