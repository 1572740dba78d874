// Brings the widgets of a page to life: the same files that anywidget serves in Jupyter, with a stand-in for
// anywidget's model, and no Python behind it.
function makeModel(state) {
  const heard = {}
  return {
    get: key => state[key],
    set(key, value) {
      state[key] = value
      for (const hear of heard[`change:${key}`] ?? []) hear()
    },
    on(event, hear) { (heard[event] ??= []).push(hear) },
    off(event, hear) { heard[event] = heard[event]?.filter(other => other !== hear) },
    save_changes() {},
    send() {},
  }
}

const models = {} // of the page's widgets, by name

async function bring(box) {
  const { default: widget } = await import(new URL(`widgets/${box.dataset.name}.js`, import.meta.url))
  const live = document.createElement('div')
  const model = models[box.dataset.name] = makeModel(JSON.parse(box.dataset.state))
  await widget.render({ model, el: live })
  box.replaceChildren(live) // the still picture stays until here
}
await Promise.all([...document.querySelectorAll('.digitlab-widget')].map(bring))
// Where both are on a page, the network that is trained there reads what is drawn.
models.train?.on('change:read', () => models.pad?.set('read', models.train.get('read')))

// What is wider than its column scrolls; the keyboard can do that only where it can go.
function letKeysScroll() {
  for (const img of document.querySelectorAll('.cell_output img')) // a table of small numbers, on a phone
    if (img.naturalWidth > 900) img.style.minWidth = '640px'
  for (const box of document.querySelectorAll('.bd-article :is(pre, math, .cell_output, .output, div:has(> table))')) {
    const scrolls = box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== 'visible'
    if (scrolls) box.tabIndex = 0
    else box.removeAttribute('tabindex')
  }
}
letKeysScroll()
addEventListener('load', letKeysScroll)
addEventListener('resize', letKeysScroll)
for (const details of document.querySelectorAll('details')) details.addEventListener('toggle', letKeysScroll)
