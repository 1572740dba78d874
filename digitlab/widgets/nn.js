// Neural networks in plain JavaScript: first what a trained one says, at the end how a small one is trained.
// A trained network is a list of layers, as JSON:
//   { kind: 'scale', mean, std }   pixels from 0 to 255 become (pixel/255 - mean)/std
//   { kind: 'conv', weight }       3x3, padding 1; weight [out, in, 3, 3]
//   { kind: 'norm', scale, shift } a batch normalization, folded into two numbers for each channel
//   { kind: 'pool' }               the largest of 2x2
//   { kind: 'relu' } or { kind: 'sigmoid' }
//   { kind: 'linear', weight, bias }  weight [out, in]
// Weights are { shape, data }, where data is the base64 of float32, lowest byte first.
export function readWeights({ shape, data }) {
  const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0))
  return { shape, data: new Float32Array(bytes.buffer) }
}

export function readNetwork(layers) {
  const isWeights = value => value && value.shape && typeof value.data === 'string'
  const read = ([key, value]) => [key, isWeights(value) ? readWeights(value) : value]
  return layers.map(layer => Object.fromEntries(Object.entries(layer).map(read)))
}

const sigmoid = v => 1 / (1 + Math.exp(-v))

const KINDS = {
  scale: (x, { mean, std }) => ({ shape: x.shape, data: x.data.map(v => (v / 255 - mean) / std) }),
  relu: x => ({ shape: x.shape, data: x.data.map(v => Math.max(v, 0)) }),
  sigmoid: x => ({ shape: x.shape, data: x.data.map(v => sigmoid(v)) }),

  norm({ shape, data }, { scale, shift }) {
    const area = data.length / shape[0], to = new Float32Array(data.length)
    for (let c = 0, at = 0; c < shape[0]; c++) {
      const a = scale.data[c], b = shift.data[c]
      for (const end = at + area; at < end; at++) to[at] = data[at] * a + b
    }
    return { shape, data: to }
  },

  pool({ shape: [channels, height, width], data }) {
    const h = height >> 1, w = width >> 1, out = new Float32Array(channels * h * w)
    for (let c = 0, to = 0; c < channels; c++) for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
      const at = (c * height + 2 * y) * width + 2 * x
      out[to++] = Math.max(data[at], data[at + 1], data[at + width], data[at + width + 1])
    }
    return { shape: [channels, h, w], data: out }
  },

  conv({ shape: [n, h, w], data }, { weight: { shape: [out], data: k } }) {
    const wide = w + 2, padded = new Float32Array(n * (h + 2) * wide) // a rim of zeros
    const to = new Float32Array(out * h * w)
    for (let c = 0; c < n; c++) for (let y = 0; y < h; y++)
      padded.set(data.subarray((c * h + y) * w, (c * h + y + 1) * w), (c * (h + 2) + y + 1) * wide + 1)
    for (let o = 0; o < out; o++) for (let c = 0; c < n; c++) {
      const f = 9 * (o * n + c), k0 = k[f], k1 = k[f + 1], k2 = k[f + 2], k3 = k[f + 3], k4 = k[f + 4]
      const k5 = k[f + 5], k6 = k[f + 6], k7 = k[f + 7], k8 = k[f + 8]
      for (let y = 0, at = 0; y < h; y++) for (let x = 0; x < w; x++, at++) {
        const p = (c * (h + 2) + y) * wide + x
        const q = p + wide, r = q + wide // the three rows under the kernel
        to[o * h * w + at] += k0 * padded[p] + k1 * padded[p + 1] + k2 * padded[p + 2]
          + k3 * padded[q] + k4 * padded[q + 1] + k5 * padded[q + 2]
          + k6 * padded[r] + k7 * padded[r + 1] + k8 * padded[r + 2]
      }
    }
    return { shape: [out, h, w], data: to }
  },

  linear({ data }, { weight: { shape: [out, n], data: w }, bias }) {
    const to = new Float32Array(out)
    for (let o = 0; o < out; o++) {
      let sum = bias.data[o]
      for (let i = 0; i < n; i++) sum += w[o * n + i] * data[i]
      to[o] = sum
    }
    return { shape: [out], data: to }
  },
}

