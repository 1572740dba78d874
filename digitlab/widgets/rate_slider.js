// Gradient descent on y = x², with the learning rate under your finger.
// State: start, the first x; lr, the learning rate; steps, how many are taken.
import { draw, make, makePlot, makeRoot, makeSlider, sign } from './look.js'

const number = v => Math.abs(v) < 5e-5 ? '0.0000' : sign(v.toFixed(4))

// Where the steps lead: x and the loss at the end, and what to call it. Each step takes lr*2x from x,
// so it multiplies x by 1 - 2*lr.
export function descent(start, lr, steps) {
  const factor = 1 - 2 * lr, xs = Array.from({ length: steps + 1 }, (_, n) => start * factor ** n)
  const left = factor ** (2 * steps) // the share of the loss that is left
  const rounded = Number(factor.toFixed(6)), share = `${(200 * lr).toFixed(0)}%`
  const slow = left > 0.05
  const [word, why] = rounded < -1 ? ['diverging', 'It flies off: each jump lands farther away than the last.']
    : rounded === -1 ? ['bouncing', 'It jumps from side to side forever and gets no lower.']
      : rounded < 0 ? ['zigzag', `It jumps from side to side and still arrives${slow ? ', but slowly' : ''}.`]
        : rounded === 0 ? ['one step', 'A single step lands on the bottom. Only a parabola is that kind.']
          : slow ? ['too small', `It creeps down one side: each step covers just ${share} of what is left.`]
            : ['good', 'It walks down one side and slows as the slope does.']
  return { xs, x: xs[steps], loss: xs[steps] ** 2, factor, word, why }
}

function render({ model, el }) {
  const root = makeRoot('digitlab-rate', el)
  const start = model.get('start') ?? -1.5, steps = model.get('steps') ?? 10
  make('style', '', root, `.digitlab-rate .word { font-weight: 700 }
.digitlab-rate .first { fill: none; stroke: var(--dl-red); stroke-width: 2 }`)
  const far = 1.4 * Math.abs(start) || 2
  const curve = Array.from({ length: 81 }, (_, i) => far * (i / 40 - 1)).map(x => [x, x * x])
  const { box, X, Y, line } = makePlot(root, {
    x: [-far, far], y: [-0.04 * far ** 2, far ** 2], xlabel: 'x', ylabel: 'loss = x²',
    label: 'The curve of x squared, and the points that gradient descent visits. The text says where they go.' })
  draw('path', { class: 'curve', d: line(curve) }, box)
  const path = draw('path', { class: 'path' }, box), points = draw('g', {}, box)
  const show = makeSlider(root, { name: 'learning rate', label: 'learning rate',
    min: 0.01, max: 1.1, step: 0.01, text: v => v.toFixed(2) }, moved)
  const said = make('p', 'said', root)
  said.setAttribute('role', 'status')

  function update(lr) {
    const { xs, x, loss, factor, word, why } = descent(start, lr, steps)
    path.setAttribute('d', line(xs.map(v => [v, v * v])))
    points.replaceChildren()
    xs.forEach((v, n) => {
      draw('circle', { class: n ? 'point' : 'first', cx: X(v), cy: Y(v * v), r: n ? 4.5 : 6 }, points)
    })
    show(lr)
    said.replaceChildren()
    make('span', 'word', said, word[0].toUpperCase() + word.slice(1))
    said.append(`: each step multiplies x by ${sign(factor.toFixed(2))}. After ${steps} steps x is `
      + `${number(x)} and the loss ${number(loss)}. ${why}`)
  }
  function moved(lr) {
    update(lr)
    model.set('lr', lr)
    model.save_changes()
  }
  update(model.get('lr') ?? 0.1)
}

export default { render }
