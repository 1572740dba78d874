// Train a small network on the page and watch its weights.
// State: network, the choice to start with (linear, hidden or stalled); digits, as readDigits in nn.js has them,
// or the address of a file with them. At every measurement `read` is set to a function from 784 pixels to ten
// probabilities, so that something else on the page can let the network read what is drawn.
import { draw, make, makePlot, makeRoot } from './look.js'
import { ask, evaluating, LOSSES, makeNetwork, readDigits, timeLeft, training } from './nn.js'

const CHOICES = {
  linear: { name: '784-10', sizes: [784, 10], start: 0.01, loss: 'cross-entropy', lr: 0.1, bs: 50 },
  hidden: { name: '784-64-10', sizes: [784, 64, 10], start: 'he', loss: 'cross-entropy', lr: 0.1, bs: 50 },
  stalled: { name: '784-128-10, stalled', sizes: [784, 128, 10], start: 1, loss: 'where-loss', lr: 50, bs: 100 },
}
const STARTS = { 0.01: 'size 0.01', 1: 'size 1', he: 'Kaiming (He)' }
const PASSES = 20, LEAST = 500 // milliseconds for a pass, so that one can watch
const FOR = [84, 39, 136], AGAINST = [179, 88, 6]
const STYLE = `
.digitlab-train .settings { display: grid; grid-template-columns: repeat(auto-fill, minmax(max(150px, 30%), 1fr)); gap: 8px 12px }
.digitlab-train label { display: block; min-width: 0 }
.digitlab-train select { display: block; width: 100%; min-height: 34px; padding: 4px 6px; font: inherit; color: inherit;
  background: none; border: 1px solid var(--dl-track); border-radius: 6px }
.digitlab-train select:disabled { opacity: .45 }
.digitlab-train option { color: #000; background: #fff }
.digitlab-train .buttons { display: flex; flex-wrap: wrap; gap: 8px; margin: 12px 0 }
.digitlab-train .play { min-width: 6em; color: #fff; background: #1f6fb5; border-color: #1f6fb5 }
.digitlab-train .play:hover { background: #185a94 }
.digitlab-train [hidden] { display: none }
.digitlab-train .facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(100px, 1fr)); gap: 4px 12px }
.digitlab-train .fact b { display: block; font-size: 22px; line-height: 1.2; height: 1.2em; contain: strict }
.digitlab-train .units { display: grid; grid-template-columns: repeat(10, minmax(0, 1fr)); gap: 4px 6px; margin: 10px 0 4px;
  text-align: center }
.digitlab-train canvas { display: block; width: 100%; image-rendering: pixelated; border-radius: 3px }
.digitlab-train .more { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 16px }
.digitlab-train .more label { display: flex; gap: 6px; align-items: center; min-height: 32px }
.digitlab-train .plots { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px 16px }
.digitlab.digitlab-train svg text { font-size: 12px }
.digitlab-train .new { stroke: var(--dl-red) }
.digitlab-train .key { margin-right: 16px; white-space: nowrap }
.digitlab-train .key::before { content: ''; display: inline-block; width: 18px; margin-right: 6px; vertical-align: 4px;
  border-top: 3px solid var(--dl-blue) }
.digitlab-train .key.red::before { border-color: var(--dl-red) }
@container (max-width: 480px) { .digitlab-train .units { grid-template-columns: repeat(5, minmax(0, 1fr)) }
  .digitlab-train .plots { grid-template-columns: minmax(0, 1fr) } }`

// The weights as pictures, one for each canvas: purple where ink speaks for the digit or neuron, orange where it
// speaks against it. `base` is what to leave out.
function paint(pictures, weight, base, n) {
  let most = 1e-9
  const count = pictures.length, value = (i, u) => weight[i * n + u] - (base ? base[i * n + u] : 0)
  for (let i = 0; i < 784; i++) for (let u = 0; u < count; u++) most = Math.max(most, Math.abs(value(i, u)))
  pictures.forEach(({ pen, image }, u) => {
    for (let i = 0, at = 0; i < 784; i++, at += 4) {
      const v = value(i, u), much = Math.min(1, Math.abs(v) / (0.8 * most)), [r, g, b] = v > 0 ? FOR : AGAINST
      image.data[at] = 247 + (r - 247) * much
      image.data[at + 1] = 247 + (g - 247) * much
      image.data[at + 2] = 247 + (b - 247) * much
      image.data[at + 3] = 255
    }
    pen.putImageData(image, 0, 0)
  })
}

const round = passes => String(Number(passes.toFixed(2)))

