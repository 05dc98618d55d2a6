"""Language models by hand: every forward and every backward pass in NumPy.

`functional` holds the formulas, `parameter` what is trained, `optim` the rules that train it,
`gradcheck` the proof that a gradient is right. `minillm.torch_nn` has the twins.
"""
