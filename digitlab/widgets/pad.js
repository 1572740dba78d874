// A pad to draw a digit on, with each model's verdict while you draw.
// With Python behind it (lesson 8) the drawing is sent there, and what comes back is shown: state `names`.
// Without, the networks work here, in JavaScript: state `networks`, a list of { name, layers } as nn.js has
// them, or the address of a file with that list. And where `read` is set, as train.js does, to a function from
// 784 pixels to ten probabilities, that network answers, too: it is called what `own` says.
import { make, makeRoot } from './look.js'
import { normalizeDrawing, readNetwork, scoresOf, softmax, timeLeft } from './nn.js'

const SIDE = 112 // height and width of the picture that the models are given, in pixels
const PEN = 24 // width of a stroke on the pad, which measures 280 by 280
const HELP = 'Drawing pad. Draw a digit with the mouse or a finger. ' +
  'With the keyboard: arrow keys move the pen, with Shift they draw, Escape clears.'
const STYLE = `
.digitlab.digitlab-pad { max-width: 960px }
.digitlab-pad .both { display: flex; flex-wrap: wrap; gap: 16px }
.digitlab-pad .desk { position: relative; width: 280px; max-width: 100% }
.digitlab-pad .paper { display: block; width: 100%; aspect-ratio: 1; background: #000;
  border: 1px solid #888; border-radius: 6px; cursor: crosshair; touch-action: none }
.digitlab-pad .pen { position: absolute; width: 16px; height: 16px; margin: -7px;
  border: 2px solid #f80; border-radius: 50%; pointer-events: none }
.digitlab-pad .hint { position: absolute; top: 140px; left: 0; right: 0; transform: translateY(-50%); margin: 0; text-align: center;
  color: #bbb; font-size: 18px; pointer-events: none }
.digitlab-pad .below { position: relative; display: flex; gap: 12px; align-items: center; margin-top: 8px }
.digitlab-pad .seen { flex: none; width: 56px; height: 56px; background: #000;
  border: 1px solid #888; image-rendering: pixelated }
.digitlab-pad .models { display: grid; grid-template-columns: repeat(auto-fit, minmax(136px, 1fr));
  gap: 12px 22px; flex: 1 1 280px; align-content: start }
.digitlab-pad .model { max-width: 300px }
.digitlab-pad .head { display: flex; justify-content: space-between; align-items: baseline; font-weight: 600 }
.digitlab-pad .digit { font-size: 24px; line-height: 1 }
.digitlab-pad .kind, .digitlab-pad .about { margin: 0; opacity: .8; font-size: 13px }
.digitlab-pad .status { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
.digitlab-pad .bar { display: grid; grid-template-columns: 1em 1fr 3em; gap: 6px; align-items: center;
  font-size: 13px; line-height: 18px }
.digitlab-pad .track, .digitlab-pad .fill { display: block; height: 10px; border-radius: 2px }
.digitlab-pad .track { background: color-mix(in srgb, currentColor 9%, transparent) }
.digitlab-pad .fill { background: #8a8f98; transform: scaleX(0); transform-origin: 0 }
.digitlab-pad .value { height: 18px; contain: strict }
.digitlab-pad .best { font-weight: 700 } .digitlab-pad .best .fill { background: var(--dl-blue) }`

function write(node, text) { // only what is new costs the browser time
  if (node.textContent !== String(text)) node.textContent = text
}

