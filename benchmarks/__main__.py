"""Run the benchmarks with 1 and with 2 threads, and append the results to results.csv.

python -m benchmarks                      all of them
python -m benchmarks lstm_step bpe        some
"""

import os
import subprocess
import sys

ONE, TWO = ("1",), ("1", "2")
THREADS = {  # with how many each is worth running
    "numpy_torch": TWO, "transformer_step": TWO, "lstm_step": TWO, "generation": ONE, "bpe": ONE,
    "word2vec": TWO, "training": ONE,
}  # fmt: skip
LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main():
    names = sys.argv[1:] or list(THREADS)
    unknown = sorted(set(names) - set(THREADS))
    if unknown:
        sys.exit(f"usage: python -m benchmarks [{' '.join(THREADS)}], not {unknown[0]!r}")
    for name in names:
        for threads in THREADS[name]:  # a process each: BLAS reads its limit once, when loaded
            env = os.environ | dict.fromkeys(LIMITS, threads)
            print(f"\n== {name}, {threads} thread{'s' * (threads != '1')} ==", flush=True)
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], env=env, check=True)


if __name__ == "__main__":
    main()
