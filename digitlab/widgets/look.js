// What every widget shares: one look, sliders, and a small plot. Nothing is loaded from anywhere.
// The colors follow JupyterLab's theme or the site's, and the page's text color anywhere else.
// Where a widget's own style says otherwise, its selector has to begin with .digitlab.digitlab-NAME: on a page
// with several widgets, the last of them brings this text after all the others' own.
export const LOOK = `
.digitlab { --dl-blue: #3f90da; --dl-red: #e0502f; --dl-line: color-mix(in srgb, currentColor 22%, transparent);
  --dl-track: color-mix(in srgb, currentColor 45%, transparent); container-type: inline-size;
  box-sizing: border-box; max-width: 720px; padding: 4px; font: 14px/1.4 system-ui, sans-serif;
  color: var(--jp-ui-font-color1, var(--pst-color-text-base, inherit)); font-variant-numeric: tabular-nums }
.digitlab * { box-sizing: border-box }
.digitlab p { margin: 4px 0 }
.digitlab svg { display: block; width: 100%; height: auto; overflow: hidden }
.digitlab svg text { font: 12px system-ui, sans-serif; fill: currentColor }
.digitlab .axis { stroke: var(--dl-line); stroke-width: 1; fill: none }
.digitlab .curve { stroke: var(--dl-blue); stroke-width: 2.5; fill: none }
.digitlab .point { fill: var(--dl-red) }
.digitlab .path { stroke: var(--dl-red); stroke-width: 1.2; fill: none }
.digitlab .slider { display: flex; align-items: center; gap: 10px; min-width: 0 }
.digitlab input[type=range] { flex: 1; min-width: 0; height: 32px; margin: 0; padding: 0;
  background: none; appearance: none; cursor: pointer }
.digitlab ::-webkit-slider-runnable-track { height: 5px; border-radius: 3px; background: var(--dl-track) }
.digitlab ::-moz-range-track { height: 5px; border-radius: 3px; background: var(--dl-track) }
.digitlab ::-webkit-slider-thumb { appearance: none; width: 20px; height: 20px; margin-top: -8px;
  border: 0; border-radius: 50%; background: var(--dl-blue) }
.digitlab ::-moz-range-thumb { width: 20px; height: 20px; border: 0; border-radius: 50%; background: var(--dl-blue) }
.digitlab .slider .value { flex: none; width: 5.5em; font-weight: 600; text-align: right }
.digitlab button { font: inherit; color: inherit; background: none; border: 1px solid currentColor;
  border-radius: 6px; padding: 6px 16px; cursor: pointer }
.digitlab button:hover { background: var(--dl-line) }
.digitlab :focus-visible { outline: 3px solid var(--dl-blue); outline-offset: 2px; border-radius: 4px }
@container (max-width: 480px) { .digitlab svg text { font-size: 17px } }`

export const sign = text => String(text).replace(/-/g, '\u2212') // a real minus

export function make(kind, className, parent, text = '') {
  const node = parent.appendChild(document.createElement(kind))
  node.className = className
  node.textContent = text
  return node
}

export function makeRoot(className, el) {
  const root = make('div', `digitlab ${className}`, el)
  // JupyterLab leaves the keys to what has this attribute; it has to be on the very part that has the focus.
  root.addEventListener('focusin', event => event.target.setAttribute('data-lm-suppress-shortcuts', 'true'))
  make('style', '', root, LOOK)
  return root
}

// A slider with its name before it and its value behind it. The number is kept by whoever asks for the
// slider: after `show(value)` the knob may stand beside it, on the nearest step.
export function makeSlider(parent, { name, label, min, max, step, text }, moved) {
  const row = make('label', 'slider', parent), input = (make('span', 'name', row, name), make('input', '', row))
  const value = make('span', 'value', row)
  Object.assign(input, { type: 'range', min, max, step })
  input.setAttribute('aria-label', label)
  const show = number => {
    input.value = number
    value.textContent = text(number)
    input.setAttribute('aria-valuetext', text(number))
  }
  input.addEventListener('input', () => moved(Number(input.value)))
  return show
}

export function draw(kind, attributes, parent) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', kind)
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value)
  return parent.appendChild(node)
}

const ticks = ([low, high]) => { // about five round numbers
  const size = 10 ** Math.floor(Math.log10((high - low) / 4))
  const gap = [1, 2, 5, 10].find(n => n * size * 5 >= high - low) * size
  const first = Math.ceil(low / gap), count = Math.floor(high / gap) - first + 1
  return Array.from({ length: count }, (_, i) => Number(((first + i) * gap).toPrecision(6)))
}

// Axes for x and y in the given ranges; gives the scales and a layer to draw on, which is cut off at the frame.
export function makePlot(parent, { x, y, xlabel, ylabel, label, width = 560, height = 320 }) {
  const left = 46, bottom = 40, top = 22
  const picture = draw('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label }, parent)
  const within = v => Math.max(-1e4, Math.min(1e4, Number.isNaN(v) ? 0 : v)) // what an SVG can bear
  const X = v => left + (v - x[0]) / (x[1] - x[0]) * (width - left - 8)
  const Y = v => within(height - bottom - (v - y[0]) / (y[1] - y[0]) * (height - bottom - top))
  const put = ([at, down], anchor, text) => {
    draw('text', { x: at, y: down, 'text-anchor': anchor }, picture).textContent = text
  }
  for (const v of ticks(x)) put([X(v), height - bottom + 16], 'middle', sign(v))
  for (const v of ticks(y)) {
    put([left - 6, Y(v) + 4], 'end', sign(v))
    draw('line', { class: 'axis', x1: X(x[0]), x2: X(x[1]), y1: Y(v), y2: Y(v) }, picture)
  }
  put([(left + width) / 2, height - 6], 'middle', xlabel)
  put([4, 12], 'start', ylabel)
  const inner = { x: left, y: top, width: width - left - 8, height: height - top - bottom }
  const box = draw('svg', { ...inner, viewBox: Object.values(inner).join(' ') }, picture)
  const line = points => points.map(([px, py], i) => `${i ? 'L' : 'M'}${X(px)} ${Y(py)}`).join('')
  return { box, X, Y, line }
}
