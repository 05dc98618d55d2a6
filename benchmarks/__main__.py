"""Run all benchmarks with 1 and with 2 threads, and append the results to results.csv.

    python -m benchmarks
"""

import os
import subprocess
import sys

THREADS = ("1", "2")
LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main():
    if len(sys.argv) > 1:
        sys.exit("usage: python -m benchmarks")
    for threads in THREADS:  # a process each: BLAS reads its limit once, when it is loaded
        env = os.environ | dict.fromkeys(LIMITS, threads)
        subprocess.run([sys.executable, "-m", "benchmarks.numpy_torch"], env=env, check=True)


if __name__ == "__main__":
    main()
