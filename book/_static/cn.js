/* Copy buttons, popover placement, hanging lines of code, row filter, snippets of the search, live figures. Every page reads complete without this file. */
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  function copying() {
    for (const button of all(".cn-copy")) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        const code = button.parentElement.querySelector("code");
        try { await navigator.clipboard.writeText(code.textContent); button.textContent = "Copied"; }
        catch { getSelection().selectAllChildren(code); button.textContent = "Press Ctrl+C"; }
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
      });
    }
  }

  /* Under the number that opened it, so that no head of a table is covered, and scrolled within where it is longer than the room there; above where there is hardly any. */
  function popovers() {
    let opener = null;
    document.addEventListener("click", (event) => { opener = event.target.closest("[popovertarget]") || opener; }, true);
    for (const pop of all("[popover].cn-pop")) {
      pop.addEventListener("toggle", (event) => {
        if (event.newState !== "open" || !opener) { pop.removeAttribute("style"); return; }
        const at = (opener.closest("td") || opener).getBoundingClientRect(), box = pop.getBoundingClientRect();
        const left = Math.max(12, Math.min(opener.getBoundingClientRect().left, document.documentElement.clientWidth - box.width - 12));
        const below = innerHeight - at.bottom - 18, above = at.top - 18, under = below >= Math.min(box.height, 260) || below >= above;
        const height = Math.min(box.height, under ? below : above), top = under ? at.bottom + 6 : at.top - height - 6;
        Object.assign(pop.style, { position: "absolute", inset: "auto", margin: 0, maxHeight: Math.max(height, 120) + "px", left: left + scrollX + "px", top: top + scrollY + "px" });
        pop.scrollTop = 0;
      });
    }
  }

  /* A line of code that is too long goes on four letters right of its own beginning. */
  function hanging() {
    for (const pre of all(".bd-article div.highlight pre")) {
      if (pre.closest(".highlight-myst-ansi")) continue;
      const open = [];
      pre.innerHTML = pre.innerHTML.replace(/\n$/, "").split("\n").map((line) => {
        const start = open.join("");
        for (const tag of line.match(/<\/?span[^>]*>/g) || []) tag[1] === "/" ? open.pop() : open.push(tag);
        const indent = Math.max(0, line.replace(/<[^>]*>/g, "").search(/\S/));
        return `<span class="cn-l" style="--i:${indent + 4}ch">${start}${line}${"</span>".repeat(open.length)}</span>`;
      }).join("\n");
    }
  }

  /* Search results with the words around what was found: from _static/texts.js, as a page in a folder can fetch none. */
  function snippets() {
    const results = document.getElementById("search-results"), query = new URLSearchParams(location.search).get("q") || "";
    const words = query.toLowerCase().split(/\W+/).filter((word) => word.length > 2);
    if (!results || !words.length) return;
    const script = document.head.appendChild(document.createElement("script"));
    const tell = (link) => {
      const text = (window.cnTexts || {})[link.getAttribute("href").replace(/\.html.*$/, "")];
      const at = text ? Math.min(...words.map((word) => text.toLowerCase().indexOf(word)).filter((place) => place >= 0)) : Infinity;
      if (at === Infinity || link.parentElement.querySelector(".context")) return;
      const told = link.parentElement.appendChild(document.createElement("p")), begin = Math.max(0, text.lastIndexOf(" ", at - 80) + 1);
      told.className = "context";
      told.textContent = (begin ? "… " : "") + text.slice(begin, begin + 240).replace(/ \S*$/, "").replace(/ (?=[.,;:?!)])/g, "") + " …";
    };
    const tellAll = () => all("li > a", results).forEach(tell);
    script.addEventListener("load", () => { tellAll(); new MutationObserver(tellAll).observe(results, { childList: true, subtree: true }); });
    script.src = "_static/texts.js";
  }

  /* A filter opens the groups in which it finds something; without one they are as the page has them. */
  function filtering() {
    const form = document.querySelector(".cn-filter"), place = document.getElementById("all-rows");
    if (!form || !place) return;
    const rows = all(".cn-rows tbody tr", place), buttons = all("button[data-v]", form), groups = all("details.cn-fold", place);
    const { paper, kind, text } = form.elements, count = form.querySelector("output"), start = groups.map((one) => one.open);
    const apply = () => {
      const wanted = buttons.filter((b) => b.getAttribute("aria-pressed") === "true").map((b) => b.dataset.v);
      const words = text.value.trim().toLowerCase(), asked = wanted.length || paper.value || kind.value || words;
      let shown = 0;
      for (const row of rows) {
        row.hidden = !((!wanted.length || wanted.includes(row.dataset.v)) && (!paper.value || row.dataset.paper === paper.value)
          && (!kind.value || row.dataset.kind === kind.value) && row.textContent.toLowerCase().includes(words));
        shown += !row.hidden;
      }
      groups.forEach((group, k) => {
        group.hidden = !group.querySelector("tbody tr:not([hidden])");
        group.open = asked ? !group.hidden : start[k];
      });
      for (const chapter of all(".cn-of", place)) chapter.hidden = !chapter.querySelector("details:not([hidden])");
      count.textContent = `${shown} of ${rows.length} rows`;
    };
    const choose = (chapter, of, verdict) => {
      [paper.value, kind.value, text.value] = [chapter, of, ""];
      for (const b of buttons) b.setAttribute("aria-pressed", String(b.dataset.v === verdict));
      apply();
    };
    for (const b of buttons) b.addEventListener("click", () => { b.setAttribute("aria-pressed", String(b.getAttribute("aria-pressed") !== "true")); apply(); });
    for (const link of all("a[data-filter]")) link.addEventListener("click", () => choose(...link.dataset.filter.split(" ")));
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    apply();
  }

  /* Maps by choice. The script element holds {layers: [{levels: base64, two of 0 to 15 a byte, colours: [r, g, b] of each}] for the image and its map,
     tiles: [which image, which map, texts] for every combination of options, those of the last choice next to each other}. */
  function maps(figure, { layers }) {
    const levels = layers.map((one) => [...atob(one.levels)].flatMap((c) => [c.charCodeAt(0) >> 4, c.charCodeAt(0) & 15]));
    const canvases = all("canvas", figure), n = canvases[0].width * canvases[0].height;
    return (tile) => canvases.forEach((canvas, k) => paint(canvas, (p) => layers[k].colours[levels[k][tile[k] * n + p]]));
  }

  function paint(canvas, colour) {
    const context = canvas.getContext("2d"), picture = context.createImageData(canvas.width, canvas.height);
    for (let p = 0; p < canvas.width * canvas.height; p++) picture.data.set([...colour(p), 255], 4 * p);
    context.putImageData(picture, 0, 0);
  }

  /* An image and its values as bars over another vector's. {parts: [images, three bytes a pixel; values; the others, a byte each, 128 for 0], in base64,
     tiles: [which image, which values, which others, texts]}. */
  function bars(figure, { parts }) {
    const [images, ours, theirs] = parts.map((one) => Uint8Array.from(atob(one), (c) => c.charCodeAt(0)));
    const canvas = figure.querySelector("canvas"), n = canvas.width * canvas.height, svg = figure.querySelector("svg"), m = svg.viewBox.baseVal.width;
    const [below, up, down] = all("path", svg), stroke = (x, value, inset) => `M${x + inset} 0V${128 - value}H${x + 1 - inset}V0Z`;
    return ([image, which, whose]) => {
      paint(canvas, (p) => images.subarray(3 * (image * n + p), 3 * (image * n + p) + 3));
      const draw = (path, values, inset, shown) => path.setAttribute("d", [...values].map((v, x) => (shown(v) ? stroke(x, v, inset) : "")).join(""));
      const own = ours.subarray(which * m, (which + 1) * m);
      draw(below, theirs.subarray(whose * m, (whose + 1) * m), 0, (v) => v !== 128);
      draw(up, own, 0.2, (v) => v > 128);
      draw(down, own, 0.2, (v) => v < 128);
    };
  }

  /* A switch for each part. {images: [{image: three bytes a pixel, wrong: a bit a set, in base64; values: [[set, Walsh coefficient], ...] of each name}],
     names, says: [right, wrong], sets: those that buttons choose}. */
  function switches(figure, { images, names, says, sets }) {
    const held = images.map((one) => ["image", "wrong"].map((part) => Uint8Array.from(atob(one[part]), (c) => c.charCodeAt(0))));
    const parts = all("[data-part]", figure), select = figure.querySelector("select"), canvas = figure.querySelector("canvas");
    const odd = (bits) => { let count = 0; for (; bits; bits &= bits - 1) count += 1; return count & 1; };
    let set = sets[sets.length - 1];
    const draw = () => {
      const [pixels, wrong] = held[select.selectedIndex], on = parts.filter((one) => (set >> one.dataset.part) & 1).length;
      paint(canvas, (p) => pixels.subarray(3 * p, 3 * p + 3));
      for (const one of parts) one.setAttribute("aria-pressed", String(Boolean((set >> one.dataset.part) & 1)));
      const told = names.map((name, k) => {
        const value = images[select.selectedIndex].values[k].reduce((sum, [mask, w]) => sum + (odd(mask & set) ? -w : w), 0);
        return `${name} ${value.toFixed(1).replace("-", "−")}`;
      });
      figure.querySelector("output").textContent = `${on} of ${parts.length} swapped: ${says[(wrong[set >> 3] >> (set & 7)) & 1]}. ${told.join(", ")}.`;
    };
    figure.addEventListener("click", ({ target }) => {
      if (target.dataset.part) set ^= 1 << target.dataset.part;
      else if (target.dataset.set) set = sets[target.dataset.set];
      else return;
      draw();
    });
    figure.addEventListener("input", draw);
    return draw;
  }

  function live() {
    const kinds = { maps, bars };
    for (const figure of all("[data-live]")) {
      const shown = JSON.parse(figure.querySelector("script").textContent);
      if (figure.dataset.live === "switches") {
        figure.querySelector(".cn-live").hidden = false;
        figure.querySelector(".cn-static").hidden = true;
        switches(figure, shown)();
        continue;
      }
      const drawn = kinds[figure.dataset.live](figure, shown);
      const selects = all("select", figure), places = all(".cn-live span, output", figure);
      const draw = () => {
        const tile = shown.tiles[selects.reduce((at, one) => at * one.length + one.selectedIndex, 0)];
        drawn(tile);
        places.forEach((place, k) => { place.textContent = tile[tile.length - 1][k]; });
      };
      figure.addEventListener("input", draw);
      figure.querySelector(".cn-live").hidden = false;
      figure.querySelector(".cn-static").hidden = true;
      draw();
    }
  }

  /* The theme names its search by less than what is seen on it. */
  function naming() {
    for (const button of all(".search-button-field")) button.removeAttribute("aria-label");
  }

  /* Errata are read whole on paper. */
  function printing() {
    let opened = [];
    addEventListener("beforeprint", () => { opened = all(":is(.cn-errata,.cn-claims) details:not([open])"); for (const one of opened) one.open = true; });
    addEventListener("afterprint", () => { for (const one of opened) one.open = false; });
  }

  const start = () => { copying(); popovers(); hanging(); filtering(); snippets(); naming(); live(); printing(); };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start); else start();
})();
