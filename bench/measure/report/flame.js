// SPDX-License-Identifier: BSD-3-Clause
// Click: enlarge. Escape: all again. /: search. Place and width of a frame in the whole picture are in data-x and data-w.
(function () {
  const svg = document.currentScript.closest("svg");
  const WIDTH = 1200, CHARACTER = 6.6, CLOSE = 0.01;  // as in flame.py
  const frames = [...svg.querySelectorAll("g.f")];
  const status = svg.querySelector("text.s");
  const x = frame => +frame.dataset.x, width = frame => +frame.dataset.w, level = frame => +frame.dataset.l;
  const end = frame => x(frame) + width(frame);
  const name = frame => frame.querySelector("title").textContent.replace(/ \(\d+ samples.*$/, "");
  const within = (inner, outer) => x(inner) >= x(outer) - CLOSE && end(inner) <= end(outer) + CLOSE;

  function draw(frame, at, wide) {
    const rect = frame.querySelector("rect"), text = frame.querySelector("text");
    const room = Math.floor((wide - 6) / CHARACTER), word = name(frame);
    rect.setAttribute("x", at);
    rect.setAttribute("width", Math.max(wide - 0.5, 0.4));
    text.setAttribute("x", at + 3);
    text.textContent = room < 3 ? "" : word.length <= room ? word : word.slice(0, room - 1) + "\u2026";
  }

  function enlarge(chosen) {
    const scale = WIDTH / width(chosen);
    for (const frame of frames) {
      const below = level(frame) < level(chosen);
      frame.style.display = (below ? within(chosen, frame) : within(frame, chosen)) ? "" : "none";
      frame.classList.toggle("dim", below);
      if (below) draw(frame, 0, WIDTH);
      else draw(frame, (x(frame) - x(chosen)) * scale, width(frame) * scale);
    }
  }

  // A frame inside another that was found is part of its share already.
  function search(word) {
    const found = frames.filter(frame => word && name(frame).toLowerCase().includes(word.toLowerCase()));
    const outer = found.filter((frame, at) => !found.slice(0, at).some(other => within(frame, other)));
    for (const frame of frames) frame.classList.toggle("hit", found.includes(frame));
    const share = outer.reduce((sum, frame) => sum + width(frame), 0) / WIDTH;
    status.textContent = word ? `${word}: ${(100 * share).toFixed(1)} %` : "";
  }

  for (const frame of frames) frame.addEventListener("click", () => enlarge(frame));
  document.addEventListener("keydown", event => {
    if (event.key === "Escape") { enlarge(frames[0]); search(""); }
    if (event.key === "/") { event.preventDefault(); search(prompt("Frames whose name holds:") || ""); }
  });
})();
