"""Many questions, many methods, many budgets: answers, metrics with intervals, tables and a report.

```python
from trimviz import load
from trimviz.evaluate.data import read
from trimviz.evaluate.evaluation import evaluate
from trimviz.evaluate.settings import settings

chosen = settings(["trimtokenator", "divprune"], keeps=["192", "64"])
summary = evaluate(load("tiny"), read(["tiny"], n=100), chosen, "out", metrics=["exact"])
```
"""
