// SPDX-License-Identifier: BSD-3-Clause
// Line graphs and other figures, as SVG elements.
import {bits, kEvery_ms, kKept} from "./state.js";

const kNamespace = "http://www.w3.org/2000/svg";

export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(kNamespace, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const kWidth = 320, kHeight = 110, kLeft = 62, kRight = 4, kTop = 8, kBottom = 18;

/** The next of 1, 2, 5, 10, 20, ... */
export function roundUp(value) {
  if (!(value > 0)) return 1000;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.9999) ?? 10 * power;
}

/** A path of what is there; where there is nothing it is interrupted. */
export function pathOf(values, x, y) {
  let path = "", isDown = false;
  for (const [at, value] of values.entries()) {
    if (value !== null) path += `${isDown ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    isDown = value !== null;
  }
  return path;
}

/** Bits per second into the switch and out of it, of the last five minutes, the youngest at the right. */
export class Graph {
  element = svg("svg", {viewBox: `0 0 ${kWidth} ${kHeight}`, role: "img"});
  #in = svg("path", {class: "line in"});
  #out = svg("path", {class: "line out"});
  #ticks = [];

  constructor() {
    for (const part of [1, 0.5, 0]) {
      const y = this.#y(part, 1);
      const label = svg("text", {class: "axis", x: kLeft - 6, y: y + 4, "text-anchor": "end"});
      this.#ticks.push({part, label});
      this.element.append(svg("path", {class: "grid", d: `M${kLeft} ${y}H${kWidth - kRight}`}), label);
    }
    const minutes = (kKept * kEvery_ms) / 60000;
    this.element.append(svg("text", {class: "axis", x: kLeft, y: kHeight - 4}, `${minutes} min ago`),
                        svg("text", {class: "axis", x: kWidth - kRight, y: kHeight - 4, "text-anchor": "end"}, "now"),
                        this.#in, this.#out);
  }

  #y(value, top) { return kTop + (1 - value / top) * (kHeight - kTop - kBottom); }

  draw(name, rates) {
    const most = Math.max(0, ...rates.flatMap((one) => [one.in ?? 0, one.out ?? 0]));
    const top = roundUp(most);
    const x = (at) => kLeft + ((kKept - rates.length + at) / (kKept - 1)) * (kWidth - kLeft - kRight);
    this.#in.setAttribute("d", pathOf(rates.map((one) => one.in), x, (value) => this.#y(value, top)));
    this.#out.setAttribute("d", pathOf(rates.map((one) => one.out), x, (value) => this.#y(value, top)));
    for (const {part, label} of this.#ticks) label.textContent = part === 0 ? "0" : bits(part * top);
    const now = rates.at(-1) ?? {in: null, out: null};
    this.element.setAttribute("aria-label",
      `${name}: now ${bits(now.in)} from the port and ${bits(now.out)} to it; at most ${bits(most)} lately`);
  }
}

/** Parts of a whole, beside each other. */
export function bar(parts) {
  const label = Object.entries(parts).map(([name, share]) => `${name} ${Math.round(share * 100)} %`).join(", ");
  const made = svg("svg", {class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": label});
  let x = 0;
  for (const [name, share] of Object.entries(parts)) {
    made.append(svg("rect", {class: name, x, y: 0, width: share * 100, height: 10}));
    x += share * 100;
  }
  return made;
}
