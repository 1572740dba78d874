// Nine weights under your fingers slide over a digit, and its feature map stands beside it.
// State: images, lists of 784 pixels from 0 to 255; kernel, nine weights; at, the row and column of a patch.
import { make, makeRoot, makeSlider, sign } from './look.js'

const SIDE = 28, OUT = SIDE - 2, NINE = [0, 1, 2, 3, 4, 5, 6, 7, 8]
const PRESETS = {
  'left edges': [-1, 0, 1, -1, 0, 1, -1, 0, 1], 'top edges': [-1, -1, -1, 0, 0, 0, 1, 1, 1],
  'diagonal': [2, -1, -1, -1, 2, -1, -1, -1, 2], 'blur': NINE.map(() => 1 / 9),
  'sharpen': [0, -0.5, 0, -0.5, 3, -0.5, 0, -0.5, 0], 'outline': [0, -0.5, 0, -0.5, 2, -0.5, 0, -0.5, 0]
}
const SHADES = [[179, 88, 6], [253, 184, 99], [247, 247, 247], [178, 171, 210], [84, 39, 136]]

export const moveRight = (image, by) => image.map((_, i) => {
  const from = i % SIDE - by
  return from >= 0 && from < SIDE ? image[i - by] : 0
})

// Nine pixels from the row and column where the patch begins.
export const patchAt = (image, [row, column]) =>
  NINE.map(k => image[(row + Math.floor(k / 3)) * SIDE + column + k % 3])

export const sumOf = (patch, kernel) => patch.reduce((sum, pixel, k) => sum + pixel * kernel[k], 0)

export const featureMap = (image, kernel) => Array.from({ length: OUT * OUT },
  (_, i) => sumOf(patchAt(image, [Math.floor(i / OUT), i % OUT]), kernel))

function shade(v) { // -1 to 1: orange, white, purple
  const at = 2 + 2 * Math.max(-1, Math.min(1, v)), low = Math.min(3, Math.floor(at))
  return SHADES[low].map((part, i) => part + (at - low) * (SHADES[low + 1][i] - part))
}