// A whole training: says 'step' after each step, 'measured' after each measurement (four in a pass, or wherever
// `isDue` says so), and nothing where it only offers to stop. `report` gets the figures.
export function* session(network, [train, valid], { loss, lr, bs, seed }, report, isDue = () => false) {
  let passes = 0, steps = []
  const mean = key => steps.reduce((sum, step) => sum + step[key], 0) / steps.length
  report({ passes, valid: yield* evaluating(network, valid, loss) })
  yield 'measured'
  for (const done of training(network, train, { loss, lr, bs, seed, passes: PASSES })) {
    if (!done) { yield; continue }
    steps.push(done)
    const quarter = Math.floor(4 * done.passes + 1e-9) > Math.floor(4 * passes + 1e-9)
    passes = done.passes
    report({ passes })
    yield 'step'
    if (!quarter && !isDue()) continue
    const seen = { loss: mean('loss'), accuracy: mean('accuracy') }
    report({ passes, seen, valid: yield* evaluating(network, valid, loss) })
    steps = []
    yield 'measured'
  }
}

function render({ model, el }) {
  const root = makeRoot('digitlab-train', el)
  make('style', '', root, STYLE)
  const settings = make('div', 'settings', root)
  const choose = (name, options, changed) => {
    const label = make('label', '', settings, name), select = make('select', '', label)
    select.setAttribute('aria-label', name)
    for (const [value, text] of options) make('option', '', select, text).value = value
    select.addEventListener('change', () => changed(select.value))
    return select
  }
  const pairs = values => values.map(v => [v, v])
  const change = (key, read = v => v) => value => { chosen[key] = read(value); restart() }
  const selects = {
    network: choose('Network', Object.entries(CHOICES).map(([key, { name }]) => [key, name]), pick),
    start: choose('Random weights', Object.entries(STARTS), change('start', v => v === 'he' ? v : Number(v))),
    activation: choose('Neurons', [['relu', 'ReLU'], ['sigmoid', 'sigmoid']], change('activation')),
    loss: choose('Loss', pairs(Object.keys(LOSSES)), change('loss')),
    lr: choose('Learning rate', pairs([0.01, 0.05, 0.1, 0.5, 1, 5, 10, 50]), change('lr', Number)),
    bs: choose('Batch size', pairs([10, 50, 100, 500]), change('bs', Number)),
  }
  const buttons = make('div', 'buttons', root)
  const button = (text, act, className = '') => {
    const node = make('button', className, buttons, text)
    node.type = 'button'
    node.addEventListener('click', act)
    return node
  }
  const play = button('Play', () => playing ? pause() : go('on'), 'play')
  button('One step', () => go('once'))
  button('Reset', () => { pause(); restart() })
  button('Other start', () => { seed += 1; restart() })
  const facts = make('div', 'facts', root), fact = name => {
    const box = make('div', 'fact', facts)
    const value = make('b', '', box, '\u2013')
    make('span', '', box, name)
    return value
  }
  const shown = { passes: fact(`of ${PASSES} passes`), accuracy: fact('accuracy on new digits'),
    noes: fact('get ten noes'), dead: fact('neurons are dead') }
  const units = make('div', 'units', root), more = make('div', 'more', root), legend = make('span', '', more)
  const onlyChange = make('input', '', make('label', '', more))
  onlyChange.type = 'checkbox'
  onlyChange.parentNode.append('only what training has changed')
  onlyChange.addEventListener('change', drawUnits)
  const plots = make('div', 'plots', root), keys = make('p', '', root)
  make('span', 'key', keys, 'digits it is trained on')
  make('span', 'key red', keys, 'new digits')
  const said = make('p', 'said', root)
  said.setAttribute('role', 'status') // read aloud when it changes
  units.setAttribute('role', 'img')

  let chosen, seed = 1, network, first, pictures, points, charts, latest, run, data
  let playing = '', frame, since, from, drawn = 0, stepped, measured

  function pick(name) {
    chosen = { activation: 'relu', ...CHOICES[name], network: name }
    onlyChange.checked = chosen.sizes.length === 3 // among a hidden neuron's weights hardly any change shows
    restart()
  }

  function restart() { // from the same random weights
    for (const [key, select] of Object.entries(selects)) select.value = chosen[key]
    const isLinear = chosen.sizes.length === 2
    selects.activation.disabled = isLinear
    shown.dead.parentNode.hidden = isLinear
    network = makeNetwork({ ...chosen, seed })
    first = network.layers[0].weight.slice()
    points = { loss: { seen: [], valid: [] }, accuracy: { seen: [], valid: [] } }
    latest = { passes: 0 }
    run = undefined
    units.replaceChildren()
    pictures = Array.from({ length: isLinear ? 10 : 20 }, (_, i) => {
      const box = make('div', '', units), canvas = make('canvas', '', box)
      Object.assign(canvas, { width: 28, height: 28 })
      if (isLinear) make('span', '', box, i)
      return { pen: canvas.getContext('2d'), image: new ImageData(28, 28) }
    })
    plots.replaceChildren()
    charts = {}
    const whose = isLinear ? 'the ten digits' : `20 of the ${chosen.sizes[1]} hidden neurons`
    legend.textContent = `Weights of ${whose}. Ink on purple speaks for it, on orange against it.`
    units.setAttribute('aria-label', `Weights of ${whose} as pictures`)
    drawUnits()
    drawFacts()
    if (playing) return go(playing)
    const n = data ? data[0].labels.length.toLocaleString('en-US') : 'about 2,000'
    said.textContent = `Press Play. A pass is ${n} digits here.`
  }

  function report(figures) {
    const { passes, valid } = latest = { ...latest, ...figures }
    if (!figures.valid) return
    for (const [key, lines] of Object.entries(points)) {
      lines.valid.push([passes, valid[key]])
      if (figures.seen) lines.seen.push([passes, figures.seen[key]])
    }
  }

  function drawUnits() {
    paint(pictures, network.layers[0].weight, onlyChange.checked ? first : null, chosen.sizes[1])
  }

  function drawFacts() {
    const { passes, valid } = latest
    shown.passes.textContent = round(passes)
    shown.accuracy.textContent = valid ? valid.accuracy.toFixed(3) : '\u2013'
    shown.noes.textContent = valid ? `${(100 * valid.noes).toFixed(0)}%` : '\u2013'
    shown.dead.textContent = valid ? `${valid.dead} of ${chosen.sizes[1]}` : '\u2013'
    for (const [key, lines] of Object.entries(points)) drawChart(key, lines)
  }

  function drawChart(key, lines) {
    const most = Math.max(0.1, ...lines.valid.concat(lines.seen).map(([, v]) => v || 0))
    const top = key === 'loss' ? Math.min(20, 1.05 * most) : 1
    if (charts[key]?.top !== top) { // else only the curves are new
      const label = `The ${key} over the passes. The text below says where it ends.`
      const box = document.createElement('div'), size = { width: 360, height: 230 }
      const plot = makePlot(box, { x: [0, PASSES], y: [0, top], xlabel: 'passes', ylabel: key, label, ...size })
      const [seen, valid] = ['curve', 'curve new'].map(kind => draw('path', { class: kind }, plot.box))
      if (charts[key]) charts[key].box.replaceWith(box)
      else plots.append(box)
      charts[key] = { top, box, line: plot.line, seen, valid }
    }
    const { line, ...paths } = charts[key]
    for (const kind of ['seen', 'valid']) paths[kind].setAttribute('d', line(lines[kind]))
  }

  const figures = ({ passes, valid }) => `${round(passes)} passes: accuracy ${valid.accuracy.toFixed(3)}, ` +
    `loss ${valid.loss.toFixed(3)} on new digits.`

  async function go(how) {
    cancelAnimationFrame(frame)
    playing = how
    play.textContent = 'Pause'
    if (!data) {
      said.textContent = 'Loading digits \u2026'
      try {
        const kept = model.get('digits')
        data = await readDigits(typeof kept === 'string' ? await (await fetch(kept)).json() : kept)
      } catch (error) {
        pause()
        said.textContent = `The digits can't be read: ${error.message}`
      }
      if (!playing) return
    }
    if (latest.passes >= PASSES) { playing = ''; restart(); playing = how }
    run ??= session(network, data, { ...chosen, seed }, report, () => playing === 'once')
    said.textContent = 'Training \u2026'
    from = latest.passes
    since = performance.now()
    cancelAnimationFrame(frame)
    frame = requestAnimationFrame(tick)
  }

  function pause(word = 'Paused after') {
    cancelAnimationFrame(frame)
    playing = ''
    play.textContent = 'Play'
    drawUnits()
    tell()
    if (latest.valid) said.textContent = `${word} ${figures(latest)}`
  }

  function tell() {
    const trained = network
    drawFacts()
    if (measured) model.set('read', pixels => ask(trained, pixels))
    measured = false
  }

  function show(now) { // one thing in a frame
    if (measured) tell()
    else if (stepped && now > drawn + 50) { // twenty pictures a second will do
      stepped = false
      drawn = now
      drawUnits()
      shown.passes.textContent = round(latest.passes)
    }
  }

  function tick(now) {
    let end = false
    show(now)
    do {
      const { value, done } = run.next()
      stepped ||= value === 'step'
      measured ||= value === 'measured'
      end = done || (playing === 'once' && value === 'measured' && latest.passes > from)
    } while (!end && timeLeft(now) > 0 && latest.passes - from <= (now - since) / LEAST)
    if (latest.passes >= PASSES && end) pause('Stopped by itself after')
    else if (end) pause('After')
    else frame = requestAnimationFrame(tick)
  }

  pick(model.get('network') ?? 'linear')
  return () => cancelAnimationFrame(frame)
}

export default { render }