function makePanel(name, parent) {
  const panel = make('div', 'model', parent), head = make('div', 'head', panel)
  panel.dataset.model = name
  make('span', 'name', head, name)
  const digit = make('span', 'digit', head, '–'), kind = make('p', 'kind', panel)
  const bars = [...'0123456789'].map(label => {
    const bar = make('div', 'bar', panel)
    make('span', 'label', bar, label)
    return { bar, fill: make('span', 'fill', make('span', 'track', bar)), value: make('span', 'value', bar) }
  })
  return (verdict, numbers, before = '\u00a0') => {
    const isShare = verdict?.kind === 'probability', full = !verdict || isShare ? 1 : Math.max(...verdict.scores)
    write(digit, verdict ? verdict.digit : '–')
    write(kind, verdict ? (isShare ? 'probability' : 'distance; least wins') : before)
    bars.forEach(({ bar, fill, value }, i) => {
      bar.classList.toggle('best', verdict?.digit === i)
      fill.style.transform = `scaleX(${verdict ? verdict.scores[i] / full : 0})` // a width would move the page's layout
      write(value, verdict && numbers ? verdict.scores[i].toFixed(2) : '')
    })
  }
}

// What a network says of an image of 784 numbers from 0 to 255: probabilities, or of kind 'distance' the mean
// squared differences from ten average images, which `network` has as products.
export async function verdictOf(image, { name, kind = 'probability', network, read }, rest) {
  const isDistance = kind === 'distance', square = image.reduce((sum, v) => sum + (v / 255) ** 2, 0) / 784
  const scores = read ? read(image) : await scoresOf(network, image, rest)
  const near = isDistance || read ? Array.from(scores) : softmax(scores)
  const digit = near.indexOf(Math.max(...near))
  return { name, kind, digit, scores: isDistance ? near.map(v => square - v) : near }
}

// What all of them say of a drawing, `gray` with SIDE*SIDE numbers.
export async function judge(gray, networks, rest) {
  const seen = normalizeDrawing(gray, SIDE), verdicts = []
  for (const one of seen ? networks : []) verdicts.push(await verdictOf(seen, one, rest))
  return { seen: seen ?? Array(784).fill(0), verdicts }
}

async function readNetworks(kept) {
  const list = typeof kept === 'string' ? await (await fetch(kept)).json() : kept
  return list?.map(({ layers, ...about }) => ({ ...about, network: readNetwork(layers) }))
}

