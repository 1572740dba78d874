// Ten scores under your fingers: softmax makes probabilities of them, and three losses judge the result.
// State: logits, the scores to start from; label, the right class.
import { make, makeRoot, makeSlider, sign } from './look.js'
import { LOSSES, softmax } from './nn.js'

const THREE = ['sigmoid + MSE', 'softmax + MSE', 'cross-entropy']

// The probabilities, and for each loss its value and how hard it pulls the right score up (minus its slope).
export function judge(logits, label) {
  const losses = THREE.map(name => {
    const slopes = [], value = LOSSES[name](logits, label, slopes)
    return { name, value, pull: -slopes[label] }
  })
  return { probs: softmax(logits), losses }
}

const small = v => v === 0 || v >= 5e-5 ? v.toFixed(4) : sign(v.toExponential(0))

function render({ model, el }) {
  const root = makeRoot('digitlab-softmax', el)
  make('style', '', root, `
.digitlab-softmax .row { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 0 12px; align-items: center }
.digitlab.digitlab-softmax .slider .value { width: 3em }
.digitlab-softmax .right .name { color: var(--dl-red); font-weight: 700 }
.digitlab-softmax .bar { display: flex; align-items: center; gap: 6px }
.digitlab-softmax .fill { height: 16px; background: var(--dl-blue); min-width: 1px }
.digitlab-softmax .right .fill { background: var(--dl-red) }
.digitlab-softmax table { margin: 10px 0; border-collapse: collapse }
.digitlab-softmax :is(td, th) { padding: 2px 18px 2px 0; text-align: left; background: none; border: 0 }
.digitlab-softmax .head { opacity: .75 }`)
  const label = model.get('label') ?? 0
  let logits = [...model.get('logits')]
  const start = [...logits]
  const head = make('div', 'row head', root)
  make('span', '', head, 'class and score')
  make('span', '', head, 'probability')
  const rows = logits.map((_, d) => {
    const row = make('div', d === label ? 'row right' : 'row', root)
    const show = makeSlider(row, { name: `${d}`, label: `score of ${d}${d === label ? ', the right one' : ''}`,
      min: -12, max: 12, step: 0.5, text: v => sign(v) }, value => { logits[d] = value; update() })
    const bar = make('div', 'bar', row)
    return { show, fill: make('div', 'fill', bar), said: make('span', '', bar) }
  })
  const table = make('table', '', root), cells = []
  const titles = make('tr', '', make('thead', '', table)), body = make('tbody', '', table)
  for (const text of ['loss', 'value', `pull on the ${label}`]) make('th', '', titles, text)
  for (const name of THREE) {
    const line = make('tr', '', body)
    make('td', '', line, name)
    cells.push([make('td', '', line), make('td', '', line)])
  }
  const reset = make('button', '', root, 'Reset')
  reset.type = 'button'
  reset.addEventListener('click', () => { logits = [...start]; update() })

  function update() {
    const { probs, losses } = judge(logits, label)
    rows.forEach(({ show, fill, said }, d) => {
      show(logits[d])
      fill.style.width = `${60 * probs[d]}%`
      said.textContent = probs[d].toFixed(2)
    })
    losses.forEach(({ value, pull }, i) => {
      cells[i][0].textContent = value.toFixed(4)
      cells[i][1].textContent = small(pull)
    })
    model.set('logits', [...logits])
    model.save_changes()
  }
  update()
}

export default { render }