export function softmax(logits) {
  const most = Math.max(...logits), powers = Array.from(logits, v => Math.exp(v - most))
  const sum = powers.reduce((a, b) => a + b)
  return powers.map(v => v / sum)
}

// Ten scores for one image: 784 numbers from 0 to 255. Before each of the layers that take
// long there is time for a `rest`.
export async function scoresOf(network, pixels, rest = () => {}) {
  let x = { shape: [1, 28, 28], data: Float32Array.from(pixels) }
  for (const layer of network) {
    if (layer.weight) await rest()
    x = KINDS[layer.kind](x, layer)
  }
  return x.data
}

// Milliseconds of computing that are left in the frame which began at `now`, for all widgets of a page together: less
// where frames come late, and half of it for training while someone draws.
let frame = 0, last = 0, drawn = -1, work = 5, end = 0
export function timeLeft(now, draws = false) {
  if (now > frame) {
    work = now - frame > 20 ? Math.max(3, 0.8 * work) : Math.min(5, 1.1 * work)
    last = frame
    frame = now
    end = performance.now() + work
  }
  if (draws) drawn = frame
  return end - performance.now() - (draws || drawn < last ? 0 : work / 2)
}

// A drawing as an image of MNIST: its ink scaled to a box of 20x20, and put into 28x28 with the center of
// mass in the middle. `gray` is size*size numbers, 0 for paper; null if nothing is drawn.
export function normalizeDrawing(gray, size) {
  let top = size, bottom = -1, left = size, right = -1, sum = 0, cy = 0, cx = 0
  const most = gray.reduce((a, b) => Math.max(a, b), 0)
  if (most < 25) return null
  for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) {
    const v = gray[y * size + x]
    if (v <= most / 2) continue
    top = Math.min(top, y); bottom = Math.max(bottom, y); left = Math.min(left, x); right = Math.max(right, x)
    sum += v; cy += v * (y + 0.5); cx += v * (x + 0.5)
  }
  const step = Math.max(bottom - top + 1, right - left + 1) / 20 // old pixels to one new pixel
  const overlap = (from, at) => Math.max(0, Math.min(from + step, at + 1) - Math.max(from, at))
  return Array.from({ length: 784 }, (_, i) => { // each new pixel is the mean of what it covers
    const y0 = cy / sum + (Math.floor(i / 28) - 14) * step, x0 = cx / sum + (i % 28 - 14) * step
    let ink = 0
    for (let y = Math.max(0, Math.floor(y0)); y < Math.min(size, y0 + step); y++)
      for (let x = Math.max(0, Math.floor(x0)); x < Math.min(size, x0 + step); x++)
        ink += gray[y * size + x] * overlap(y0, y) * overlap(x0, x)
    return Math.min(255, Math.round(255 * ink / (step * step * most)))
  })
}

// ---- Training ----
// A network to train: { sizes, activation, layers, ... }. A layer has a weight for each input and output, one
// input after the other, and a bias for each output. The rest is working space: `values` and `slopes` of one
// image, from the pixels to the logits, and `sums`, the gradients of a batch.