async function render({ model, el }) {
  const networks = await readNetworks(model.get('networks'))
  const own = model.get('own')
  const names = [...networks?.map(({ name }) => name) ?? model.get('names'), ...own ? [own] : []]
  const root = makeRoot('digitlab-pad', el)
  make('style', '', root, STYLE)
  const both = make('div', 'both', root), desk = make('div', 'desk', both)
  const paper = make('canvas', 'paper', desk), pen = make('span', 'pen', desk), hint = make('p', 'hint', desk, 'Draw a digit here')
  const below = make('div', 'below', desk), clear = make('button', 'clear', below, 'Clear')
  const seen = make('canvas', 'seen', below)
  const about = make('p', 'about', below), status = make('p', 'status', below)
  const models = make('div', 'models', both), panels = names.map(name => makePanel(name, models))
  const small = document.createElement('canvas')
  Object.assign(paper, { width: 280, height: 280, tabIndex: 0 })
  Object.assign(seen, { width: 28, height: 28 })
  Object.assign(small, { width: SIDE, height: SIDE })
  const given = 'What the models are given: 28 by 28 pixels'
  for (const [node, role, label] of [[paper, 'application', HELP], [seen, 'img', given]]) {
    node.setAttribute('role', role)
    node.setAttribute('aria-label', label)
  }
  clear.type = 'button'
  for (const node of [about, status]) node.setAttribute('role', 'status') // read aloud when it changes
  pen.hidden = true

  const ink = paper.getContext('2d'), shrunk = small.getContext('2d', { willReadFrequently: true })
  let at = { x: 140, y: 140 }, drawing = false, busy = false, more = false, patience, now = 0, box, last
  const picture = new ImageData(new Uint8ClampedArray(4 * 784).fill(255), 28, 28)
  Object.assign(ink, { strokeStyle: '#fff', lineWidth: PEN, lineCap: 'round', lineJoin: 'round' })

  async function send() { // one picture at a time; while the models work on it, only the newest is kept waiting
    more = busy
    if (busy) return
    busy = true
    if (networks) await rest()
    shrunk.drawImage(paper, 0, 0, SIDE, SIDE)
    const rgba = shrunk.getImageData(0, 0, SIDE, SIDE).data, gray = new Uint8Array(SIDE * SIDE)
    for (let i = 0; i < gray.length; i++) gray[i] = rgba[4 * i]
    const read = model.get('read')
    if (networks) {
      return judge(gray, read ? [...networks, { name: own, read }] : networks, rest).then(receive)
    }
    patience = setTimeout(() => { about.textContent = 'Python is busy or has stopped.'; free() }, 3000)
    model.send({ size: [SIDE, SIDE] }, undefined, [gray.buffer])
  }
  async function nextFrame() { now = await new Promise(requestAnimationFrame) }
  async function rest() { if (timeLeft(now, true) <= 0) await nextFrame() }
  function free() {
    busy = false
    if (more) send()
  }
  async function receive({ seen: image, verdicts }) {
    clearTimeout(patience)
    image.forEach((v, i) => picture.data.fill(v, 4 * i, 4 * i + 3))
    seen.getContext('2d').putImageData(picture, 0, 0)
    await show(image, verdicts)
    setTimeout(free, 50)
  }
  async function show(image, verdicts) {
    last = { image, verdicts }
    for (const [i, fill] of panels.entries()) { // numbers, which cost the browser time, when the pen rests
      fill(verdicts[i], !more, own === names[i] && !model.get('read') ? 'not trained yet' : undefined)
      if (!more) await nextFrame()
    }
    if (more) return
    write(status, verdicts.map(v => `${v.name}: ${v.digit}`).join(', ') || 'Nothing is drawn.')
    write(about, 'What the models see')
  }
  async function readAgain() { // only the network that is being trained has something new to say
    const { image, verdicts } = last, read = model.get('read')
    if (busy) more = true
    else show(image, verdicts.length ? [...verdicts.slice(0, networks.length), await verdictOf(image, { name: own, read })] : [])
  }
  function line(to) {
    hint.hidden = true
    ink.beginPath()
    ink.moveTo(at.x, at.y)
    ink.lineTo(to.x + 0.01, to.y) // a line of no length would not be drawn, and a tap shall leave a dot
    ink.stroke()
    at = to
    send()
  }
  function where(event) {
    return { x: (event.clientX - box.left) * 280 / box.width, y: (event.clientY - box.top) * 280 / box.height }
  }
  function wipe() {
    hint.hidden = false
    ink.fillRect(0, 0, 280, 280)
    send()
  }

  paper.addEventListener('pointerdown', event => {
    if (event.button !== 0) return
    paper.setPointerCapture(event.pointerId)
    drawing = true
    pen.hidden = true
    box = paper.getBoundingClientRect()
    at = where(event)
    line(at)
  })
  paper.addEventListener('pointermove', event => {
    if (!drawing) return
    const between = event.getCoalescedEvents?.() ?? [] // points that the browser has put together in one event
    for (const one of between.length ? between : [event]) line(where(one))
  })
  for (const end of ['pointerup', 'pointercancel']) paper.addEventListener(end, () => { drawing = false })
  paper.addEventListener('keydown', event => {
    if (event.key === 'Escape') return wipe()
    const step = { ArrowLeft: [-7, 0], ArrowRight: [7, 0], ArrowUp: [0, -7], ArrowDown: [0, 7] }[event.key]
    if (!step) return
    event.preventDefault()
    const to = { x: Math.min(280, Math.max(0, at.x + step[0])), y: Math.min(280, Math.max(0, at.y + step[1])) }
    if (event.shiftKey) line(to)
    at = to
    pen.hidden = false
    Object.assign(pen.style, { left: `${at.x / 2.8}%`, top: `${at.y * paper.clientHeight / 280}px` })
  })
  clear.addEventListener('click', wipe)
  model.on('msg:custom', receive)
  model.on('change:read', readAgain)
  wipe()
  return () => model.off('msg:custom', receive)
}

export default { render }
