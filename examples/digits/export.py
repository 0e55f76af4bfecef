#!/usr/bin/env python3
"""Writes digits.csv.gz from scikit-learn's copy of the UCI optical digits. The bytes come out the same every time.

    python3 -m venv /tmp/digits && /tmp/digits/bin/pip install scikit-learn && /tmp/digits/bin/python export.py
"""

import gzip
import io
import pathlib

from sklearn.datasets import load_digits

digits = load_digits()
table = io.StringIO()
table.write(",".join(f"p{row}{column}" for row in range(8) for column in range(8)) + ",digit\n")
for pixels, digit in zip(digits.data.astype(int), digits.target):
    table.write(",".join(map(str, pixels)) + f",{digit}\n")

# Neither a name nor a time in the header, so that the file depends on the data alone.
target = pathlib.Path(__file__).with_name("digits.csv.gz")
with target.open("wb") as file, gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=9, mtime=0) as packed:
    packed.write(table.getvalue().encode())
print(f"{target}: {len(digits.target)} images, {target.stat().st_size} bytes")