function render({ model, el }) {
  const root = makeRoot('digitlab-kernel', el)
  make('style', '', root, `
.digitlab-kernel .pictures { display: grid; grid-template-columns: 1fr 1fr; gap: 0 16px; max-width: 560px }
.digitlab-kernel .picture { position: relative; aspect-ratio: 1; cursor: crosshair; touch-action: pan-y }
.digitlab-kernel canvas { position: absolute; image-rendering: pixelated }
.digitlab-kernel .patch { position: absolute; outline: 2px solid var(--dl-red); pointer-events: none }
.digitlab-kernel .buttons { display: flex; flex-wrap: wrap; gap: 6px; margin: 10px 0 6px }
.digitlab-kernel .buttons button { padding: 4px 10px }
.digitlab-kernel button[aria-pressed=true] { background: #1f6fb5; color: #fff }
.digitlab-kernel .nine { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 2px 14px; max-width: 560px }
.digitlab-kernel .nine .slider { display: block; text-align: center }
.digitlab-kernel .nine .slider .value { display: block; width: auto; text-align: center; font-weight: 400; white-space: nowrap }
.digitlab-kernel .nine input { width: 100%; height: 26px }
.digitlab-kernel .sum { font-size: 18px; margin: 6px 0; max-width: 560px; text-align: center }
.digitlab-kernel .where { max-width: 560px }
.digitlab-kernel .where .name { flex: none; width: 8em }
.digitlab-kernel .where .value { width: 2em }`)
  const images = model.get('images').map(image => image.map(v => v / 255))
  let kernel = [...model.get('kernel')], at = [...model.get('at')], chosen = 0, by = 0
  let image, map, saying
  const pictures = make('div', 'pictures', root)
  const [digit, result] = [['the digit', SIDE], ['its feature map', OUT]].map(([name, size]) => {
    const part = make('div', '', pictures), box = (make('p', '', part, name), make('div', 'picture', part))
    const canvas = make('canvas', '', box), side = `${100 * size / SIDE}%`, edge = `${50 - 50 * size / SIDE}%`
    Object.assign(canvas, { width: size, height: size })
    Object.assign(canvas.style, { width: side, height: side, left: edge, top: edge })
    canvas.setAttribute('role', 'img')
    const patch = make('div', 'patch', box)
    const pick = event => { // the middle of the patch is under the pointer, in both pictures
      const area = box.getBoundingClientRect()
      const part = [(event.clientY - area.top) / area.height, (event.clientX - area.left) / area.width]
      at = part.map(v => Math.max(0, Math.min(OUT - 1, Math.floor(v * SIDE) - 1)))
      update()
    }
    for (const kind of ['pointerdown', 'pointermove']) box.addEventListener(kind, pick)
    return { canvas, patch }
  })
  const presets = make('div', 'buttons', root)
  const buttons = Object.entries(PRESETS).map(([name, weights]) => {
    const button = make('button', '', presets, name)
    button.addEventListener('click', () => { kernel = [...weights]; update() })
    return { button, weights }
  })
  const nine = make('div', 'nine', root)
  const weights = NINE.map(k => makeSlider(nine, { name: '', min: -3, max: 3, step: 0.25,
    label: `weight in row ${Math.floor(k / 3) + 1}, column ${k % 3 + 1}`,
    text: v => `${patchAt(image, at)[k].toFixed(2)} \u00d7 ${sign(Number(v.toFixed(2)))}`
  }, value => { kernel[k] = value; update() }))
  const sum = make('p', 'sum', root), where = make('div', 'where', root)
  const places = ['row', 'column'].map((name, axis) => makeSlider(where, { name: `patch ${name}`,
    label: `${name} of the patch`, min: 0, max: OUT - 1, step: 1, text: v => v }, value => { at[axis] = value; update() }))
  const moved = makeSlider(where, { name: 'move the digit', label: 'move the digit to the right',
    min: -5, max: 5, step: 1, text: sign }, value => { by = value; update() })
  const below = make('div', 'buttons', root), another = make('button', '', below, 'Another digit')
  another.addEventListener('click', () => { chosen = (chosen + 1) % images.length; update() })
  for (const button of root.querySelectorAll('button')) button.type = 'button'
  const said = make('p', '', root)
  said.setAttribute('role', 'status') // read aloud when it changes

  function paint({ canvas, patch }, colors, [row, column], size) {
    const context = canvas.getContext('2d'), data = context.createImageData(canvas.width, canvas.height)
    colors.forEach((color, i) => data.data.set([...color, 255], 4 * i))
    context.putImageData(data, 0, 0)
    const share = v => `${100 * v / SIDE}%`
    Object.assign(patch.style, { top: share(row), left: share(column), width: share(size), height: share(size) })
  }
  function update() {
    image = moveRight(images[chosen], by)
    map = featureMap(image, kernel)
    const parts = [1, -1].map(s => kernel.reduce((total, w) => total + Math.max(0, s * w), 0))
    const limit = Math.max(...parts) || 1 // no sum can be larger, since pixels go from 0 to 1
    paint(digit, image.map(v => [255 * v, 255 * v, 255 * v]), at, 3)
    paint(result, map.map(v => shade(v / limit)), at.map(v => v + 1), 1)
    const total = sign((Math.round(100 * map[at[0] * OUT + at[1]]) / 100 || 0).toFixed(2)) // never -0.00
    weights.forEach((show, k) => show(kernel[k]))
    places.forEach((show, axis) => show(at[axis]))
    moved(by)
    sum.textContent = `pixel \u00d7 weight, all nine added up: ${total}`
    for (const { button, weights } of buttons)
      button.setAttribute('aria-pressed', weights.every((w, k) => w === kernel[k]))
    digit.canvas.setAttribute('aria-label', `A digit, moved to the right by ${by}.`)
    result.canvas.setAttribute('aria-label', 'Its feature map: purple where the sum is positive, orange where it is negative.')
    clearTimeout(saying)
    saying = setTimeout(() => { said.textContent = `Row ${at[0]}, column ${at[1]}: the sum is ${total}.` }, 400)
    model.set('kernel', [...kernel])
    model.save_changes()
  }
  update()
  return () => clearTimeout(saying)
}

export default { render }
