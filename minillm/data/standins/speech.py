"""Spoken digits as a sum of tones: a voice's harmonics, louder near two resonances of the mouth."""

import io
import wave

import numpy as np

RATE = 8_000  # samples a second
PITCH = {"nicolas": 120.0, "theo": 145.0, "yweweler": 105.0}  # hertz
VOWELS = {  # the two resonances in hertz; "s" is noise
    "i": (300, 2300),
    "e": (500, 1900),
    "a": (750, 1200),
    "o": (500, 900),
    "u": (320, 800),
    "n": (250, 1400),
    "s": (0, 0),
}
DIGITS = ["siou", "uan", "tu", "sri", "foo", "faif", "siks", "sevn", "eit", "nain"]
SOUNDS = {"t": "s", "f": "s", "k": "s", "r": "o", "v": "u"}  # sounds that are near enough to these


def fsdd(dataset):
    """The recordings of the real set by name: each digit a series of sounds, each voice a pitch."""
    return {
        file.name: _recording(*file.name.removesuffix(".wav").split("_")) for file in dataset.files
    }


def _recording(digit, speaker, index):
    """A WAV file; `index` varies pitch, speed and loudness."""
    rng = np.random.default_rng([int(digit), list(PITCH).index(speaker), int(index)])
    pitch = PITCH[speaker] * rng.uniform(0.94, 1.06)
    stretch = rng.uniform(0.8, 1.2)
    sound = np.concatenate([_sound(s, pitch, stretch, rng) for s in DIGITS[int(digit)]])
    fade = np.minimum(1, np.minimum(np.arange(sound.size), np.arange(sound.size)[::-1]) / 200)
    sound = sound * fade * rng.uniform(0.2, 0.6) + rng.normal(0, 0.002, sound.size)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def _sound(letter, pitch, stretch, rng):
    """About 90 ms of one sound, shape (n_samples,), at most about 1."""
    first, second = VOWELS[SOUNDS.get(letter, letter)]
    n = int(0.09 * stretch * RATE)
    if not first:
        return rng.normal(0, 0.15, n)
    harmonics = pitch * np.arange(1, int(3_500 / pitch))  # (n_harmonics,)
    near = [np.exp(-(((harmonics - f) / 180) ** 2)) for f in (first, second)]
    loudness = near[0] + 0.5 * near[1]  # (n_harmonics,)
    heard = loudness > 0.02
    time = np.arange(n) / RATE  # (n_samples,)
    tones = np.sin(2 * np.pi * time[:, None] * harmonics[heard])  # (n_samples, n_heard)
    return tones @ loudness[heard] / loudness.sum()
