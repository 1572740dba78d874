"Writes docs/questions.md: which notebook asks about what. The questions are those of the notebooks, found by how they begin."
import json, re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOPICS = """\
How grey and colour images are stored | 01 | How is a grey image stored
The layout of the folders, and why | 01 | How are the files of the data set arranged
List comprehensions | 01 | What does `[x + 1 for x
Rank and shape | 01 | What are the rank and the shape
A corner of a 3 by 3 tensor | 01 | `t` has three rows
Why not loop | 01 | Why are calculations on many numbers
Broadcasting | 01 | What is broadcasting?
L1 and RMSE | 02 | What are L1, MSE and RMSE
Which images a metric is computed on | 02 | On which images do you compute a metric
Stochastic gradient descent | 03 | What is stochastic gradient descent
The seven steps | 03 | Name the seven steps
Initialising the parameters | 03 | How are the parameters initialised
What a loss has to do | 03 | What does a loss have to do
Gradients | 03 | What is a gradient
`backward` | 03 | What does `backward` do
Zeroing gradients | 03 | Why must gradients be zeroed
The update rule | 03 | Write the update rule
A learning rate that is too high | 03 | What do you see when the rate
Accuracy as a loss | 04 | Why can't you train on accuracy
The shape of the sigmoid | 04 | What is the shape of the sigmoid
Loss against metric | 04 | What is the difference between a loss and a metric
`DataLoader` | 04 | What does a `DataLoader` do
Mini-batches | 04 | Why mini-batches
An epoch in pseudocode | 04 | Write an epoch as pseudocode
Pairing two lists | 04 | How do you make a list of pairs
`view` | 04 | What does `view` do
The bias | 04 | What is the bias for
`@` | 04 | What does `@` do
What a learner needs | 04 | What does a learner need
ReLU, and activation functions | 04 | What is ReLU
Why linear layers alone don't add up | 04 | Two linear layers follow
`F.relu` and `nn.ReLU` | 04 | What is the difference between `F.relu`
Why more layers than one | 04 | Two layers with enough units
Choosing an activation function | 05 | What is an activation function"""
HEAD = """\
# Where each question is asked

Every notebook ends with a questionnaire whose answers are folded, and with exercises whose answers check themselves. These are the
questions that a chapter on this subject should leave you able to answer, in the order of the series.

| about | question | where |
|---|---|---|
"""

def questions_of(path): # a notebook
    "The questions of its questionnaire, in order"
    cells = [''.join(cell['source']) for cell in json.loads(path.read_text(encoding='utf-8'))['cells']]
    return re.findall(r'^\d+\. (.+?)\s*$', cells[cells.index('## Questionnaire') + 1], re.M)

def row(topic, number, start):
    [path] = (ROOT/'nbs').glob(f'{number}_*.ipynb')
    asked = questions_of(path)
    found = [i for i, question in enumerate(asked, 1) if question.startswith(start)]
    if len(found) != 1: raise ValueError(f'{len(found)} questions of {path.name} begin with {start!r}, expected one; mend .ci/questions.py')
    question = asked[found[0] - 1].replace('|', '\\|')
    return f'| {topic} | {question} | [{path.stem}](../nbs/{path.name}#questionnaire), question {found[0]} |\n'

def page(): return HEAD + ''.join(row(*line.split(' | ')) for line in TOPICS.splitlines())

if __name__ == '__main__': (ROOT/'docs'/'questions.md').write_text(page(), encoding='utf-8')