// Random numbers between 0 and 1 that are the same for the same seed (mulberry32).
function makeRandom(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6D2B79F5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

// `start` is the standard deviation of the random weights, or 'he' for sqrt(2/inputs). Biases start at 0.
export function makeNetwork({ sizes, activation = 'relu', start = 'he', seed = 0 }) {
  const random = makeRandom(seed) // two uniform numbers make a normal one (Box and Muller)
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const makeLayers = draw => sizes.slice(1).map((n, i) => ({
    weight: Float64Array.from({ length: sizes[i] * n }, () => draw(sizes[i])), bias: new Float64Array(n) }))
  const layers = makeLayers(inputs => normal() * (start === 'he' ? Math.sqrt(2 / inputs) : start))
  const makeRoom = () => sizes.map(n => new Float64Array(n))
  return { sizes, activation, layers, values: makeRoom(), slopes: makeRoom(), sums: makeLayers(() => 0) }
}

// What to do to a sum, and the slope there, from the result.
const ACTIVATIONS = {
  relu: [v => v > 0 ? v : 0, a => a > 0 ? 1 : 0],
  sigmoid: [sigmoid, a => a * (1 - a)],
}

// The logits of one image: 784 numbers from 0 to 255, in `images` from `at` on.
function forward({ activation, layers, values }, images, at) {
  const [act] = ACTIVATIONS[activation]
  for (let i = 0; i < values[0].length; i++) values[0][i] = images[at + i] / 255
  layers.forEach(({ weight, bias }, l) => {
    const x = values[l], to = values[l + 1], n = to.length
    to.set(bias)
    for (let i = 0, w = 0; i < x.length; i++, w += n) {
      const v = x[i]
      if (v !== 0) for (let o = 0; o < n; o++) to[o] += v * weight[w + o] // most pixels are paper
    }
    if (l + 1 < layers.length) for (let o = 0; o < n; o++) to[o] = act(to[o])
  })
  return values[layers.length]
}

// Adds the gradients of an image that has gone forward; the loss has put its slopes into the last of `slopes`.
function backward({ activation, layers, values, slopes, sums }) {
  const [, slopeOf] = ACTIVATIONS[activation]
  for (let l = layers.length - 1; l >= 0; l--) {
    const x = values[l], back = slopes[l], from = slopes[l + 1], n = from.length
    const { weight } = layers[l], sum = sums[l]
    for (let o = 0; o < n; o++) sum.bias[o] += from[o]
    for (let i = 0, w = 0; i < x.length; i++, w += n) {
      const v = x[i]
      if (v !== 0) for (let o = 0; o < n; o++) sum.weight[w + o] += v * from[o]
      if (l === 0) continue
      let total = 0
      for (let o = 0; o < n; o++) total += weight[w + o] * from[o]
      back[i] = total * slopeOf(v)
    }
  }
}

// Each loss gives its value for one image, and puts its slope in each logit into `slopes`.
const target = (label, o) => o === label ? 1 : 0
const mean = (n, value) => Array.from({ length: n }, (_, o) => value(o)).reduce((a, b) => a + b) / n
export const LOSSES = {
  'sigmoid + MSE'(logits, label, slopes) {
    const n = logits.length, s = Array.from(logits, v => sigmoid(v))
    s.forEach((v, o) => { slopes[o] = 2 / n * (v - target(label, o)) * v * (1 - v) })
    return mean(n, o => (s[o] - target(label, o)) ** 2)
  },
  'softmax + MSE'(logits, label, slopes) {
    const n = logits.length, p = softmax(logits)
    const pulled = p.reduce((sum, v, o) => sum + v * (v - target(label, o)), 0)
    p.forEach((v, o) => { slopes[o] = 2 / n * v * (v - target(label, o) - pulled) })
    return mean(n, o => (p[o] - target(label, o)) ** 2)
  },
  'cross-entropy'(logits, label, slopes) {
    const most = Math.max(...logits)
    softmax(logits).forEach((v, o) => { slopes[o] = v - target(label, o) })
    return Math.log(logits.reduce((sum, v) => sum + Math.exp(v - most), 0)) + most - logits[label]
  },
  'where-loss'(logits, label, slopes) { // lesson 4's: the mean distance of sigmoids from targets
    const n = logits.length, s = Array.from(logits, v => sigmoid(v))
    s.forEach((v, o) => { slopes[o] = (o === label ? -1 : 1) * v * (1 - v) / n })
    return mean(n, o => o === label ? 1 - s[o] : s[o])
  },
}

const best = logits => logits.indexOf(Math.max(...logits))
const SLICE = 4 // images between two stops

// One step of SGD on the images `rows`. A generator, so that whoever runs it can stop for a while after every few
// images; at the end it returns the mean loss and the accuracy before the step, and leaves the gradients in `sums`.
export function* trainStep(network, { images, labels }, rows, { loss, lr }) {
  const { layers, sums, slopes } = network
  let total = 0, right = 0
  for (const { weight, bias } of sums) for (const part of [weight, bias]) part.fill(0)
  for (let k = 0; k < rows.length; k++) {
    if (k && k % SLICE === 0) yield
    const logits = forward(network, images, 784 * rows[k]), label = labels[rows[k]]
    total += LOSSES[loss](logits, label, slopes.at(-1))
    right += best(logits) === label
    backward(network)
  }
  layers.forEach((layer, l) => {
    for (const part of ['weight', 'bias']) {
      const p = layer[part], g = sums[l][part]
      for (let i = 0; i < p.length; i++) p[i] -= lr * (g[i] /= rows.length)
    }
  })
  return { loss: total / rows.length, accuracy: right / rows.length }
}

// Passes over all images in random order, a step for each `bs` of them. Yields nothing at a mere stop, and after
// each step what it gave, with `passes`, how many are done.
export function* training(network, data, { loss, lr, bs, seed = 0, passes = 20 }) {
  const n = data.labels.length, random = makeRandom(seed + 1), order = Array.from({ length: n }, (_, i) => i)
  for (let pass = 0; pass < passes; pass++) {
    for (let i = n - 1; i > 0; i--) { // Fisher and Yates
      const j = Math.floor(random() * (i + 1))
      ;[order[i], order[j]] = [order[j], order[i]]
    }
    for (let at = 0; at < n; at += bs) {
      const done = yield* trainStep(network, data, order.slice(at, at + bs), { loss, lr })
      yield { ...done, passes: pass + Math.min(1, (at + bs) / n) }
    }
  }
}

// How good it is on images that it isn't trained on, a few at a time: returns loss and accuracy, the share of images
// with ten noes (all sigmoids below 0.01), and how many hidden neurons say 0 to every image.
export function* evaluating(network, { images, labels }, loss) {
  const n = labels.length, unused = new Float64Array(10), hidden = network.values.slice(1, -1)
  const alive = hidden.map(values => new Uint8Array(values.length))
  let total = 0, right = 0, noes = 0
  for (let k = 0; k < n; k++) {
    if (k && k % SLICE === 0) yield
    const logits = forward(network, images, 784 * k)
    total += LOSSES[loss](logits, labels[k], unused)
    right += best(logits) === labels[k]
    noes += logits.every(v => sigmoid(v) < 0.01)
    hidden.forEach((values, l) => values.forEach((v, o) => { if (v !== 0) alive[l][o] = 1 }))
  }
  const dead = alive.reduce((sum, ones) => sum + ones.filter(one => !one).length, 0)
  return { loss: total / n, accuracy: right / n, noes: noes / n, dead }
}

// The probabilities of ten digits for one image, from a network that is being trained.
export const ask = (network, pixels) => softmax(forward(network, pixels, 0))

// Digits to train on and digits to test with, as pack_digits in show.py packs them: in base64 and gzip, first
// the pixels, two to a byte, then the labels; `counts` says how many of each.
export async function readDigits({ counts, data }) {
  const packed = new Blob([Uint8Array.from(atob(data), c => c.charCodeAt(0))])
  const stream = packed.stream().pipeThrough(new DecompressionStream('gzip'))
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer()), total = counts[0] + counts[1]
  const level = k => k % 2 ? bytes[k >> 1] & 15 : bytes[k >> 1] >> 4
  const pixels = Uint8Array.from({ length: 784 * total }, (_, k) => 17 * level(k))
  const part = (from, to) => ({
    images: pixels.subarray(784 * from, 784 * to), labels: bytes.slice(392 * total + from, 392 * total + to) })
  return [part(0, counts[0]), part(counts[0], total)]
}
