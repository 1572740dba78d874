// The browser's half of `DrawingPad`: it draws strokes, sends the picture to Python, and shows what comes back.
// Nothing is loaded from anywhere; all that leaves the page goes to the kernel.
const SIDE = 112 // height and width of the picture that is sent, in pixels
const PEN = 24 // width of a stroke on the pad, which measures 280 by 280
const HELP = 'Drawing pad. Draw a digit with the mouse or a finger. With the keyboard: arrow keys move the pen, with Shift they draw, Escape clears.'
const STYLE = `
.digitlab-pad { display: flex; flex-wrap: wrap; gap: 16px; padding: 4px; font: 13px/1.3 system-ui, sans-serif; color: var(--jp-ui-font-color1, inherit) }
.digitlab-pad .desk { position: relative; width: 280px; max-width: 100% }
.digitlab-pad .paper { display: block; width: 100%; aspect-ratio: 1; background: #000; border: 1px solid #888; border-radius: 6px; cursor: crosshair; touch-action: none }
.digitlab-pad .paper:focus-visible, .digitlab-pad button:focus-visible { outline: 3px solid var(--jp-brand-color1, #1976d2); outline-offset: 2px }
.digitlab-pad .pen { position: absolute; width: 16px; height: 16px; margin: -7px; border: 2px solid #f80; border-radius: 50%; pointer-events: none }
.digitlab-pad .below { display: flex; gap: 12px; align-items: center; margin-top: 8px }
.digitlab-pad button { font: inherit; color: inherit; background: none; border: 1px solid currentColor; border-radius: 6px; padding: 6px 16px; cursor: pointer }
.digitlab-pad .seen { width: 56px; height: 56px; background: #000; border: 1px solid #888; image-rendering: pixelated }
.digitlab-pad .models { display: grid; grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)); gap: 12px 16px; flex: 1 1 400px; align-content: start }
.digitlab-pad .head { display: flex; justify-content: space-between; align-items: baseline; font-weight: 600 }
.digitlab-pad .digit { font-size: 24px; line-height: 1 }
.digitlab-pad .kind, .digitlab-pad .status { margin: 0; opacity: .75; font-size: 12px }
.digitlab-pad .bar { display: grid; grid-template-columns: 1em 1fr 3em; gap: 6px; align-items: center; font-variant-numeric: tabular-nums; font-size: 12px; line-height: 15px }
.digitlab-pad .fill { display: block; height: 9px; width: 0; border-radius: 2px; background: #8a8f98 }
.digitlab-pad .best { font-weight: 700 } .digitlab-pad .best .fill { background: var(--jp-brand-color1, #1976d2) }`

function make(kind, className, parent, text = '') {
  const node = parent.appendChild(document.createElement(kind))
  node.className = className
  node.textContent = text
  return node
}

function makePanel(name, parent) {
  const panel = make('div', 'model', parent), head = make('div', 'head', panel)
  panel.dataset.model = name
  make('span', 'name', head, name)
  const digit = make('span', 'digit', head, '–'), kind = make('p', 'kind', panel, '\u00a0')
  const bars = [...'0123456789'].map(label => {
    const bar = make('div', 'bar', panel)
    make('span', 'label', bar, label)
    return { bar, fill: make('span', 'fill', make('span', 'track', bar)), value: make('span', 'value', bar) }
  })
  return verdict => {
    const isShare = verdict?.kind === 'probability', full = !verdict || isShare ? 1 : Math.max(...verdict.scores)
    digit.textContent = verdict ? verdict.digit : '–'
    kind.textContent = verdict ? (isShare ? 'probability' : 'distance; least wins') : '\u00a0'
    bars.forEach(({ bar, fill, value }, i) => {
      bar.classList.toggle('best', verdict?.digit === i)
      fill.style.width = verdict ? `${100 * verdict.scores[i] / full}%` : 0
      value.textContent = verdict ? verdict.scores[i].toFixed(2) : ''
    })
  }
}

function render({ model, el }) {
  const root = make('div', 'digitlab-pad', el)
  root.setAttribute('data-lm-suppress-shortcuts', 'true') // JupyterLab then leaves the keys to the pad
  make('style', '', root, STYLE)
  const desk = make('div', 'desk', root), paper = make('canvas', 'paper', desk), pen = make('span', 'pen', desk)
  const below = make('div', 'below', desk), clear = make('button', 'clear', below, 'Clear'), seen = make('canvas', 'seen', below)
  const status = make('p', 'status', below, 'Draw a digit.')
  const models = make('div', 'models', root), panels = model.get('names').map(name => makePanel(name, models))
  const small = document.createElement('canvas')
  Object.assign(paper, { width: 280, height: 280, tabIndex: 0 })
  Object.assign(seen, { width: 28, height: 28 })
  Object.assign(small, { width: SIDE, height: SIDE })
  for (const [node, role, label] of [[paper, 'application', HELP], [seen, 'img', 'What the models are given: 28 by 28 pixels']]) {
    node.setAttribute('role', role)
    node.setAttribute('aria-label', label)
  }
  clear.type = 'button'
  status.setAttribute('role', 'status') // read aloud when it changes
  pen.hidden = true

  const ink = paper.getContext('2d'), shrunk = small.getContext('2d', { willReadFrequently: true })
  let at = { x: 140, y: 140 }, drawing = false, busy = false, more = false, patience
  Object.assign(ink, { strokeStyle: '#fff', lineWidth: PEN, lineCap: 'round', lineJoin: 'round' })

  function send() { // one picture at a time; while Python works on it, only the newest is kept waiting
    more = busy
    if (busy) return
    busy = true
    patience = setTimeout(() => { status.textContent = 'Python is busy or has stopped.'; free() }, 3000)
    shrunk.drawImage(paper, 0, 0, SIDE, SIDE)
    const grey = shrunk.getImageData(0, 0, SIDE, SIDE).data.filter((_, i) => i % 4 === 0)
    model.send({ size: [SIDE, SIDE] }, undefined, [grey.buffer])
  }
  function free() {
    busy = false
    if (more) send()
  }
  function receive({ seen: image, verdicts }) {
    clearTimeout(patience)
    const rgba = image.flatMap(v => [v, v, v, 255])
    seen.getContext('2d').putImageData(new ImageData(new Uint8ClampedArray(rgba), 28, 28), 0, 0)
    panels.forEach((show, i) => show(verdicts[i]))
    status.textContent = verdicts.map(v => `${v.name}: ${v.digit}`).join(', ') || 'Draw a digit.'
    setTimeout(free, 50)
  }
  function line(to) {
    ink.beginPath()
    ink.moveTo(at.x, at.y)
    ink.lineTo(to.x + 0.01, to.y) // a line of no length would not be drawn, and a tap shall leave a dot
    ink.stroke()
    at = to
    send()
  }
  function where(event) {
    const box = paper.getBoundingClientRect()
    return { x: (event.clientX - box.left) * 280 / box.width, y: (event.clientY - box.top) * 280 / box.height }
  }
  function wipe() {
    ink.fillRect(0, 0, 280, 280)
    send()
  }

  paper.addEventListener('pointerdown', event => {
    if (event.button !== 0) return
    paper.setPointerCapture(event.pointerId)
    drawing = true
    pen.hidden = true
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
  wipe()
  return () => model.off('msg:custom', receive)
}

export default { render }
