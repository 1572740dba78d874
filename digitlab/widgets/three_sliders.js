// A curve a·t² + b·t + c through measured speeds: first you move a, b and c, then the slopes of the loss do.
// State: time and speed, two lists; a, b and c to start from; lr, the learning rate of "Take a step".
import { draw, make, makePlot, makeRoot, makeSlider, sign } from './look.js'

const NAMES = ['a', 'b', 'c']
const big = v => sign(Math.abs(v) >= 1e7 ? v.toExponential(2)
  : Math.abs(v) >= 100 ? Math.round(v).toLocaleString('en-US') : v.toFixed(1))
const small = v => sign(v === 0 ? '0'
  : Math.abs(v) >= 1e5 || Math.abs(v) < 1e-4 ? v.toExponential(1) : v.toFixed(4))

// The mean squared error of the curve, and its slopes in a, b and c.
export function lossAndSlopes(time, speed, [a, b, c]) {
  let loss = 0
  const slopes = [0, 0, 0], n = time.length
  time.forEach((t, i) => {
    const error = a * t * t + b * t + c - speed[i]
    loss += error * error / n
    for (const [k, power] of [t * t, t, 1].entries()) slopes[k] += 2 * error * power / n
  })
  return { loss, slopes }
}

// A parabola that falls by the height of the data and rises again has a = 4h/w², b = 4h/w and c = h:
// each slider reaches about twice as far, and at least to where it starts.
export function ranges(time, speed, start) {
  const w = Math.max(...time) - Math.min(...time) || 1
  const h = Math.max(...speed) - Math.min(0, ...speed) || 1
  return [8 * h / w ** 2, 8 * h / w, 2 * h].map((far, i) => {
    const least = Math.max(far, Math.abs(start[i])), unit = 10 ** Math.floor(Math.log10(least))
    return { far: Math.ceil(least / unit) * unit, step: unit / 100 }
  })
}

function render({ model, el }) {
  const root = makeRoot('digitlab-three', el)
  const [time, speed, lr] = ['time', 'speed', 'lr'].map(key => model.get(key))
  const start = NAMES.map(name => model.get(name) ?? 0), limits = ranges(time, speed, start)
  make('style', '', root, `
.digitlab-three .row { display: grid; grid-template-columns: minmax(0, 1fr) 17em; gap: 0 16px; align-items: center }
.digitlab-three .loss { font-size: 26px; font-weight: 700; line-height: 1.2 }
.digitlab-three .top { display: flex; flex-wrap: wrap; gap: 4px 24px; align-items: baseline; min-height: 2.4em }
.digitlab-three .below { display: flex; flex-wrap: wrap; gap: 8px 12px; margin-top: 8px; align-items: center }
.digitlab-three .error { stroke: var(--dl-red); stroke-width: 1; opacity: .45 }
.digitlab-three .slope { opacity: .85 }
@container (max-width: 560px) { .digitlab-three .row { grid-template-columns: 1fr } .digitlab-three .slope { padding-left: 1.5em } }`)
  const top = make('div', 'top', root), loss = make('span', 'loss', top), best = make('span', '', top)
  const low = Math.min(...time), high = Math.max(...time), edge = 0.03 * (high - low)
  const fast = Math.max(...speed) || 1
  const { box, X, Y, line } = makePlot(root, { x: [low - edge, high + edge], y: [-fast, 1.4 * fast],
    xlabel: 'time (s)', ylabel: 'speed (km/h)',
    label: 'The measured speeds as points, and the curve of a, b and c. The loss says how far apart they are.' })
  const errors = time.map(() => draw('line', { class: 'error' }, box))
  const curve = draw('path', { class: 'curve' }, box)
  time.forEach((t, i) => draw('circle', { class: 'point', cx: X(t), cy: Y(speed[i]), r: 4 }, box))
  const rows = NAMES.map((name, i) => {
    const row = make('div', 'row', root), { far, step } = limits[i]
    const label = `${name}, the factor of ${['t squared', 't', '1'][i]}`
    const show = makeSlider(row, { name, label, min: -far, max: far, step, text: small },
      value => { params[i] = value; update('hand') })
    return { show, slope: make('span', 'slope', row) }
  })
  const below = make('div', 'below', root), step = make('button', '', below, 'Take a step')
  const reset = make('button', '', below, 'Reset')
  make('span', '', below, `learning rate ${sign(lr)}`)
  const said = make('p', '', root)
  said.setAttribute('role', 'status') // read aloud when it changes
  let params = [...start], least = Infinity, taken = 0, saying

  function update(by, moves) {
    const { loss: now, slopes } = lossAndSlopes(time, speed, params), [a, b, c] = params
    const at = t => a * t * t + b * t + c
    const fine = Array.from({ length: 81 }, (_, i) => low + (high - low) * i / 80)
    least = Math.min(least, Number.isNaN(now) ? Infinity : now)
    loss.textContent = `loss ${big(now)}`
    best.textContent = `best so far ${big(least)}`
    curve.setAttribute('d', line(fine.map(t => [t, at(t)])))
    time.forEach((t, i) => {
      const ends = { x1: X(t), x2: X(t), y1: Y(speed[i]), y2: Y(at(t)) }
      for (const [key, value] of Object.entries(ends)) errors[i].setAttribute(key, value)
    })
    rows.forEach(({ show, slope }, i) => {
      show(params[i])
      const [word, arrow] = slopes[i] > 0 ? ['lower', '\u25c0'] : ['raise', '\u25b6']
      slope.textContent = `slope ${big(slopes[i])}: ${word} ${NAMES[i]} ${arrow}`
      model.set(NAMES[i], params[i])
    })
    model.save_changes()
    const say = text => { said.textContent = text }
    clearTimeout(saying)
    if (moves) say(`Step ${taken} moved ${NAMES.map((name, i) => `${name} by ${small(moves[i])}`).join(', ')}.`)
    else if (by === 'hand') saying = setTimeout(say, 400, `Loss ${big(now)}, best so far ${big(least)}.`)
    else say('Move a, b and c, and make the loss small.')
  }
  step.addEventListener('click', () => {
    const moves = lossAndSlopes(time, speed, params).slopes.map(slope => -lr * slope)
    params = params.map((p, i) => p + moves[i])
    taken += 1
    update('step', moves)
  })
  reset.addEventListener('click', () => {
    params = [...start]
    least = Infinity
    taken = 0
    update('reset')
  })
  for (const button of [step, reset]) button.type = 'button'
  update('start')
  return () => clearTimeout(saying)
}

export default { render }
