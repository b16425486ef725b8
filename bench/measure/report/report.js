// SPDX-License-Identifier: BSD-3-Clause
// A line under the pointer, and the values there. A plot's data lie beside it as JSON.
(function () {
  const WIDTH = 1080, LEFT = 58, RIGHT = 14, TOP = 22, BOTTOM = 186;  // as in plots.py
  const REACH = 1.5;  // seconds to the nearest reading
  const tip = document.getElementById("tip");

  function rounded(value) {
    return value >= 1000 ? Math.round(value).toLocaleString("en") : value.toFixed(value >= 10 ? 1 : 2);
  }

  function line(text, colour) {
    const row = document.createElement("div");
    if (colour) row.appendChild(document.createElement("i")).className = colour;
    row.appendChild(document.createTextNode(text));
    tip.appendChild(row);
  }

  function tell(data, t) {
    const phase = data.phases.find(([, , start, end]) => start <= t && t <= end);
    tip.textContent = "";
    line(t.toFixed(1) + " s" + (phase ? `, ${phase[0]}, round ${phase[1]}` : ""));
    data.lines.forEach(({name, points}, number) => {
      const nearest = points.reduce((best, point) => Math.abs(point[0] - t) < Math.abs(best[0] - t) ? point : best);
      if (Math.abs(nearest[0] - t) <= REACH) line(`${name}: ${rounded(nearest[1])} ${data.unit}`, `b${number + 1}`);
    });
  }

  for (const figure of document.querySelectorAll("figure[data-plot]")) {
    const svg = figure.querySelector("svg"), data = JSON.parse(figure.querySelector("script").textContent);
    const cursor = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
    cursor.setAttribute("class", "cursor");
    svg.addEventListener("mousemove", event => {
      const box = svg.getBoundingClientRect(), x = (event.clientX - box.left) * WIDTH / box.width;
      const t = data.begin + (x - LEFT) / (WIDTH - LEFT - RIGHT) * (data.end - data.begin);
      if (t < data.begin || t > data.end) return;
      cursor.setAttribute("d", `M${x} ${TOP}V${BOTTOM}`);
      tell(data, t);
      tip.style.display = "block";
      tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
      tip.style.top = Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8) + "px";
    });
    svg.addEventListener("mouseleave", () => { tip.style.display = "none"; cursor.setAttribute("d", ""); });
  }
})();
