// A trained network in plain JavaScript. A network is a list of layers, as JSON:
//   { kind: 'scale', mean, std }   pixels from 0 to 255 become (pixel/255 - mean)/std
//   { kind: 'conv', weight }       3x3, padding 1; weight [out, in, 3, 3]
//   { kind: 'norm', scale, shift } a batch normalization, folded into two numbers for each channel
//   { kind: 'pool' }               the largest of 2x2
//   { kind: 'relu' }
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

const KINDS = {
  scale: (x, { mean, std }) => ({ shape: x.shape, data: x.data.map(v => (v / 255 - mean) / std) }),
  relu: x => ({ shape: x.shape, data: x.data.map(v => Math.max(v, 0)) }),

  norm({ shape, data }, { scale, shift }) {
    const area = data.length / shape[0]
    const change = (v, i) => v * scale.data[Math.floor(i / area)] + shift.data[Math.floor(i / area)]
    return { shape, data: data.map(change) }
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
      const f = 9 * (o * n + c), [k0, k1, k2, k3, k4, k5, k6, k7, k8] = k.subarray(f, f + 9)
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
    const to = Float32Array.from(bias.data)
    for (let o = 0; o < out; o++) for (let i = 0; i < n; i++) to[o] += w[o * n + i] * data[i]
    return { shape: [out], data: to }
  },
}

export function softmax(logits) {
  const most = Math.max(...logits), powers = Array.from(logits, v => Math.exp(v - most))
  const sum = powers.reduce((a, b) => a + b)
  return powers.map(v => v / sum)
}

// Ten scores for one image: 784 numbers from 0 to 255.
export function scoresOf(network, pixels) {
  const x = { shape: [1, 28, 28], data: Float32Array.from(pixels) }
  return network.reduce((at, layer) => KINDS[layer.kind](at, layer), x).data
}

// The same as probabilities.
export const predict = (network, pixels) => softmax(scoresOf(network, pixels))

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
