// SPDX-License-Identifier: BSD-3-Clause
// The site's search. It has to work from files as well, where a browser lets no page read another file or start a worker: so the index is
// a script too (scripts/docs makes it), and is loaded when the first letter is typed.
(function () {
  "use strict";
  const MOST = 20, AROUND = 80;
  const base = document.currentScript.dataset.base;
  const box = document.getElementById("search"), list = document.getElementById("search-results");
  let sections = null;

  const words = (text) => text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) || [];

  // How well a section answers: nothing unless each word begins one of its words; its title counts more than its text, and the words as
  // they were typed more than the same ones elsewhere.
  function score(section, asked, phrase) {
    let total = asked.length > 1 && section.text.toLowerCase().includes(phrase) ? 20 : 0;
    for (const word of asked) {
      const inTitle = section.titleWords.filter((each) => each.startsWith(word)).length; // its page's title included
      const inText = section.textWords.filter((each) => each.startsWith(word)).length;
      if (inTitle + inText === 0) return 0;
      total += 10 * inTitle + Math.min(inText, 5);
    }
    return total;
  }

  function excerpt(text, phrase, word) {
    const small = text.toLowerCase(), found = small.indexOf(phrase);
    const at = Math.max(0, (found >= 0 ? found : small.indexOf(word)) - AROUND);
    return (at > 0 ? "… " : "") + text.slice(at, at + 2 * AROUND).trim() + " …";
  }

  function show() {
    const phrase = box.value.trim().toLowerCase(), asked = words(phrase);
    list.replaceChildren();
    if (sections === null || asked.length === 0) return;
    const found = sections.map((section) => [score(section, asked, phrase), section]).filter(([points]) => points > 0);
    found.sort(([one], [other]) => other - one);
    for (const [, section] of found.slice(0, MOST)) {
      const link = document.createElement("a"), text = document.createElement("p");
      link.href = base + "/" + section.location;
      link.textContent = section.page === section.title ? section.title : section.page + ": " + section.title;
      text.textContent = excerpt(section.text, phrase, asked[0]);
      list.append(link, text);
    }
    if (found.length === 0) list.textContent = "Nothing was found";
  }

  // A page is in the index as a whole, and again as its sections: these say where in it. Only what has none counts as a whole.
  window.vmuxSearchIndex = function (entries) {
    const pageOf = (entry) => entry.location.split("#")[0];
    const divided = new Set(entries.filter((each) => each.location.includes("#")).map(pageOf));
    const titles = new Map(entries.filter((each) => !each.location.includes("#")).map((each) => [each.location, each.title]));
    sections = entries.filter((each) => !divided.has(each.location));
    for (const each of sections) {
      each.page = titles.get(pageOf(each));
      each.titleWords = words(each.page + " " + each.title);
      each.textWords = words(each.text);
    }
    show();
  };

  function load() {
    const script = document.createElement("script");
    script.src = base + "/search/index.js";
    script.onerror = () => { list.textContent = "The index of the search is not there: scripts/docs makes it"; };
    document.head.append(script);
  }

  box.addEventListener("input", load, { once: true });
  box.addEventListener("input", show);
})();
