// The cursor over the plots: which tick is under the pointer, or reached with the arrow keys. Nothing else needs it.
"use strict";
(() => {
  const source = document.getElementById("series");
  const box = document.getElementById("readout");
  if (!source || !box) return;
  const data = JSON.parse(source.textContent);
  const ms = (value) => (value === null ? "–" : value + " ms");

  function slowest(low, high) {
    let best = low;
    for (let i = low; i < high; i++) if (data.response[i] > data.response[best]) best = i;
    return best;
  }

  function firstAt(tick) {
    let low = 0, high = data.tick.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (data.tick[middle] < tick) low = middle + 1; else high = middle;
    }
    return low;
  }

  function rows(i) {
    const last = data.tick[i] + data.per - 1;
    const name = data.per === 1 ? "tick " + data.tick[i] : "ticks " + data.tick[i] + " to " + last;
    const late = data.missed[i] > 0 ? (data.per === 1 ? ", missed" : ", " + data.missed[i] + " missed") : "";
    const list = [[name, (data.tick[i] / data.hz).toFixed(2) + " s"], ["response", ms(data.response[i]) + late],
      ["denoise steps", String(data.steps[i])], ["since frame before", ms(data.frame[i])]];
    for (const stage of Object.keys(data.stages)) list.push([stage, ms(data.stages[stage][i])]);
    if (data.input[i] !== null) list.push(["input to picture", ms(data.input[i])]);
    return list;
  }

  function show(svg, i) {
    const { left, right, first, last } = svg.dataset;
    const share = (data.tick[i] + data.per / 2 - first) / (last - first);
    const x = Number(left) + share * (right - left);
    const line = svg.querySelector(".cursor");
    line.setAttribute("transform", "translate(" + x.toFixed(1) + ")");
    line.setAttribute("visibility", "visible");
    box.replaceChildren();
    for (const [name, value] of rows(i)) {
      const row = document.createElement("div");
      for (const text of [name, value]) row.appendChild(document.createElement("span")).textContent = text;
      box.appendChild(row);
    }
    box.classList.toggle("late", data.missed[i] > 0);
    box.hidden = false;
    const frame = svg.getBoundingClientRect();
    const at = frame.left + (x / svg.viewBox.baseVal.width) * frame.width;
    const room = document.documentElement.clientWidth - box.offsetWidth - 8;
    const wanted = at + 14 > room ? at - box.offsetWidth - 14 : at + 14;
    box.style.left = Math.max(8, Math.min(room, wanted)) + window.scrollX + "px";
    box.style.top = frame.top + 24 + window.scrollY + "px";
    svg.dataset.at = i;
  }

  function hide(svg) {
    box.hidden = true;
    svg.querySelector(".cursor").setAttribute("visibility", "hidden");
  }

  for (const svg of document.querySelectorAll("svg.time")) {
    svg.setAttribute("tabindex", "0");
    svg.addEventListener("pointermove", (event) => {
      const frame = svg.getBoundingClientRect();
      const perPixel = svg.viewBox.baseVal.width / frame.width;
      const { left, right, first, last } = svg.dataset;
      const ticks = (last - first) / (right - left) * perPixel;
      const tick = Number(first) + ((event.clientX - frame.left) * perPixel - left) * (last - first) / (right - left);
      // Of all points within two pixels the slowest: a miss must not be hard to hit.
      const low = Math.max(0, firstAt(tick - data.per - 2 * ticks));
      const high = Math.min(data.tick.length, firstAt(tick + 2 * ticks));
      show(svg, slowest(Math.min(low, data.tick.length - 1), Math.max(high, low)));
    });
    svg.addEventListener("pointerleave", () => hide(svg));
    svg.addEventListener("blur", () => hide(svg));
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const from = svg.dataset.at === undefined ? -step : Number(svg.dataset.at);
      show(svg, Math.max(0, Math.min(data.tick.length - 1, from + step)));
    });
  }
})();
